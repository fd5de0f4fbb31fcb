from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.policy.patterns import Patterns


@pytest.mark.parametrize(
    ("patterns", "yes", "no"),
    [
        (["*"], ["", "claude-x", "meta/llama"], []),
        (["**"], ["", "anything"], []),
        ([], [], ["", "claude-x"]),
        (["claude-x"], ["claude-x"], ["claude-x1", "aclaude-x", "Claude-x", ""]),
        (["claude-*"], ["claude-", "claude-x"], ["claude", "aclaude-x"]),
        (["*-latest"], ["-latest", "claude-latest"], ["claude-latest-1"]),
        (["claude-*-4-*"], ["claude-opus-4-1", "claude--4-"], ["claude-4-1", "claude-opus-4"]),
        (["a*a"], ["aa", "aba"], ["a", "ab"]),
        (["a*b*b"], ["abb", "axbyb"], ["ab"]),
        (["gpt-[45]?"], ["gpt-[45]?"], ["gpt-4x", "gpt-5"]),
        (["claude-*", "gpt-5"], ["claude-x", "gpt-5"], ["gpt-5-mini"]),
    ],
)
def test_patterns(patterns: list[str], yes: list[str], no: list[str]) -> None:
    compiled = Patterns(patterns)
    assert [name for name in yes if not compiled.allow(name)] == []
    assert [name for name in no if compiled.allow(name)] == []


_text = st.text("ab*", max_size=8)


@given(st.lists(_text, max_size=4), st.text("ab", max_size=10))
def test_patterns_mean_what_the_regular_expression_means(patterns: list[str], name: str) -> None:
    plain = any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) for pattern in patterns)
    assert Patterns(patterns).allow(name) == plain


def test_a_pattern_of_many_stars_does_not_backtrack() -> None:
    assert not Patterns(["*a" * 200 + "*b"]).allow("a" * 100_000)


def test_exact_names_are_known() -> None:
    assert Patterns(["claude-*", "gpt-5", "gpt-5"]).exact == {"gpt-5"}
    assert repr(Patterns(["a*b", "c*", "d"])) == "Patterns(a*b, c*, d)"
