"""A body that comes all at once is handled in pieces, each in a turn of its own; heads are cut in linear time."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from asbru.upstream import head
from asbru.upstream.head import Heads
from asbru.upstream.response import PIECE_BYTES
from tests.upstream.rawserver import RawServer, Runner, answering, post, run_on_each_loop
from tests.work import Bytes, Work, counted, cut, work

__all__ = ["work"]

BODY = b"data: x\n\n" * 40_000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n"
FORMS = {
    "with its length": HEAD % len(BODY) + b"\r\n" + BODY,
    "in chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"2d\r\n%b\r\n" % (b"data: x\n\n" * 5) * 8_000
    + b"0\r\n\r\n",
    "compressed": HEAD % len(gzip.compress(BODY)) + b"content-encoding: gzip\r\n\r\n" + gzip.compress(BODY),
}


class Turns:
    """Counts the turns of the loop while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self._over = False

    def __enter__(self) -> Turns:
        self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _tick(self) -> None:
        self.count += 1
        if not self._over:
            asyncio.get_running_loop().call_soon(self._tick)


@pytest.mark.parametrize("form", FORMS)
@run_on_each_loop
def test_a_turn_of_the_loop_handles_little_of_a_stream(run: Runner, form: str) -> None:
    async def main() -> None:
        async with RawServer(answering(FORMS[form])) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.inflate()
            taken: dict[int, int] = {}
            got: list[bytes] = []

            def sink(data: bytes) -> bool:
                assert len(data) <= PIECE_BYTES
                taken[turns.count] = taken.get(turns.count, 0) + len(data)
                got.append(data)
                return len(got) % 7 != 0

            with Turns() as turns:
                while not await response.pour(sink):
                    pass
            assert b"".join(got) == BODY
            assert max(taken.values()) <= 2 * PIECE_BYTES  # a task's step and a read of the socket may share a turn
            await pool.close()

    run(main())


@run_on_each_loop
def test_what_was_not_poured_is_read(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(FORMS["in chunks"])) as server:
            pool = server.pool()
            response = await pool.request(post())
            got = [await response.piece(), await response.piece()]
            got.append(await response.read_all(len(BODY)))
            assert b"".join(got) == BODY
            await pool.close()

    run(main())


HEADS = {
    "interim heads": b"HTTP/1.1 100 \r\n\r\n" * 1500 + b"HTTP/1.1 200 OK\r\n\r\n",
    "one long head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 4000 + b"\r\n",
    "one long field": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 25_000 + b"\r\n\r\n",
    "empty lines": b"\r\n" * 12_000 + b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 5, 1000, 100_000])
@pytest.mark.parametrize("shape", HEADS)
def test_cutting_heads(shape: str, size: int, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, head)
    heads = Heads()
    fed = b"".join(piece for part in cut(HEADS[shape], size) for piece in heads.pieces(Bytes(part)))
    assert fed == HEADS[shape].lstrip(b"\r\n")
    assert heads.take() == b"HTTP" + HEADS[shape].rpartition(b"HTTP")[2]
    assert work.done < 12 * len(HEADS[shape])
