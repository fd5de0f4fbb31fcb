"""The upstream of the streamed rows: answers every POST with one server-sent event stream, at a chosen pace.

    python -m bench.upstream PORT

A real provider's events arrive one by one, so a gateway's cost per stream is mostly its cost per read. To measure that
and not how well reads happen to coalesce, every event is one write of one chunk, and there are three modes:

- ``paced`` (events per second over all streams): streams take turns, so that events are far enough apart for any
  gateway to read each alone. All gateways then do the same number of reads; this is the row for CPU per request.
- ``flat``: every stream writes one event per turn of the event loop, as fast as it can; the row for throughput.
- ``idle``: the first three events, then nothing until the other side closes.

`GET /bench/counters` tells what has been sent; `POST /bench/paced?events_per_s=20000`, `/bench/flat` and `/bench/idle`
set the mode for the requests that follow. The request body is read to its end before anything is answered; a request
that did not ask for a stream gets a plain answer. What is asked for below ``/openai-chat/``, or another dialect's name,
is answered in that dialect; everything else in Anthropic's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from typing import cast

import httptools
import uvloop

from bench.bodies import RESPONSE_HEADERS, plain_answer, stream_answer
from bench.dialects import ANSWERS, EVENT_STREAM, Answers

EVENTS = 100
IDLE_EVENTS = 3
TICK_S = 0.001


def head(content_type: str, framing: str) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in RESPONSE_HEADERS.items())
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{extra}{framing}\r\n\r\n".encode()


class Wire:
    """One dialect's answers as they are written: whole, and in chunks of one event each."""

    def __init__(self, answers: Answers) -> None:
        self.plain = head("application/json", f"content-length: {len(answers.plain)}") + answers.plain
        self.chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in answers.stream(EVENTS)]
        self.chunks[0] = head(answers.content_type, "transfer-encoding: chunked") + self.chunks[0]
        self.chunks[-1] += b"0\r\n\r\n"


ANTHROPIC = Wire(Answers(plain_answer(), EVENT_STREAM, stream_answer))
WIRES = {name.encode(): Wire(answers) for name, answers in ANSWERS.items()}


class Pace:
    """What all connections share: the mode, the streams that are due, and the counters."""

    def __init__(self) -> None:
        self.mode = "flat"
        self.events_per_s = 0.0
        self.due: deque[Connection] = deque()
        self.open = 0
        self.requests = 0
        self.events = 0
        self.ticking_since = 0.0
        self.ticked = 0

    def set(self, mode: str, query: str) -> None:
        self.mode = mode
        self.events_per_s = float(query.partition("=")[2] or 0)

    def counters(self) -> bytes:
        return json.dumps({"open": self.open, "requests": self.requests, "events": self.events}).encode()

    def add(self, stream: Connection) -> None:
        self.due.append(stream)
        if len(self.due) == 1:
            loop = asyncio.get_running_loop()
            self.ticking_since, self.ticked = loop.time(), 0
            loop.call_later(TICK_S, self.tick)

    def tick(self) -> None:
        """Send what is due by now, each stream at most one event, in turn."""
        loop = asyncio.get_running_loop()
        owed = int((loop.time() - self.ticking_since) * self.events_per_s) - self.ticked
        turns = min(owed, len(self.due))
        self.ticked += owed  # a machine that cannot keep up sends later, never in bursts
        for _ in range(turns):
            stream = self.due.popleft()
            if stream.send_event():
                self.due.append(stream)
        if self.due:
            loop.call_later(TICK_S, self.tick)


class Connection(asyncio.Protocol):
    """One connection of the gateway under test; one request at a time."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body: list[bytes] = []
        self.next_event = -1
        """Index of the next event; -1 between streams."""
        self.chunks = ANTHROPIC.chunks
        """The stream that is under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.end_stream()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url
        self.body.clear()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        if self.url.startswith(b"/bench/"):
            self.control(self.url.decode().removeprefix("/bench/"))
            return
        pace = self.pace
        pace.requests += 1
        wire = WIRES.get(self.url.split(b"/", 2)[1], ANTHROPIC)
        if not self.wants_stream():
            self.transport.write(wire.plain)
            return
        self.chunks = wire.chunks
        pace.open += 1
        self.next_event = 0
        if pace.mode == "paced":
            pace.add(self)
        elif pace.mode == "flat":
            self.flat_out()
        else:
            for _ in range(IDLE_EVENTS):
                self.send_event()

    def wants_stream(self) -> bool:
        """Gemini and Converse say so in the path, the others in the body."""
        body = b"".join(self.body)
        said = b'"stream":true' in body or b'"stream": true' in body
        return said or b":stream" in self.url or self.url.endswith(b"-stream")

    def control(self, command: str) -> None:
        mode, _, query = command.partition("?")
        if mode != "counters":
            self.pace.set(mode, query)
        body = self.pace.counters()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    def flat_out(self) -> None:
        if self.send_event():
            self.loop.call_soon(self.flat_out)

    def send_event(self) -> bool:
        """Write one event; whether the stream has more."""
        if self.next_event < 0:
            return False
        self.transport.write(self.chunks[self.next_event])
        self.pace.events += 1
        self.next_event += 1
        if self.next_event == EVENTS:
            self.end_stream()
            return False
        return True

    def end_stream(self) -> None:
        if self.next_event >= 0:
            self.next_event = -1
            self.pace.open -= 1


async def main(port: int) -> None:
    pace = Pace()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(pace), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
