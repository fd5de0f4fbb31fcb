"""AWS event-stream frames: as botocore reads and as we read them, cut anywhere, damaged anywhere."""

from __future__ import annotations

import uuid
from struct import pack
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import eventstream
from asbru.dialects.eventstream import EventStreamError, Frame, Reader, Value, encode, parse_headers

NAMES = st.text(min_size=1, max_size=20)
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=50),
    st.text(max_size=50),
    st.uuids(),
)
FRAMES = st.builds(Frame, st.dictionaries(NAMES, VALUES, max_size=5), st.binary(max_size=200))
DELTA = encode(
    {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"},
    b'{"contentBlockIndex":0,"delta":{"text":"Hello"}}',
)


def by_botocore(data: bytes) -> list[Frame]:
    """The frames as botocore reads them; a UUID comes as its bytes."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [Frame(message.headers, message.payload) for message in buffer]


def plain(frames: list[Frame]) -> list[Frame]:
    """Frames of ours as botocore has them."""
    return [
        Frame(
            {name: value.bytes if isinstance(value, uuid.UUID) else value for name, value in headers.items()}, payload
        )
        for headers, payload in frames
    ]


@given(st.lists(FRAMES, max_size=4))
def test_what_is_written_is_read_back_by_us_and_by_botocore(frames: list[Frame]) -> None:
    data = b"".join(encode(frame.headers, frame.payload) for frame in frames)
    assert Reader().feed(data) == frames
    assert by_botocore(data) == plain(frames)


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_where_the_stream_is_cut_makes_no_difference(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(encode(frame.headers, frame.payload) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = Reader()
    read: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += reader.feed(stream[start:end])
    assert read == frames
    assert reader.error is None


def test_byte_by_byte() -> None:
    reader = Reader()
    for byte in DELTA[:-1]:
        assert reader.feed(bytes((byte,))) == []
    assert reader.feed(DELTA[-1:]) == Reader().feed(DELTA)


def broken(data: bytes) -> bool:
    """Whether the reader finds fault with this, which holds no whole frame."""
    reader = Reader()
    assert reader.feed(data) == []
    return isinstance(reader.error, ValueError)


def frame_of(block: bytes, payload: bytes = b"") -> bytes:
    """A frame with this block of headers, whatever it holds."""
    lengths = pack("!II", 16 + len(block) + len(payload), len(block))
    frame = lengths + pack("!I", crc32(lengths)) + block + payload
    return frame + pack("!I", crc32(frame))


@pytest.mark.parametrize(
    ("block", "value"),
    [
        (b"\x00", True),
        (b"\x01", False),
        (b"\x02\xff", -1),
        (b"\x03\x80\x00", -32768),
        (b"\x04\x00\x00\x01\x00", 256),
        (b"\x05\x7f\xff\xff\xff\xff\xff\xff\xff", 2**63 - 1),
        (b"\x06\x00\x03abc", b"abc"),
        (b"\x07\x00\x03\xe2\x82\xac", "€"),
        (b"\x08\x00\x00\x01\x89\xab\xcd\xef\x01", 0x189ABCDEF01),
        (b"\x09" + bytes(range(16)), uuid.UUID(bytes=bytes(range(16)))),
    ],
)
def test_every_type_of_header(block: bytes, value: Value) -> None:
    frame = frame_of(b"\x04name" + block, b"payload")
    assert Reader().feed(frame) == [Frame({"name": value}, b"payload")]
    assert by_botocore(frame) == plain([Frame({"name": value}, b"payload")])


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x04nam", id="name cut"),
        pytest.param(b"\x04name", id="no type"),
        pytest.param(b"\x04name\x0a", id="unknown type"),
        pytest.param(b"\x04name\x07\x00", id="length cut"),
        pytest.param(b"\x04name\x07\x00\x05abc", id="string cut"),
        pytest.param(b"\x04name\x09abc", id="uuid cut"),
        pytest.param(b"\x04name\x05abc", id="long cut"),
        pytest.param(b"\x04name\x07\x00\x01\xff", id="value is not UTF-8"),
        pytest.param(b"\x01\xff\x00", id="name is not UTF-8"),
        pytest.param(b"\x01a\x00\x01a\x00", id="twice"),
    ],
)
def test_headers_that_make_no_sense(block: bytes) -> None:
    assert broken(frame_of(block))


@given(st.integers(0, len(DELTA) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_found_by_us_as_by_botocore(place: int, mask: int) -> None:
    damaged = bytearray(DELTA + DELTA)
    damaged[place] ^= mask
    assert broken(bytes(damaged))
    with pytest.raises(ParserError):
        by_botocore(bytes(damaged))


@given(st.integers(0, len(DELTA) - 1), st.integers(1, 255), st.integers(1, 2 * len(DELTA)))
def test_what_comes_before_damage_is_given_whatever_the_cut(place: int, mask: int, size: int) -> None:
    damaged = bytearray(DELTA + DELTA + DELTA)
    damaged[len(DELTA) + place] ^= mask
    reader = Reader()
    read: list[Frame] = []
    for start in range(0, len(damaged), size):
        read += reader.feed(bytes(damaged[start : start + size]))
    assert read == Reader().feed(DELTA)
    assert reader.error is not None
    assert reader.feed(DELTA) == []


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_arbitrary_bytes_are_an_error_or_nothing(chunks: list[bytes]) -> None:
    reader = Reader()
    for chunk in chunks:
        assert reader.feed(chunk) == []
    assert (reader.error is not None) == (len(b"".join(chunks)) >= 12)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_headers_seen_before_are_as_headers_read_plainly(headers: dict[str, Value]) -> None:
    frame = encode(headers, b"x")
    block = frame[12 : len(frame) - 5]
    reader = Reader()
    assert [reader.feed(frame)[0].headers for _ in range(3)] == [parse_headers(block)] * 3


def lengths_of(total: int, headers: int) -> bytes:
    lengths = pack("!II", total, headers)
    return lengths + pack("!I", crc32(lengths))


@pytest.mark.parametrize(
    ("total", "headers"),
    [
        (15, 0),
        (0, 0),
        (20, 10),
        (2**32 - 1, 0),
        (16 + eventstream.MAX_PAYLOAD_BYTES + 1, 0),
        (16 + eventstream.MAX_HEADERS_BYTES + 1, eventstream.MAX_HEADERS_BYTES + 1),
    ],
)
def test_a_length_out_of_bounds_is_refused_before_anything_is_kept(total: int, headers: int) -> None:
    assert broken(lengths_of(total, headers))


def test_the_largest_frame_is_read() -> None:
    payload = bytes(eventstream.MAX_PAYLOAD_BYTES)
    assert Reader().feed(encode({}, payload)) == [Frame({}, payload)]
    with pytest.raises(EventStreamError):
        encode({}, payload + b"x")


@pytest.mark.parametrize(
    "headers",
    [{"n" * 256: True}, {"n": "v" * 65_536}, {"n": b"v" * 65_536}, {"n": 2**63}, {"n": "\ud800"}],
)
def test_what_does_not_fit_into_a_frame(headers: dict[str, Value]) -> None:
    with pytest.raises(EventStreamError):
        encode(headers, b"")


def test_known_headers_are_bounded() -> None:
    reader = Reader()
    for number in range(1000):
        assert reader.feed(encode({"n": number}, b""))[0].headers == {"n": number}
    assert len(reader._known) <= 32
