"""Compressed bodies: any gzip comes out as it went in, and nothing comes out larger than it may."""

from __future__ import annotations

import gzip
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.errors import GatewayError
from asbru.server.inflate import MAX_MEMBERS, gunzip


def refused(data: bytes, limit_bytes: int) -> str:
    with pytest.raises(GatewayError) as caught:
        gunzip(data, limit_bytes)
    return caught.value.kind


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(0, 9))
def test_members_are_one_body(members: list[bytes], level: int) -> None:
    body = b"".join(members)
    packed = b"".join(gzip.compress(member, level) for member in members)
    assert gunzip(packed, len(body)) == body
    if body:
        assert refused(packed, len(body) - 1) == "too_large"


@given(st.binary(max_size=100), st.integers(1, 200))
def test_a_body_that_ends_early_is_broken(body: bytes, missing: int) -> None:
    packed = gzip.compress(body)
    assert refused(packed[:-missing], 1000) == "invalid_request"


@given(st.binary(max_size=100), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_makes_no_difference(body: bytes, at: int, value: int) -> None:
    packed = bytearray(gzip.compress(body))
    packed[at % len(packed)] = value
    try:
        assert gunzip(bytes(packed), 100) == body
    except GatewayError as error:
        assert error.kind in ("invalid_request", "too_large")


@given(st.binary(min_size=1, max_size=50))
def test_anything_else_is_broken(data: bytes) -> None:
    assert refused(b"\x00" + data, 1000) == "invalid_request"
    assert refused(gzip.compress(b"x") + b"\x00" + data, 1000) == "invalid_request"


def test_too_many_members_are_refused() -> None:
    assert gunzip(gzip.compress(b"x") * MAX_MEMBERS, 1000) == b"x" * MAX_MEMBERS
    assert refused(gzip.compress(b"x") * (MAX_MEMBERS + 1), 1000) == "invalid_request"
    assert refused(gzip.compress(b"") * 10_000, 1000) == "invalid_request"


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert refused(bomb, 100_000) == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_large_body_is_inflated_in_steps() -> None:
    body = random.Random(1).randbytes(400_000) + bytes(3_000_000)
    packed = gzip.compress(body[:700_000]) + gzip.compress(body[700_000:])
    assert gunzip(packed, len(body)) == body
    assert refused(packed, len(body) - 1) == "too_large"
    assert refused(packed[:300_000], len(body)) == "invalid_request"
