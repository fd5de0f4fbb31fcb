"""Counting the structure of a body from its bytes: held against counting it with the standard library's parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.dialects import bounds
from asbru.dialects.bounds import BoundError, check, count
from asbru.limits import Limits

texts = st.text(st.sampled_from('a"\\/{}[],\n\u00e9\U0001f600'), max_size=8)
values = st.recursive(
    st.none() | st.integers(0, 9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
bodies = st.dictionaries(texts, values, min_size=1, max_size=5)


def commas_and_openings(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(0, len(inner) - 1) + sum(map(commas_and_openings, inner))


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


def escapes(text: str) -> int:
    """Escapes in JSON text: each begins with a backslash and takes the next character with it."""
    return len(text.replace("\\\\", "~").split("\\")) - 1 + text.count("\\\\")


def within(body: bytes, setting: str, most: int) -> bool:
    try:
        count(body, Limits(**{setting: most}))
    except BoundError as error:
        assert str(error).endswith(f"at most {most} are allowed (server.limits.{setting})")
        return False
    return True


@settings(max_examples=200)
@given(bodies, st.booleans(), st.sampled_from([None, 1]), st.integers(1, 9))
def test_counts_are_exact_wherever_the_pieces_end(body: Any, ascii_only: bool, indent: int | None, piece: int) -> None:
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "_PIECE_BYTES", piece)
        for setting, most in (
            ("max_values", commas_and_openings(body)),
            ("max_depth", depth(body)),
            ("max_members", len(body)),
            ("max_escapes", escapes(text)),
        ):
            if most:
                assert within(text.encode(), setting, most)
            if most > 1:
                assert not within(text.encode(), setting, most - 1)


@pytest.mark.parametrize("wrong", [b"[" * 1000, b"]" * 1000, b'{"a', b"\\" * 99, b'"\\', b"", b"}{", b'{"a":1}}}'])
def test_what_is_no_json_is_left_to_the_parser(wrong: bytes) -> None:
    count(wrong, Limits(max_depth=1000))


def test_a_batch_may_hold_more() -> None:
    body = b"[" + b",".join([b"{}"] * 1000) + b"]"
    check(body, Limits(max_values=200), batch=True)
    with pytest.raises(BoundError, match="JSON values: at most 1500 are allowed"):
        check(body, Limits(max_values=150), batch=True)
    with pytest.raises(BoundError, match="JSON values: at most 200 are allowed"):
        check(body, Limits(max_values=200))


def test_counting_ends_at_the_bound() -> None:
    """Of an attack only the first pieces are looked at: the rest need not even be bytes that can be sliced."""
    taken = 0

    class Body(bytes):
        def __getitem__(self, key: Any) -> Any:
            nonlocal taken
            taken += 1
            return super().__getitem__(key)

    with pytest.raises(BoundError, match="JSON values"):
        check(Body(b"{}," * 5_000_000), Limits(max_depth=10_000_000))
    assert taken <= 500_000 * 3 / 2 / bounds._PIECE_BYTES + 1


@pytest.mark.parametrize("size", [100, 300_000, 600_000])
@pytest.mark.parametrize("unit", [b"{},", b"1,", b'"a",', b'",",', rb'"\"[",', b'"' + b"x" * 100 + b'",'])
def test_the_fast_path_lets_nothing_through(unit: bytes, size: int) -> None:
    body = b'{"a":[' + (unit * (size // len(unit)))[:-1] + b"]}"
    for limits in (Limits(), Limits(max_values=1000), Limits(max_values=size // 3), Limits(max_escapes=50)):
        plain = fast = None
        try:
            count(body, limits)
        except BoundError as error:
            plain = str(error)
        try:
            check(body, limits)
        except BoundError as error:
            fast = str(error)
        assert fast == plain


@pytest.mark.parametrize("at", [0, 65_530, 65_535, 65_536, 131_070, 199_993])
def test_a_large_body_is_searched_in_pieces(at: int) -> None:
    body = bytes(at) + b'"needle"' + bytes(200_001 - at - 8)
    assert bounds.contains(body, b'"needle"')
    assert not bounds.contains(body, b'"needles"')
    assert bounds.contains(b'a"needle"', b'"needle"') and not bounds.contains(b"", b"x")
