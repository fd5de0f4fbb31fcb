from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.policy.choice import rendezvous, weighted

Pool = dict[str, float]


def by_rand(pool: Pool, rand: float) -> str | None:
    return weighted(list(pool), pool.__getitem__, rand)


def by_session(pool: Pool, session: str) -> str | None:
    return rendezvous(list(pool), pool.__getitem__, str, session)


@pytest.mark.parametrize("pool", [{"a": 1.0, "b": 3.0}, {"a": 0.25, "b": 0.25, "c": 0.5}, {"a": 0.0, "b": 1.0}])
def test_even_steps_of_rand_hit_each_item_by_its_weight(pool: Pool) -> None:
    steps = 1000
    hits = Counter(by_rand(pool, step / steps) for step in range(steps))
    assert hits == Counter({name: int(steps * share / sum(pool.values())) for name, share in pool.items() if share})


def test_sessions_are_shared_out_by_weight() -> None:
    pool = {"a": 1.0, "b": 3.0, "c": 0.0}
    hits = Counter(by_session(pool, f"session-{number}") for number in range(4000))
    assert hits["c"] == 0
    assert abs(hits["a"] - 1000) < 120  # 4 standard deviations; the sessions are fixed, so this is not chance


@given(st.dictionaries(st.text(min_size=1), st.floats(0.1, 100), min_size=2, max_size=6), st.text())
def test_a_session_moves_only_when_its_own_choice_is_gone(pool: Pool, session: str) -> None:
    home = by_session(pool, session)
    for gone in pool:
        rest = {name: weight for name, weight in pool.items() if name != gone}
        if gone != home:
            assert by_session(rest, session) == home
    assert by_session(dict(reversed(pool.items())), session) == home


pools = st.dictionaries(st.text(min_size=1, max_size=3), st.just(0.0) | st.floats(1e-9, 1e9), max_size=6)


@given(pools, st.floats(0, 1, exclude_max=True), st.text())
def test_the_choice_is_an_item_with_weight_or_nothing(pool: Pool, rand: float, session: str) -> None:
    possible: set[str | None] = {name for name, share in pool.items() if share > 0}
    possible = possible or {None}
    assert by_rand(pool, rand) in possible
    assert by_session(pool, session) in possible
