"""Fills silence on an event stream with `ping` events, so that neither client nor proxy takes it for dead.

One timer per stream, re-armed lazily: a chunk that goes by only notes the time. A ping goes out only between whole
events (what the relay writes always ends at one), as a task that this object owns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class Heartbeat:
    """Calls ``ping`` whenever ``interval_s`` passed without a `beat`, until stopped."""

    __slots__ = ("_interval_s", "_last", "_loop", "_ping", "_task", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interval_s: float, ping: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._ping = ping
        self._last = loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = loop.call_later(interval_s, self._fire)

    def beat(self) -> None:
        """Something was just written to the client."""
        self._last = self._loop.time()

    def _fire(self) -> None:
        now = self._loop.time()
        due = self._last + self._interval_s
        if now >= due:
            if self._task is None or self._task.done():  # else the client takes nothing: no use in more
                self._task = self._loop.create_task(self._ping())
            self._last = now
            due = now + self._interval_s
        self._timer = self._loop.call_at(due, self._fire)

    def stop(self) -> None:
        """No ping after this. One that waits for the client to read is dropped; its bytes are already on their way."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
