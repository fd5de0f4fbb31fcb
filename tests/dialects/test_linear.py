"""Every incremental parser and accumulator of the dialects does work in proportion to what it is fed, in any shape."""

from __future__ import annotations

import pytest

from asbru.dialects import eventstream, sse
from asbru.dialects.watch import Watch
from tests.work import Bytes, Work, counted, cut, work

__all__ = ["work"]

SIZE = 20_000
TIMES = 12
"""How often a byte may be gone through: searched, copied to a block, copied on."""

STREAMS = {
    "tiny events": b"data:x\n\n" * (SIZE // 8),
    "tiny events, CR": b"data:x\r\r" * (SIZE // 8),
    "tiny events, CRLF": b"data:x\r\n\r\n" * (SIZE // 10),
    "mixed": b"data:x\r\n\ndata:y\n\rdata:z\r\n\r\n" * (SIZE // 28),
    "blank lines": b"\n" * SIZE,
    "blank lines, CR": b"\r" * SIZE,
    "a CR first and then none": b"data:x\r\r" + b"data:x\n\n" * (SIZE // 8),
    "a CR last": b"data:x\n\n" * (SIZE // 8) + b"data:x\r\r",
    "no end of a line": b"data:" + b"x" * SIZE,
    "a CR and no end of a line": b":\rdata:" + b"x" * SIZE,
    "no blank line": b"data:x\n" * (SIZE // 7),
    "no blank line, CR": b"data:x\r" * (SIZE // 7),
}
CUTS = [1, 7, 4096, SIZE + 1000]


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("shape", STREAMS)
def test_cutting_server_sent_events(shape: str, size: int, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, sse, "_blank_line")
    blocks = sse.Blocks()
    got = [block for piece in cut(STREAMS[shape], size) for block in blocks.feed(piece)]
    assert b"".join(got) + blocks.held == STREAMS[shape]
    assert work.done < TIMES * len(STREAMS[shape])


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("shape", STREAMS)
def test_watching_a_stream(shape: str, size: int, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, sse, "_blank_line")
    watch = Watch(hold_limit_bytes=1000)  # so that the large ones are torn
    got = b"".join([watch.feed(piece) for piece in cut(STREAMS[shape], size)]) + watch.flush()
    assert got == STREAMS[shape]
    assert work.done < TIMES * len(STREAMS[shape])


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("payload", [0, 100, SIZE])
def test_cutting_frames(payload: int, size: int, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, eventstream)
    frame = eventstream.encode({":event-type": "chunk"}, b"x" * payload)
    stream = frame * (SIZE // len(frame) + 1)
    reader = eventstream.Reader()
    frames = [frame for piece in cut(stream, size) for frame in reader.feed(piece)]
    assert b"".join(eventstream.encode(*frame) for frame in frames) == stream
    assert work.done < TIMES * len(stream) + 12 * len(stream) // size


def test_an_event_of_very_many_lines_is_not_read() -> None:
    event = b"data:x\n" * (sse.MAX_LINES + 1) + b"\n"
    with pytest.raises(sse.SseError, match="lines"):
        sse.Reader().feed(Bytes(event))
    watch = Watch()
    assert watch.feed(event) == event
    assert watch.content
