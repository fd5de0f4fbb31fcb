"""Decoding in steps: any split gives what the standard library gives in one go, in bounded pieces."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.upstream.inflate import MAX_MEMBERS, Inflater


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
}


def inflated(inflater: Inflater, pieces: list[bytes], step_bytes: int) -> bytes:
    plain = []
    for piece in pieces:
        plain.append(inflater.feed(piece))
        while inflater.pending:
            plain.append(inflater.more())
    inflater.end()
    assert all(len(piece) <= step_bytes for piece in plain)
    return b"".join(plain)


def split(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


plain_bodies = st.one_of(
    st.binary(max_size=300), st.builds(lambda b, n: b * n, st.binary(max_size=5), st.integers(0, 900))
)


@given(
    bodies=st.lists(plain_bodies, min_size=1, max_size=3),
    coding=st.sampled_from(list(ENCODERS)),
    places=st.lists(st.integers(0, 10_000), max_size=6),
    step_bytes=st.integers(1, 400),
)
def test_any_split_decodes_to_the_same(bodies: list[bytes], coding: str, places: list[int], step_bytes: int) -> None:
    if coding != "gzip":
        bodies = bodies[:1]  # only gzip has members
    coded = b"".join(ENCODERS[coding](body) for body in bodies)
    inflater = Inflater(coding.split()[-1].encode(), step_bytes)
    assert inflated(inflater, split(coded, places), step_bytes) == b"".join(bodies)


@given(body=plain_bodies, coding=st.sampled_from(list(ENCODERS)), at=st.floats(0, 1, exclude_max=True))
def test_a_part_is_not_whole(body: bytes, coding: str, at: float) -> None:
    coded = ENCODERS[coding](body)
    part = coded[: int(at * len(coded))]
    inflater = Inflater(coding.split()[-1].encode(), 1000)
    if part:
        with pytest.raises(zlib.error):
            inflated(inflater, [part], 1000)
    else:
        assert inflated(inflater, [], 1000) == b""


@given(
    data=st.binary(max_size=100), coding=st.sampled_from([b"gzip", b"deflate"]), places=st.lists(st.integers(0, 100))
)
def test_any_bytes_end_or_raise(data: bytes, coding: bytes, places: list[int]) -> None:
    with contextlib.suppress(zlib.error):
        inflated(Inflater(coding, 50), split(data, places), 50)


def test_what_follows_a_deflate_stream_is_an_error() -> None:
    with pytest.raises(zlib.error):
        inflated(Inflater(b"deflate", 100), [zlib.compress(b"hello") + b"x"], 100)
    with pytest.raises(zlib.error):
        inflated(Inflater(b"deflate", 100), [zlib.compress(b"hello"), b"x"], 100)


def test_the_members_of_a_body_are_bounded() -> None:
    member = gzip.compress(b"x")
    assert inflated(Inflater(b"gzip", 100), [member * MAX_MEMBERS], 100) == b"x" * MAX_MEMBERS
    with pytest.raises(zlib.error, match="members"):
        inflated(Inflater(b"gzip", 100), [member * (MAX_MEMBERS + 1)], 100)
