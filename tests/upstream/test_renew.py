"""Credentials that run out: fetched once by whoever is first, then ahead of time and out of the requests' way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from asbru.upstream.renew import FIRST_PAUSE_S, MAX_PAUSE_S, MIN_REFRESH_S, CredentialError, Fetched, Renewed
from tests.upstream.rig import ManualClock

Answer = Fetched[str] | Exception


class Source:
    """Hands out answers when the test says so."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[asyncio.Future[Fetched[str]]] = []
        self.renewed = Renewed("provider, key-1", self.fetch, clock.time)

    async def fetch(self) -> Fetched[str]:
        self.asked.append(self.clock.create_future())
        return await self.asked[-1]

    def answer(self, value: Answer) -> None:
        if isinstance(value, Exception):
            self.asked[-1].set_exception(value)
        else:
            self.asked[-1].set_result(value)
        self.turn()

    def turn(self) -> None:
        for _ in range(5):
            self.clock.run_until_complete(asyncio.sleep(0))

    def pass_time(self, seconds: float) -> None:
        """In steps as short as the keeper's own."""
        while seconds > 0:
            self.clock.advance(min(seconds, MAX_PAUSE_S))
            self.turn()
            seconds -= MAX_PAUSE_S

    def waiting(self) -> asyncio.Task[str]:
        task = self.clock.create_task(_ready(self.renewed.ready))
        self.turn()
        return task

    def get(self) -> str:
        """What `ready` gives without waiting."""
        task = self.waiting()
        assert task.done(), "ready() waits"
        return task.result()


async def _ready(ready: Callable[[], Awaitable[str]]) -> str:
    return await ready()


@pytest.fixture
def source() -> Iterator[Source]:
    clock = ManualClock()
    source = Source(clock)
    yield source
    clock.run_until_complete(source.renewed.close())
    assert not asyncio.all_tasks(clock)
    clock.close()


def test_the_first_to_ask_fetches_and_all_wait_for_it(source: Source) -> None:
    assert source.asked == []
    waiting = [source.waiting() for _ in range(3)]
    assert not any(task.done() for task in waiting)
    assert len(source.asked) == 1
    source.answer(Fetched("one", 100.0, 700.0))
    assert [task.result() for task in waiting] == ["one"] * 3
    assert source.get() == "one"


def test_it_is_fetched_again_ahead_of_time_and_nobody_waits(source: Source) -> None:
    source.waiting()
    source.answer(Fetched("one", 100.0, 700.0))
    source.pass_time(99)
    assert len(source.asked) == 1
    source.pass_time(1)
    assert len(source.asked) == 2
    assert source.get() == "one"
    source.answer(Fetched("two", 100.0, 700.0))
    assert source.get() == "two"


def test_while_fetching_fails_the_old_one_serves_until_it_has_run_out(source: Source) -> None:
    source.waiting()
    source.answer(Fetched("one", 100.0, 130.0))
    source.pass_time(100)
    source.answer(CredentialError("the issuer is away"))
    source.pass_time(29)
    assert source.get() == "one"
    source.pass_time(1)
    for future in source.asked:
        if not future.done():
            future.set_exception(CredentialError("the issuer is still away"))
    source.turn()
    with pytest.raises(CredentialError, match="away"):
        source.get()


def test_what_is_wrong_is_said_at_once_and_tried_again_ever_later(source: Source) -> None:
    first = source.waiting()
    source.answer(CredentialError("wrong secret"))
    with pytest.raises(CredentialError, match="wrong secret"):
        first.result()
    pause_s = FIRST_PAUSE_S
    for tries in range(1, 10):
        assert len(source.asked) == tries
        with pytest.raises(CredentialError, match="wrong secret"):
            source.get()
        source.clock.advance(pause_s - 0.25)
        source.turn()
        assert len(source.asked) == tries
        source.clock.advance(0.25)
        source.turn()
        assert len(source.asked) == tries + 1
        waiting = source.waiting()
        assert not waiting.done()  # a try is under way: its outcome is worth waiting for
        source.answer(CredentialError("wrong secret"))
        with pytest.raises(CredentialError, match="wrong secret"):
            waiting.result()
        pause_s = min(pause_s * 2, MAX_PAUSE_S)
    source.pass_time(MAX_PAUSE_S)
    source.answer(Fetched("one", None))
    assert source.get() == "one"


def test_a_defect_is_no_end(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    waiting = source.waiting()
    source.answer(ZeroDivisionError("sk-secret"))
    with pytest.raises(CredentialError, match=r"^ZeroDivisionError$"):
        waiting.result()
    source.pass_time(FIRST_PAUSE_S)
    source.answer(Fetched("one", None))
    assert source.get() == "one"


def test_what_never_runs_out_is_fetched_once(source: Source) -> None:
    source.waiting()
    source.answer(Fetched("one", None))
    source.pass_time(100_000)
    assert (source.get(), len(source.asked)) == ("one", 1)


def test_it_is_not_fetched_all_the_time(source: Source) -> None:
    """Whatever an issuer says of how long its tokens last."""
    source.waiting()
    source.answer(Fetched("one", -5.0, 1000.0))
    source.pass_time(MIN_REFRESH_S - 1)
    assert len(source.asked) == 1
    source.pass_time(1)
    assert len(source.asked) == 2


def test_a_wait_can_be_given_up(source: Source) -> None:
    waiting = source.waiting()
    waiting.cancel()
    source.turn()
    assert waiting.cancelled()
    source.answer(Fetched("one", None))
    assert source.get() == "one"


def test_each_who_is_told_what_is_wrong_is_told_afresh(source: Source) -> None:
    """One exception raised again and again would gather a traceback of everybody's frames."""
    first, second = source.waiting(), source.waiting()
    wrong = CredentialError("wrong secret")
    source.answer(wrong)
    raised = {first.exception(), second.exception(), source.waiting().exception()}
    assert len(raised | {wrong}) == 4
    assert {str(error) for error in raised} == {"wrong secret"}


def test_closing_lets_go_of_those_who_wait(source: Source) -> None:
    waiting = source.waiting()
    source.clock.run_until_complete(source.renewed.close())
    source.turn()
    with pytest.raises(CredentialError, match="closed"):
        waiting.result()
