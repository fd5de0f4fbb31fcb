"""A connection without a socket, and a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from typing import Any

from asbru.upstream.connection import CLOSED, IDLE, Connection
from asbru.upstream.http1 import Limits, Response


class Wire(asyncio.Transport):
    """Stands for the socket: keeps what is written, and what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent_bytes = 0
        self.paused = False
        self.pauses = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def abort(self) -> None:
        assert not self.aborted
        self.aborted = True


class Books:
    """Stands for the pool: notes what a connection says, and that it never says it twice."""

    def __init__(self) -> None:
        self.releases = 0
        self.is_dropped = False
        self.place_is_free = False

    def released(self, connection: Connection) -> None:
        assert not self.is_dropped
        assert connection.phase == IDLE
        self.releases += 1

    def dropped(self, connection: Connection, place_is_free: bool) -> None:
        assert not self.is_dropped
        assert connection.phase == CLOSED
        self.is_dropped = True
        self.place_is_free = place_is_free


class Rig:
    """A connection between a `Wire` and `Books`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **limits: float) -> None:
        self.loop = loop
        self.wire = Wire()
        self.books = Books()
        self.connection = Connection(self.books, Limits(**limits), loop)  # type: ignore[arg-type]  # msgspec takes an int
        self.connection.connection_made(self.wire)

    def send(self, head_only: bool = False, deadline: float | None = None) -> asyncio.Future[Response]:
        return self.connection.send(b"POST / HTTP/1.1\r\n\r\n", b"", deadline, head_only)

    def read(self, response: Response) -> bytes:
        """What `Response.read` gives without waiting; there must be something, or an end."""
        reading = response.read()
        try:
            reading.send(None)
        except StopIteration as stop:
            data: bytes = stop.value
            return data
        raise AssertionError("read() waits although there is something")


class ManualClock(asyncio.SelectorEventLoop):
    """A loop in which time passes only in `advance`, and which counts the timers it was asked for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers = 0
        super().__init__()

    def time(self) -> float:
        return self.now_s

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # it only counts
        self.timers += 1
        return super().call_at(*args, **kwargs)

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.now_s += seconds
        self.run_until_complete(asyncio.sleep(0))
