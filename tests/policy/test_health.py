from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asbru.config import Breaker
from asbru.policy.health import Affinity, Breakers, CallKind, Cooldowns, Place

SETTINGS = Breaker(failures=3, pause_s=1.0, max_pause_s=5.0)
HERE: tuple[str, str, CallKind] = ("p", "m", "messages")


def opened(now: float = 0.0) -> Breakers:
    """Breakers with one that has just opened."""
    breakers = Breakers()
    for _ in range(SETTINGS.failures):
        assert breakers.check(*HERE, now).wait_s is None
        breakers.failure(*HERE, 0, now, SETTINGS)
    return breakers


# Breakers, state by state


def test_health_costs_no_entry() -> None:
    breakers = Breakers()
    for _ in range(10):
        assert breakers.check(*HERE, 0.0).wait_s is None
        breakers.success(*HERE, 0.0)
        breakers.abandon(*HERE, 0)
    assert len(breakers) == 0


def test_failures_in_a_row_open_it() -> None:
    breakers = Breakers()
    for count in range(1, 4):
        assert breakers.check(*HERE, 0.0).wait_s is None
        breakers.failure(*HERE, 0, 0.0, SETTINGS)
        assert (breakers.peek(*HERE, 0.0) is not None) is (count == 3)
    assert breakers.check(*HERE, 0.0).wait_s == 1.0
    assert breakers.check(*HERE, 0.75).wait_s == 0.25


def test_a_success_in_between_starts_the_row_anew() -> None:
    breakers = Breakers()
    for outcome in "ff.ff.ff":
        if outcome == "f":
            breakers.failure(*HERE, 0, 0.0, SETTINGS)
        else:
            breakers.success(*HERE, 0.0)
            assert len(breakers) == 0
    assert breakers.check(*HERE, 0.0).wait_s is None


def test_an_abandoned_request_neither_breaks_nor_adds_to_the_row() -> None:
    breakers = Breakers()
    for outcome in "f.f.f":
        assert breakers.check(*HERE, 0.0).wait_s is None
        if outcome == "f":
            breakers.failure(*HERE, 0, 0.0, SETTINGS)
        else:
            breakers.abandon(*HERE, 0)
    assert breakers.check(*HERE, 0.0).wait_s == 1.0


def test_models_and_providers_are_apart() -> None:
    breakers = opened()
    assert breakers.check("p", "other", "messages", 0.0).wait_s is None
    assert breakers.check("other", "m", "messages", 0.0).wait_s is None
    assert breakers.check(*HERE, 0.0).wait_s is not None


def test_after_the_pause_one_probe_goes() -> None:
    breakers = opened()
    assert breakers.check(*HERE, 0.999).wait_s is not None
    assert breakers.peek(*HERE, 1.0) is None
    assert breakers.peek(*HERE, 1.0) is None  # looking takes no slot
    assert breakers.check(*HERE, 1.0).wait_s is None
    for _ in range(3):
        assert breakers.check(*HERE, 1.0).wait_s == 1.0
        assert breakers.peek(*HERE, 1.0) == 1.0


def test_a_probe_s_success_closes_it() -> None:
    breakers = opened()
    assert breakers.check(*HERE, 1.0).wait_s is None
    breakers.success(*HERE, 0.0)
    assert len(breakers) == 0
    assert breakers.check(*HERE, 1.0).wait_s is None
    assert breakers.check(*HERE, 1.0).wait_s is None


def test_failed_probes_double_the_pause_up_to_its_most() -> None:
    breakers, now = opened(), 0.0
    for pause_s in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert breakers.check(*HERE, now).wait_s == pause_s
        now += pause_s
        wait_s, probe = breakers.check(*HERE, now)
        assert wait_s is None
        breakers.failure(*HERE, probe, now, SETTINGS)


def test_after_it_closed_the_pause_is_the_first_one_again() -> None:
    breakers = opened()
    breakers.failure(*HERE, breakers.check(*HERE, 1.0).probe, 1.0, SETTINGS)
    assert breakers.check(*HERE, 3.0).wait_s is None
    breakers.success(*HERE, 0.0)
    for _ in range(3):
        breakers.failure(*HERE, 0, 4.0, SETTINGS)
    assert breakers.check(*HERE, 4.0).wait_s == 1.0


def test_a_probe_whose_client_went_away_gives_its_slot_back() -> None:
    breakers = opened()
    breakers.abandon(*HERE, breakers.check(*HERE, 1.0).probe)
    assert breakers.check(*HERE, 1.0).wait_s is None
    assert breakers.check(*HERE, 1.0).wait_s is not None


def test_a_probe_that_is_never_heard_of_again_loses_its_slot() -> None:
    breakers = opened()
    assert breakers.check(*HERE, 1.0).wait_s is None
    assert breakers.check(*HERE, 60.5).wait_s == 0.5
    assert breakers.check(*HERE, 61.0).wait_s is None


def test_only_the_probe_is_told_that_it_is_one() -> None:
    breakers = Breakers()
    assert breakers.check(*HERE, 0.0) == (None, 0)
    breakers.failure(*HERE, 0, 0.0, SETTINGS)
    assert breakers.check(*HERE, 0.0) == (None, 0)
    breakers = opened()
    assert breakers.check(*HERE, 0.5) == (0.5, 0)
    assert breakers.check(*HERE, 1.0).probe
    assert breakers.check(*HERE, 1.0).probe == 0


def test_other_requests_ends_while_a_probe_is_out_are_not_taken_for_its_own() -> None:
    breakers = opened()
    probe = breakers.check(*HERE, 1.0).probe
    breakers.failure(*HERE, 0, 1.25, SETTINGS)
    breakers.abandon(*HERE, 0)
    assert breakers.check(*HERE, 1.5) == (1.0, 0), "the slot is the probe's, and the pause has not grown"
    breakers.failure(*HERE, probe, 1.5, SETTINGS)
    assert breakers.check(*HERE, 1.5) == (2.0, 0)
    breakers.failure(*HERE, probe, 1.5, SETTINGS)
    assert breakers.check(*HERE, 1.5) == (2.0, 0), "its retries after that are no probes"


def test_a_probe_that_lost_its_slot_ends_no_other_s_but_may_still_close() -> None:
    breakers = opened()
    late, later = breakers.check(*HERE, 1.0).probe, breakers.check(*HERE, 61.0).probe
    assert late != later
    breakers.failure(*HERE, late, 61.0, SETTINGS)
    breakers.abandon(*HERE, late)
    assert breakers.check(*HERE, 61.0) == (1.0, 0)
    breakers.success(*HERE, 0.0)
    assert breakers.check(*HERE, 61.0) == (None, 0)


def test_no_two_probes_have_one_number() -> None:
    breakers = opened()
    first = breakers.check(*HERE, 1.0).probe
    breakers.success(*HERE, 0.0)
    for _ in range(SETTINGS.failures):
        breakers.failure(*HERE, 0, 2.0, SETTINGS)
    second = breakers.check(*HERE, 3.0).probe
    breakers.failure(*HERE, first, 3.0, SETTINGS)
    breakers.abandon(*HERE, first)
    assert second != first
    assert breakers.peek(*HERE, 3.0) is not None


def test_failures_of_requests_from_before_it_opened_change_nothing() -> None:
    breakers = opened()
    for now in (0.0, 0.5, 1.5):
        breakers.failure(*HERE, 0, now, SETTINGS)
    assert breakers.check(*HERE, 0.75).wait_s == 0.25
    assert breakers.check(*HERE, 1.5).wait_s is None


def test_one_failure_may_be_enough_and_a_first_pause_is_never_above_the_most() -> None:
    breakers = Breakers()
    breakers.failure(*HERE, 0, 10.0, Breaker(failures=1, pause_s=30.0, max_pause_s=20.0))
    assert breakers.check(*HERE, 10.0).wait_s == 20.0


def test_breakers_are_bounded_and_the_oldest_goes() -> None:
    breakers = Breakers(limit=100)
    for number in range(1000):
        breakers.failure("p", f"made-up-{number}", "messages", 0, 0.0, Breaker(failures=1))
        breakers.failure(*HERE, 0, 0.0, Breaker(failures=1))
    assert len(breakers) == 100
    assert breakers.check(*HERE, 0.0).wait_s is not None
    assert breakers.check("p", "made-up-0", "messages", 0.0).wait_s is None
    assert breakers.check("p", "made-up-999", "messages", 0.0).wait_s is not None


# Breakers, whatever happens


class BreakerMachine(RuleBasedStateMachine):
    """Requests come, end one way or the other or are lost, and time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.breakers = Breakers()
        self.now = 0.0
        self.out: list[int] = []
        """Of every request that is on its way: its probe's number, or 0."""

    @rule(seconds=st.floats(0.01, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def request(self) -> None:
        peeked = self.breakers.peek(*HERE, self.now)
        wait_s, probe = self.breakers.check(*HERE, self.now)
        assert wait_s == peeked
        if wait_s is None:
            self.out.append(probe)
        if probe:
            assert self.breakers.peek(*HERE, self.now) is not None, "one probe at a time"

    @precondition(lambda self: bool(self.out))
    @rule(end=st.sampled_from(["success", "failure", "abandon", "lost"]), data=st.data())
    def end(self, end: Literal["success", "failure", "abandon", "lost"], data: st.DataObject) -> None:
        probe = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        was_s = self.breakers.peek(*HERE, self.now)
        if end == "success":
            self.breakers.success(*HERE, 0.0)
            assert self.breakers.peek(*HERE, self.now) is None
        elif end == "failure":
            self.breakers.failure(*HERE, probe, self.now, SETTINGS)
        elif end == "abandon":
            self.breakers.abandon(*HERE, probe)
        if was_s is not None and not probe and end != "success":
            assert self.breakers.peek(*HERE, self.now) == was_s

    @invariant()
    def a_refusal_says_a_wait_that_is_short_and_not_nothing(self) -> None:
        wait_s = self.breakers.peek(*HERE, self.now)
        assert wait_s is None or 0 < wait_s <= SETTINGS.max_pause_s

    @invariant()
    def it_is_never_stuck(self) -> None:
        assert self.breakers.peek(*HERE, self.now + 60.0 + SETTINGS.max_pause_s) is None

    @invariant()
    def one_candidate_has_one_entry(self) -> None:
        assert len(self.breakers) <= 1


TestBreakerMachine = BreakerMachine.TestCase


# Cooldowns


def test_a_key_rests_for_as_long_as_it_was_told() -> None:
    cooldowns = Cooldowns()
    assert not cooldowns
    cooldowns.cool("p", "a", "", 100.0, 5.0)
    assert cooldowns
    assert cooldowns.cooling("p", "a", "", 104.999)
    assert not cooldowns.cooling("p", "b", "", 104.0)
    assert not cooldowns.cooling("q", "a", "", 104.0)
    assert not cooldowns.cooling("p", "a", "", 105.0)
    assert not cooldowns, "a rest that is over leaves nothing behind"


@pytest.mark.parametrize(("first", "second", "ends"), [(10, 5, 10), (5, 10, 10), (5, 5, 5)])
def test_the_longer_rest_counts(first: float, second: float, ends: float) -> None:
    cooldowns = Cooldowns()
    cooldowns.cool("p", "a", "", 0.0, first)
    cooldowns.cool("p", "a", "", 0.0, second)
    assert cooldowns.cooling("p", "a", "", ends - 0.001)
    assert not cooldowns.cooling("p", "a", "", ends)


def test_the_soonest_is_back_first() -> None:
    cooldowns = Cooldowns()
    assert cooldowns.soonest("p", "abc", "", 0.0) is None
    for key, seconds in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        cooldowns.cool("p", key, "", 0.0, seconds)
    cooldowns.cool("q", "a", "", 0.0, 1.0)
    assert cooldowns.soonest("p", "abc", "", 4.0) == 6.0
    assert cooldowns.soonest("p", "abc", "", 12.0) == 8.0
    assert cooldowns.soonest("p", "abc", "", 30.0) is None


def test_cooldowns_are_bounded() -> None:
    cooldowns = Cooldowns(limit=10)
    for number in range(100):
        cooldowns.cool("p", f"key-{number}", "", 0.0, 100.0)
    assert len(cooldowns) == 10
    assert cooldowns.cooling("p", "key-99", "", 1.0)
    assert not cooldowns.cooling("p", "key-0", "", 1.0)


def test_a_cooldown_of_a_model_is_the_models_alone() -> None:
    cooldowns = Cooldowns()
    assert cooldowns.cool("p", "a", "m", 0.0, 10.0)
    assert cooldowns.cooling("p", "a", "m", 1.0)
    assert not cooldowns.cooling("p", "a", "other", 1.0)
    assert not cooldowns.cooling("p", "a", "", 1.0)
    cooldowns.cool("p", "a", "", 0.0, 20.0)
    assert cooldowns.cooling("p", "a", "other", 1.0), "one of the whole key is every model's"
    assert cooldowns.soonest("p", "a", "m", 1.0) == 19.0, "both must have ended"


def test_a_cooldown_says_whether_the_key_was_in_use() -> None:
    cooldowns = Cooldowns()
    assert cooldowns.cool("p", "a", "", 0.0, 10.0)
    assert not cooldowns.cool("p", "a", "", 5.0, 10.0)
    assert cooldowns.cool("p", "a", "", 15.0, 10.0)


def test_kinds_of_call_fail_apart() -> None:
    breakers = Breakers()
    for _ in range(SETTINGS.failures):
        breakers.failure("p", "m", "count_tokens", 0, 0.0, SETTINGS)
    assert breakers.check("p", "m", "count_tokens", 0.0).wait_s is not None
    assert breakers.check("p", "m", "messages", 0.0).wait_s is None


def test_opening_and_closing_are_told_once() -> None:
    breakers = Breakers()
    pauses_s = [breakers.failure(*HERE, 0, 2.0, SETTINGS) for _ in range(SETTINGS.failures + 1)]
    assert pauses_s == [None, None, 1.0, None]
    probe = breakers.check(*HERE, 3.0).probe
    assert breakers.failure(*HERE, probe, 3.0, SETTINGS) is None, "it was open already"
    assert breakers.success(*HERE, 10.0) == 8.0
    assert breakers.success(*HERE, 10.0) is None


# Affinity


def test_affinity_remembers_the_most_recent_messages() -> None:
    affinity = Affinity(limit=3)
    for number in range(4):
        affinity.put(f"msg_{number}", "p", "claude-x", f"key-{number}")
    assert affinity.get("msg_0") is None
    assert affinity.get("msg_3") == Place("p", "claude-x", "key-3")
    affinity.put("msg_1", "q", "claude-y", "moved")
    affinity.put("msg_4", "p", "claude-x", "key-4")
    assert affinity.get("msg_1") == Place("q", "claude-y", "moved")
    assert affinity.get("msg_2") is None
    assert len(affinity) == 3


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers()), max_size=40), st.integers(1, 5))
def test_affinity_holds_the_last_ones_written(writes: list[tuple[str, int]], limit: int) -> None:
    affinity, last = Affinity(limit), dict[str, int]()
    for message, number in writes:
        affinity.put(message, "p", "m", str(number))
        last.pop(message, None)
        last[message] = number
    kept = list(last)[-limit:]
    assert len(affinity) == len(kept)
    for message, number in last.items():
        assert affinity.get(message) == (Place("p", "m", str(number)) if message in kept else None)
