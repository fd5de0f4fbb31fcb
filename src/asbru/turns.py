"""Large transfers take turns, so that a small exchange never waits for more than a few pieces of them.

Whoever moves a large body moves one piece (`PIECE_BYTES`, at most one read of a socket) and then asks for its next
turn. The event loop grants `PER_TURN` of them between two looks at its sockets, in the order in which they were asked
for: what one turn of the loop copies is bounded, however many bodies are on their way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

PIECE_BYTES = 262_144
"""Also what uvloop reads at a time."""
PER_TURN = 2


class Turns:
    """The queue of one event loop."""

    __slots__ = ("_loop", "_running", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False

    def later(self, move: Callable[[], object]) -> None:
        """Call ``move`` in a later turn of the loop, after everybody who asked before."""
        self._waiting.append(move)
        if not self._running:
            self._running = True
            self._loop.call_soon(self._turn)

    async def wait(self) -> None:
        """Return in a later turn of the loop, as `later` would call."""
        granted: asyncio.Future[None] = self._loop.create_future()
        self.later(partial(_grant, granted))
        await granted

    def _turn(self) -> None:
        waiting = self._waiting
        self._running = len(waiting) > PER_TURN
        if self._running:
            self._loop.call_soon(self._turn)
        for _ in range(min(PER_TURN, len(waiting))):
            waiting.popleft()()


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)


class Reading:
    """Whether a transport is read: not while there is no room for more, nor while a large body waits for its turn."""

    __slots__ = ("_transport", "_turns", "_yielding", "paused")

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        self._transport = transport
        self._turns = turns
        self._yielding = False
        self.paused = False
        """Whether there is no room."""

    def pause(self) -> None:
        """There is no room for more."""
        if not self.paused:
            self.paused = True
            if not self._yielding:
                self._transport.pause_reading()

    def resume(self) -> None:
        """There is room again."""
        if self.paused:
            self.paused = False
            if not self._yielding:
                self._read_on()

    def let_others(self) -> None:
        """A piece of a large body has been read: the next one is in its turn."""
        if not self._yielding and not self._transport.is_closing():
            self._yielding = True
            if not self.paused:
                self._transport.pause_reading()
            self._turns.later(self._granted)

    def _granted(self) -> None:
        self._yielding = False
        if not self.paused:
            self._read_on()

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


class Upload:
    """A large body on its way into a transport: the first piece at once, the others in turns, as there is room."""

    __slots__ = ("_moved", "_transport", "_turns", "full", "rest")

    def __init__(self, transport: asyncio.Transport, turns: Turns, body: bytes, moved: Callable[[], None]) -> None:
        self._transport = transport
        self._turns = turns
        self.rest: memoryview | None = memoryview(body)
        """What has not been written."""
        self._moved = moved
        """Called for every piece that has been written."""
        self.full = False
        """Whether the transport has no room."""

    def go_on(self) -> None:
        """Write the next piece."""
        rest = self.rest
        if self.full or rest is None:
            return
        self.rest = rest[PIECE_BYTES:] if len(rest) > PIECE_BYTES else None
        self._transport.write(rest[:PIECE_BYTES])
        self._moved()
        if self.rest is not None and not self.full:
            self._turns.later(self.go_on)

    def resume(self) -> None:
        """There is room again."""
        self.full = False
        self._turns.later(self.go_on)

    def stop(self) -> None:
        """The rest is of no use to anybody."""
        self.rest = None


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """The queue of this loop; everything that moves large bodies on it shares the one."""
    turns = _of_loop.get(loop)
    if turns is None:
        turns = _of_loop[loop] = Turns(loop)
    return turns
