"""Server-sent events: what the standard says, in any chunks, bounded."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.dialects import sse
from asbru.dialects.sse import Event, Reader, SseError

fragments = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"x",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\0",
    ]
)
streams = st.lists(fragments, max_size=30).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn, whole: st.SearchStrategy[bytes] = streams) -> list[bytes]:
    data = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def standard(stream: bytes) -> list[Event]:
    """The oracle: the standard's algorithm, word for word, over the whole stream at once."""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]  # the last has no end
    events: list[Event] = []
    data = event_type = b""
    for line in lines:
        if not line:
            if data:
                events.append(Event(event_type or b"message", data[:-1]))
            data = event_type = b""
            continue
        if line.startswith(b":"):
            continue
        field, value = line.split(b":", 1) if b":" in line else (line, b"")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"event":
            event_type = value
        elif field == b"data":
            data += value + b"\n"
    return events


@given(chunked())
@example([b"data: x\r", b"\n\r", b"\n"])
@example([b"data: x\r\n", b"\r\n", b"data: y\r", b"\r"])
@example([b"data: x\n", b"\n", b"data: y\n\n"])
@example([b"\xef", b"\xbb", b"\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n"])
@example([b"data: x\n\r", b"\n\rdata: y\n\r"])
def test_any_split_gives_the_events_of_the_standard(chunks: list[bytes]) -> None:
    reader = Reader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    assert events == standard(b"".join(chunks))


EVENTS = st.sampled_from(
    [
        b"data: x\n\n",
        b"data: x\r\n\r\n",
        b"data:x\n\n",
        b"data: x\r\n\n",
        b"data: x\n\r\n",
        b"event: n\ndata: x\n\n",
        b"event: n\r\ndata: x\r\n\r\n",
        b"event: n\rdata: x\ndata: y\n\n",
        b"event: \ndata: \n\n",
        b"event: n\n\n",
        b"data: x\ny\n\n",
        b"data: x\ry\n\n",
        b"data: x\n",
        b"data: x\r",
        b"\xef\xbb\xbfdata: x\n\n",
    ]
)


@given(st.lists(EVENTS | fragments, max_size=6))
def test_reads_of_whole_events_give_what_the_plain_reader_gives(reads: list[bytes]) -> None:
    fast, plain = Reader(), Reader()
    assert [fast.feed(read) for read in reads] == [plain._feed(read) for read in reads]


@pytest.mark.parametrize("data", [b"data: 123\n\n", b"event: n\r\ndata: 1\r\n\r\n"])
def test_a_whole_event_has_the_same_limit(data: bytes) -> None:
    assert len(Reader(limit_bytes=len(data)).feed(data)) == 1
    with pytest.raises(SseError):
        Reader(limit_bytes=len(data) - 1).feed(data)


@given(chunked())
def test_blocks_lose_nothing(chunks: list[bytes]) -> None:
    blocks = sse.Blocks()
    cut = [block for chunk in chunks for block in blocks.feed(chunk)]
    assert b"".join(cut) + bytes(blocks.held) == b"".join(chunks)
    assert all(re.search(rb"(\r|\n)\Z", block) for block in cut)
    assert standard(bytes(blocks.held)) == []


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize(
    ("stream", "events"),
    [  # the examples of the standard
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event(b"message", b"YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [Event(b"message", b"first event"), Event(b"message", b"second event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [Event(b"message", b""), Event(b"message", b"\n")]),
        (b"data:test\n\ndata: test\n\n", [Event(b"message", b"test")] * 2),
        (b"event: add\ndata: 73857293\n\nevent: remove\nretry: 3\n\n", [Event(b"add", b"73857293")]),
        (b"\xef\xbb\xbf\nevent\ndata:  two spaces\n\n\n\n", [Event(b"message", b" two spaces")]),
    ],
)
def test_examples(stream: bytes, events: list[Event], ending: bytes) -> None:
    stream = stream.replace(b"\n", ending)
    assert Reader().feed(stream) == events
    reader = Reader()
    assert [event for byte in stream for event in reader.feed(bytes([byte]))] == events


@given(st.binary(max_size=30).map(lambda name: re.sub(rb"[\r\n]", b"", name)), st.binary(max_size=60) | streams)
@example(b"error", b"a\r\nb\rc\n")
def test_what_is_encoded_reads_back(name: bytes, data: bytes) -> None:
    expected = Event(name or b"message", re.sub(rb"\r\n|\r", b"\n", data))
    assert Reader().feed(sse.encode(name, data)) == [expected]
    assert standard(sse.encode(name, data)) == [expected]


def test_encoded_events_look_as_on_the_wire() -> None:
    assert sse.encode(b"ping", b'{"type": "ping"}') == b'event: ping\ndata: {"type": "ping"}\n\n'
    with pytest.raises(ValueError, match="one line"):
        sse.encode(b"a\nb", b"")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_beyond_the_limit_is_refused_in_any_chunks(size: int) -> None:
    def feed(reader: Reader, stream: bytes) -> list[Event]:
        return [event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])]

    longest = b"data: " + b"x" * 92 + b"\n\n"
    assert len(feed(Reader(limit_bytes=100), longest * 3)) == 3
    for stream in (b"data: " + b"x" * 93 + b"\n\n", b"data: x\n" * 20, b":" * 101, b"\n" + longest):
        with pytest.raises(SseError, match="larger than 100 bytes"):
            feed(Reader(limit_bytes=100), stream)


def test_a_large_event_in_small_pieces() -> None:
    reader = Reader()
    assert reader.feed(b"event: big\r\ndata: ") == []
    for _ in range(2_000):
        assert reader.feed(b"x" * 1_000) == []
    assert reader.feed(b"\r\n\r\ndata: next\n\n") == [Event(b"big", b"x" * 2_000_000), Event(b"message", b"next")]
