"""Heartbeat: pings in silence and only then, one at a time, none after the end. On a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asbru.heartbeat import Heartbeat

INTERVAL_S = 10.0


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now

    async def pass_s(self, seconds: int) -> None:
        """Move on, second by second, and let everything run that has become due."""
        for _ in range(seconds):
            self.now += 1
            for _ in range(3):
                await asyncio.sleep(0)


class Pings:
    """A heartbeat under test, and when it pinged."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.at_s: list[float] = []
        self.room = asyncio.Event()
        self.room.set()
        self.heartbeat = Heartbeat(clock, INTERVAL_S, self._ping)

    async def _ping(self) -> None:
        self.at_s.append(self.clock.now)
        await self.room.wait()


def run(test: Callable[[Pings], Awaitable[None]]) -> None:
    async def main() -> None:
        pings = Pings(clock)
        await test(pings)
        pings.heartbeat.stop()

    clock = Clock()
    try:
        clock.run_until_complete(main())
        assert not asyncio.all_tasks(clock)
    finally:
        clock.close()


def test_silence_is_filled_at_every_interval() -> None:
    async def test(pings: Pings) -> None:
        await pings.clock.pass_s(35)
        assert pings.at_s == [10, 20, 30]

    run(test)


def test_what_goes_by_puts_the_next_ping_off() -> None:
    async def test(pings: Pings) -> None:
        for _ in range(20):
            await pings.clock.pass_s(7)
            pings.heartbeat.beat()
        assert pings.at_s == []
        await pings.clock.pass_s(9)
        assert pings.at_s == []
        await pings.clock.pass_s(1)
        assert pings.at_s == [150]

    run(test)


def test_a_ping_that_waits_for_the_client_is_alone() -> None:
    async def test(pings: Pings) -> None:
        pings.room.clear()
        await pings.clock.pass_s(55)
        assert pings.at_s == [10]
        pings.room.set()
        await pings.clock.pass_s(10)
        assert pings.at_s == [10, 60]

    run(test)


def test_after_the_end_there_is_no_ping() -> None:
    async def test(pings: Pings) -> None:
        pings.room.clear()
        await pings.clock.pass_s(15)
        pings.heartbeat.stop()
        pings.room.set()
        await pings.clock.pass_s(100)
        pings.heartbeat.stop()
        assert pings.at_s == [10]

    run(test)


def test_a_ping_that_was_due_when_the_end_came_is_dropped() -> None:
    async def test(pings: Pings) -> None:
        await pings.clock.pass_s(9)
        pings.clock.now += 1
        for _ in range(2):  # then the timer has fired and made its task, whose turn comes after this one
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 2
        pings.heartbeat.stop()
        await pings.clock.pass_s(5)
        assert pings.at_s == []

    run(test)
