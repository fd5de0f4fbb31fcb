"""`asbru.policy.estimates`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asbru.policy.estimates import DEFAULT_BYTES_PER_TOKEN, Estimates


def test_it_begins_with_a_guess_and_learns() -> None:
    estimates = Estimates()
    assert estimates.tokens("p", "m", 4000) == 4000 / DEFAULT_BYTES_PER_TOKEN
    for _ in range(3):
        estimates.learn("p", "m", 3000, 1000)
    assert estimates.tokens("p", "m", 4000) == round(4000 / 3)
    # another model has the average of all, which has moved towards what was seen
    assert 1000 < estimates.tokens("p", "other", 4000) < 4000 / 3


def test_small_requests_and_missing_counts_teach_nothing() -> None:
    estimates = Estimates()
    estimates.learn("p", "m", 100, 90)
    estimates.learn("p", "m", 4000, 0)
    assert estimates.tokens("p", "m", 4000) == 1000


def test_it_is_bounded() -> None:
    estimates = Estimates(limit=2)
    for name in ("a", "b", "c"):
        estimates.learn("p", name, 8000, 1000)
    assert estimates.tokens("p", "c", 8000) == 1000
    assert estimates.tokens("p", "a", 8000) > 1000  # forgotten: the average of all


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(-5, 10**9))), st.integers(0, 10**9))
def test_whatever_was_said_the_estimate_is_sane(said: list[tuple[int, int]], size: int) -> None:
    estimates = Estimates()
    for request_bytes, tokens in said:
        estimates.learn("p", "m", request_bytes, tokens)
    assert 1 <= estimates.tokens("p", "m", size) <= max(1, 2 * size + 1)
