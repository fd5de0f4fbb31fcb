"""Cancel a request after every number of turns of the loop, and see that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asbru.upstream.http1 import Limits, Pool
from tests.upstream.rawserver import GET, RawServer

LIMIT = 2**20


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one call, and no Path per entry


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count open files")


async def cancelled_at_every_turn(
    server: RawServer, scenario: Callable[[Pool], Awaitable[None]], context: ssl.SSLContext | None = None
) -> int:
    """Run the scenario, cancelled after 0, 1, 2, … turns of the loop until it gets to its end; gives the turns."""
    turns = 0
    while True:
        pool = Pool(server.origin, Limits(max_connections=2), ssl_context=context)
        task = asyncio.ensure_future(scenario(pool))
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        await asyncio.wait([task])
        if ended:
            await task
        assert repr(pool) == f"<Pool {server.origin} idle={pool.idle} busy=0 waiting=0>", f"after {turns} turns"
        if not ended:
            # What the cancelled request left must serve the next one.
            response = await pool.request(GET)
            assert await response.read_all(LIMIT) == b"hello"
        await pool.close()
        if ended:
            return turns
        turns += 1
