"""The retry table of contract/gateway.md §3, row by row, plain and streaming; then waits, budget and the final word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.errors import KINDS
from asbru.policy import retry
from asbru.policy.retry import Decision, Final, Outcome, RetryBudget, Tried, decide, final_error, parse_retry_after


def choose(
    outcome: Outcome,
    *,
    retries_used: int = 0,
    max_retries: int = 1,
    other_key: bool = True,
    next_candidate: bool = True,
    rand: float = 0.5,
    time_left_s: float = 3600.0,
    budget: bool = True,
) -> Decision:
    return decide(
        outcome,
        retries_used=retries_used,
        max_retries=max_retries,
        other_key=other_key,
        next_candidate=next_candidate,
        rand=rand,
        time_left_s=time_left_s,
        budget=budget,
    )


# The table as the contract has it


class Expected(NamedTuple):
    same: int
    """Retries with the same key when `max_retries` is 3."""
    other: bool
    next: bool
    cools: bool
    counts: bool


LOST = Expected(1, False, True, False, True)
SILENT = Expected(0, False, True, False, True)
FAILING = Expected(3, False, True, False, True)
LIMITED = Expected(0, True, True, True, False)
REFUSED = Expected(0, True, True, True, False)
OWN_REFUSED = Expected(0, False, False, False, False)
MISSING = Expected(0, False, True, False, False)
CALLERS = Expected(0, False, False, False, False)

BEFORE_AN_ANSWER = {
    "connect": LOST,
    "tls": LOST,
    "reset": LOST,
    "connect_timeout": LOST,
    "first_byte_timeout": SILENT,
    "idle_timeout": SILENT,
    "protocol": SILENT,
    "too_large": SILENT,
    "no_connection": Expected(0, False, True, False, False),
    "deadline": Expected(0, False, False, False, False),
}
STATUSES = {
    **dict.fromkeys([408, 500, 502, 503, 504, 529], FAILING),
    **dict.fromkeys([520, 524, 527], FAILING),
    429: LIMITED,
    401: REFUSED,
    402: REFUSED,
    403: REFUSED,
    404: MISSING,
    400: CALLERS,
    413: CALLERS,
    422: CALLERS,
    # not in the contract
    **dict.fromkeys([405, 409, 410, 415, 418, 424, 431, 451, 499], CALLERS),
    **dict.fromkeys([501, 505, 511, 599], Expected(0, False, True, False, True)),
    **dict.fromkeys([300, 302, 307], MISSING),
    **dict.fromkeys([0, 100, 999], SILENT),
}
OWN = {401: OWN_REFUSED, 402: OWN_REFUSED, 403: OWN_REFUSED, 429: LIMITED._replace(other=False, cools=False)}

ROWS: dict[Outcome, Expected] = {
    **{Outcome(kind): row for kind, row in BEFORE_AN_ANSWER.items()},
    **{Outcome(kind, own_key=True): row for kind, row in BEFORE_AN_ANSWER.items()},
    **{Outcome("status", status): row for status, row in STATUSES.items()},
    **{Outcome("status", status, own_key=True): OWN.get(status, row) for status, row in STATUSES.items()},
    **{Outcome("stream_error", status): row._replace(next=True) for status, row in STATUSES.items()},
    **{
        Outcome("stream_error", status, own_key=True): OWN[status] if status in OWN else row._replace(next=True)
        for status, row in STATUSES.items()
    },
}


def label(outcome: Outcome) -> str:
    return f"{outcome.kind}-{outcome.status}-{'own' if outcome.own_key else 'ours'}"


@pytest.mark.parametrize(("outcome", "expected"), ROWS.items(), ids=map(label, ROWS))
def test_every_row(outcome: Outcome, expected: Expected) -> None:
    # the columns from left to right, each when those before it are closed
    for used in range(5):
        left = choose(outcome, retries_used=used, max_retries=3, other_key=False, next_candidate=False)
        assert left.action == ("same_key" if used < expected.same else "stop")
    exhausted = partial(choose, outcome, retries_used=3, max_retries=3)
    assert (exhausted(next_candidate=False).action == "other_key") is expected.other
    assert (exhausted(other_key=False).action == "next_candidate") is expected.next
    assert exhausted(other_key=False, next_candidate=False).action == "stop"
    first = (
        "same_key"
        if expected.same
        else "other_key"
        if expected.other
        else "next_candidate"
        if expected.next
        else "stop"
    )
    assert choose(outcome, max_retries=3).action == first
    # and beside them
    for decision in (choose(outcome), choose(outcome, budget=False), choose(outcome, time_left_s=0)):
        assert (decision.cool_s is not None) is expected.cools
        assert decision.counts is expected.counts


def test_an_answer_that_breaks_off_is_none_that_makes_sense() -> None:
    assert retry.row_of(Outcome("reset", responded=True)).error == "upstream_invalid"
    assert retry.row_of(Outcome("reset")).error == "upstream_unreachable"


def test_what_broke_after_the_first_byte_is_not_asked_for_again_with_the_same_key() -> None:
    begun = Outcome("reset", responded=True)
    assert choose(begun).action == "next_candidate"
    assert choose(begun, next_candidate=False).action == "stop"
    assert choose(begun).counts


@pytest.mark.parametrize("outcome", ROWS, ids=map(label, ROWS))
def test_nothing_happens_after_the_deadline(outcome: Outcome) -> None:
    assert choose(outcome, time_left_s=0.0).action == "stop"
    assert choose(outcome, time_left_s=-1.0).action == "stop"


@pytest.mark.parametrize("outcome", ROWS, ids=map(label, ROWS))
def test_no_retry_with_the_same_key_without_budget_or_when_none_is_configured(outcome: Outcome) -> None:
    assert choose(outcome, budget=False).action != "same_key"
    assert choose(outcome, max_retries=0).action != "same_key"
    for action in ("other_key", "next_candidate"):  # a budget spent on retries does not stop a fallback
        expected = getattr(ROWS[outcome], action.split("_")[0])
        options = {"other_key": action == "other_key", "next_candidate": action == "next_candidate"}
        assert (choose(outcome, budget=False, **options).action == action) is expected


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        choose(Outcome("conect"))


# Waits


@pytest.mark.parametrize(
    ("used", "rand", "delay_s"),
    [
        (0, 0.0, 0.4),
        (0, 0.5, 0.5),
        (1, 0.5, 1.0),
        (2, 0.5, 2.0),
        (3, 0.5, 4.0),
        (4, 0.5, 5.0),
        (5, 0.5, 5.0),
        (9999, 0.0, 4.0),
        (9999, 0.5, 5.0),
        (1, 0.25, 0.9),
    ],
)
def test_backoff_doubles_to_five_seconds_with_a_fifth_of_chance(used: int, rand: float, delay_s: float) -> None:
    decision = choose(Outcome("status", 529), retries_used=used, max_retries=10_000, rand=rand)
    assert decision.action == "same_key"
    assert decision.delay_s == pytest.approx(delay_s)


@pytest.mark.parametrize("kind", ["connect", "tls", "reset", "connect_timeout"])
def test_a_lost_connection_is_tried_again_at_once(kind: str) -> None:
    assert choose(Outcome(kind))[:2] == ("same_key", 0.0)


@pytest.mark.parametrize(
    ("retry_after_s", "time_left_s", "alone", "accompanied"),
    [
        (0.0, 100, ("same_key", 0.0), ("same_key", 0.0)),
        (0.01, 100, ("same_key", 0.01), ("same_key", 0.01)),
        (6.0, 100, ("same_key", 6.0), ("same_key", 6.0)),
        (7.0, 100, ("same_key", 7.0), ("next_candidate", 0.0)),
        (60.0, 100, ("same_key", 60.0), ("next_candidate", 0.0)),
        (60.0, 60, ("stop", 0.0), ("next_candidate", 0.0)),
        (3.0, 2, ("stop", 0.0), ("next_candidate", 0.0)),
        (61.0, 3600, ("stop", 0.0), ("next_candidate", 0.0)),
        (86_400.0, 3600, ("stop", 0.0), ("next_candidate", 0.0)),
        (None, 0.3, ("stop", 0.0), ("next_candidate", 0.0)),
    ],
)
def test_retry_after_is_honoured_where_it_fits_and_otherwise_closes_the_column(
    retry_after_s: float | None, time_left_s: float, alone: tuple[str, float], accompanied: tuple[str, float]
) -> None:
    outcome = Outcome("status", 503, retry_after_s)
    assert choose(outcome, time_left_s=time_left_s, other_key=False, next_candidate=False)[:2] == alone
    assert choose(outcome, time_left_s=time_left_s)[:2] == accompanied


@pytest.mark.parametrize(
    ("status", "retry_after_s", "cool_s"),
    [
        (429, None, 10),
        (429, 2.5, 2.5),
        (429, 0.0, 1),
        (429, 86_400, 3600),
        (401, None, 60),
        (403, 5, 5),
        (402, None, 60),
    ],
)
def test_how_long_a_key_rests(status: int, retry_after_s: float | None, cool_s: float) -> None:
    for kind in ("status", "stream_error"):
        assert choose(Outcome(kind, status, retry_after_s)).cool_s == cool_s


# Any outcome at all

_outcomes = st.builds(
    Outcome,
    st.sampled_from(["status", "stream_error", *BEFORE_AN_ANSWER]),
    st.integers(0, 999),
    st.none() | st.floats(0, retry.MAX_RETRY_AFTER_S),
    st.booleans(),
    st.booleans(),
)


@given(
    _outcomes,
    st.integers(0, 5),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1, exclude_max=True),
    st.floats(-10, 3600),
    st.booleans(),
)
def test_no_decision_takes_what_is_not_there(
    outcome: Outcome, used: int, most: int, other: bool, more: bool, rand: float, left_s: float, budget: bool
) -> None:
    decision = choose(
        outcome,
        retries_used=used,
        max_retries=most,
        other_key=other,
        next_candidate=more,
        rand=rand,
        time_left_s=left_s,
        budget=budget,
    )
    if decision.action == "same_key":
        assert used < most
        assert budget
        assert 0 <= decision.delay_s < left_s
        assert decision.delay_s <= retry.MAX_WAIT_S
    else:
        assert decision.delay_s == 0
    if decision.action == "other_key":
        assert other
        assert not outcome.own_key
    if decision.action == "next_candidate":
        assert more
    if decision.action != "stop":
        assert left_s > 0
    if decision.cool_s is not None:
        assert not outcome.own_key
        assert 1 <= decision.cool_s <= retry.MAX_COOL_S
    if decision.counts:
        assert not 400 <= outcome.status <= 407 or outcome.kind in BEFORE_AN_ANSWER


# The final word


def tried(*attempts: tuple[int, Outcome]) -> list[Tried]:
    return [Tried(target, outcome) for target, outcome in attempts]


FAILED = Outcome("status", 529)
LIMIT = Outcome("status", 429)
REVOKED = Outcome("status", 401)
LOST_IT = Outcome("connect")


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], None),
        ([(0, FAILED)], Final(0, None)),
        # the last of the primary's, whatever the fallbacks said
        ([(0, FAILED), (0, Outcome("status", 500)), (1, LOST_IT), (2, REVOKED)], Final(1, None)),
        ([(0, LOST_IT), (0, LOST_IT), (1, FAILED)], Final(1, "upstream_unreachable")),
        ([(0, Outcome("stream_error", 529)), (1, FAILED)], Final(0, None)),
        # the primary was passed over: the first that was not
        ([(1, FAILED), (2, LIMIT)], Final(0, None)),
        # our credentials are never the caller's news, and give way to anything else
        ([(0, REVOKED)], Final(0, "upstream_credentials")),
        ([(0, REVOKED), (0, Outcome("status", 403)), (1, FAILED)], Final(1, "upstream_credentials")),
        ([(0, Outcome("stream_error", 403))], Final(0, "upstream_credentials")),
        ([(0, LIMIT), (0, REVOKED)], Final(0, None)),
        ([(0, REVOKED), (0, LIMIT)], Final(1, None)),
        ([(0, REVOKED), (1, LIMIT)], Final(0, "upstream_credentials")),
        ([(0, Outcome("stream_error", 401)), (0, FAILED), (0, Outcome("stream_error", 402))], Final(1, None)),
        # the caller's own credentials are
        ([(0, Outcome("status", 401, own_key=True))], Final(0, None)),
        ([(0, Outcome("status", 403, own_key=True))], Final(0, None)),
        ([(0, Outcome("status", 429, own_key=True)), (1, REVOKED)], Final(0, None)),
    ],
)
def test_the_answer_when_all_failed(attempts: list[tuple[int, Outcome]], expected: Final | None) -> None:
    assert final_error(tried(*attempts)) == expected


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("connect", "upstream_unreachable", 504),
        ("tls", "upstream_unreachable", 504),
        ("reset", "upstream_unreachable", 504),
        ("connect_timeout", "upstream_timeout", 504),
        ("first_byte_timeout", "upstream_timeout", 504),
        ("idle_timeout", "upstream_timeout", 504),
        ("deadline", "upstream_timeout", 504),
        ("protocol", "upstream_invalid", 502),
        ("too_large", "upstream_invalid", 502),
        ("no_connection", "shed", 503),
    ],
)
def test_what_the_client_is_told_when_there_was_no_answer(kind: str, error: str, status: int) -> None:
    assert final_error(tried((0, Outcome(kind)))) == Final(0, error)
    assert KINDS[error].status == status


@pytest.mark.parametrize("status", [*range(400, 600)])
def test_an_error_response_is_relayed_unless_it_is_about_our_credentials(status: int) -> None:
    error = "upstream_credentials" if status in (401, 402, 403, 407) else None
    assert final_error(tried((0, Outcome("status", status)))) == Final(0, error)
    theirs = error if status == 407 else None  # a proxy is ours, whoever's key passes it
    assert final_error(tried((0, Outcome("status", status, own_key=True)))) == Final(0, theirs)


def test_a_redirect_is_not_relayed() -> None:
    assert final_error(tried((0, Outcome("status", 307)))) == Final(0, "upstream_invalid")


@given(st.lists(st.tuples(st.integers(0, 3), _outcomes), min_size=1, max_size=6))
def test_the_answer_is_always_one_of_the_first_target_attempted(attempts: list[tuple[int, Outcome]]) -> None:
    final = final_error(tried(*attempts))
    assert final is not None
    target, outcome = attempts[final.attempt]
    assert target == min(target for target, _ in attempts)
    if final.error is None:
        assert outcome.own_key or outcome.status not in (401, 402, 403) or outcome.kind in BEFORE_AN_ANSWER
    else:
        assert final.error in KINDS


# retry-after

MOMENT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
UNIX = MOMENT.timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0),
        (b"30", 30),
        (b" 1.5 ", 1.5),
        (b"0.001", 0.001),
        (b"-5", 0),
        (b"86401", 86_400),
        (b"9" * 400, 86_400),
        (b"Fri, 20 Nov 2026 12:00:30 GMT", 30),
        (b"Fri, 20 Nov 2026 12:00:30 -0000", 30),
        (b"Fri, 20 Nov 2026 12:00:30", 30),
        (b"Friday, 20-Nov-26 12:01:00 GMT", 60),
        (b"Fri Nov 20 12:00:05 2026", 5),
        (b"Fri, 20 Nov 2026 11:00:00 GMT", 0),
        (b"Fri, 20 Nov 2099 12:00:00 GMT", 86_400),
        (b"", None),
        (b"soon", None),
        (b"nan", None),
        (b"inf", None),
        (b"1e3", None),
        (b"1_0", None),
        (b"1.2.3", None),
        (b".", None),
        (b"-", None),
        (b"--1", None),
        (b"\xb2", None),
        (b"Fri, 99 Nov 2026 12:00:30 GMT", None),
        (b"20 Nov 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after(value: bytes, seconds: float | None) -> None:
    headers = [(b"request-id", b"req_1"), (b"retry-after", value)]
    assert parse_retry_after(headers, UNIX) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("milliseconds", "seconds", "expected"),
    [(b"250", b"9", 0.25), (b"soon", b"9", 9), (b"-1", b"9", 0), (b"250", b"soon", 0.25), (b"x", b"y", None)],
)
def test_milliseconds_go_first(order: int, milliseconds: bytes, seconds: bytes, expected: float | None) -> None:
    headers = [(b"retry-after-ms", milliseconds), (b"retry-after", seconds)][::order]
    assert parse_retry_after(headers, UNIX) == expected


def test_no_retry_after() -> None:
    assert parse_retry_after([], UNIX) is None
    assert parse_retry_after([(b"x-retry-after", b"5")], UNIX) is None


@given(
    st.sampled_from([b"retry-after", b"retry-after-ms"]),
    st.binary() | st.text("0123456789.-:, GMTFriNov").map(str.encode),
)
def test_any_retry_after_is_bounded_or_nothing(name: bytes, value: bytes) -> None:
    after = parse_retry_after([(name, value)], UNIX)
    assert after is None or 0 <= after <= retry.MAX_RETRY_AFTER_S


@given(st.integers(0, 86_400), st.integers(-12, 12))
def test_a_date_is_as_good_as_seconds(seconds: int, zone_h: int) -> None:
    date = (MOMENT + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=zone_h)))
    assert parse_retry_after([(b"retry-after", format_datetime(date).encode())], UNIX) == seconds


# The budget


@pytest.mark.parametrize(
    ("share", "in_flight", "room"),
    [(0.2, 0, 3), (0.2, 10, 3), (0.2, 15, 3), (0.2, 16, 4), (0.2, 100, 20), (0.0, 1000, 3), (1.0, 10, 10)],
)
def test_retries_in_flight_are_a_share_of_the_requests_in_flight(share: float, in_flight: int, room: int) -> None:
    budget = RetryBudget(share)
    for _ in range(in_flight):
        budget.enter()
    begun = 0
    while budget.allow():
        budget.acquire()
        begun += 1
    assert begun == room
    budget.release()
    assert budget.allow()


def test_the_budget_shrinks_with_the_requests() -> None:
    budget = RetryBudget(0.5)
    for _ in range(10):
        budget.enter()
    for _ in range(4):
        budget.acquire()
    assert budget.allow()
    for _ in range(2):
        budget.leave()
    assert not budget.allow()


@given(st.lists(st.sampled_from(["enter", "leave", "acquire", "release"])))
def test_the_budget_is_never_negative(steps: list[str]) -> None:
    budget, requests, retries = RetryBudget(0.2), 0, 0
    for step in steps:
        if step == "enter":
            budget.enter()
            requests += 1
        elif step == "acquire" and budget.allow():
            budget.acquire()
            retries += 1
        elif step in ("leave", "release"):
            begun = requests if step == "leave" else retries
            if begun:
                getattr(budget, step)()
                requests, retries = requests - (step == "leave"), retries - (step == "release")
            else:
                with pytest.raises(RuntimeError):
                    getattr(budget, step)()
        assert (budget.in_flight, budget.retrying) == (requests, retries)
        assert min(requests, retries) >= 0


# A whole exchange, played out: the decisions in a row never loop


@pytest.mark.parametrize(("status", "max_retries", "keys"), [*product([429, 401, 529, 404, 400], [0, 1, 3], [1, 2, 5])])
def test_a_failing_plan_comes_to_an_end(status: int, max_retries: int, keys: int) -> None:
    outcome, attempts = Outcome("status", status), 0
    for candidate in range(3):
        left, used = keys, 0
        while True:
            attempts += 1
            decision = choose(
                outcome,
                retries_used=used,
                max_retries=max_retries,
                other_key=left > 1,
                next_candidate=candidate < 2,
            )
            if decision.action == "same_key":
                used += 1
            elif decision.action == "other_key":
                left -= 1
            else:
                break
        if decision.action == "stop":
            break
    per_candidate = {429: keys, 401: keys, 529: 1 + max_retries, 404: 1, 400: 1}[status]
    assert attempts == per_candidate * (1 if status == 400 else 3)
