"""A thousand streams at once, whose clients go away when they please (seeded), leave nothing behind in any round."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import sys
from collections import Counter

import pytest

from tests import grammar
from tests.gateway.provider import (
    BLOCK,
    EVENT_STREAM,
    EVENTS,
    HELLO,
    START,
    Turn,
    Upstream,
)
from tests.gateway.support import (
    Client,
    Running,
    asked,
    providers,
    run,
    serving,
)
from tests.upstream.rawserver import until

STREAMS = 1000
ROUNDS = 4
FILES_NEEDED = 4 * STREAMS + 200
BLOCKS_PER_STREAM = 0.5
"""What a round may leave in memory, in allocated blocks a stream: noise, 0.05 as measured. A lost exchange is many."""


class Crowd:
    """An upstream's side of a round: every stream opens, waits for the word, and goes on to its end."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def play(self, turn: Turn) -> None:
        await turn.read()
        await turn.begin(EVENT_STREAM, (b"connection", b"close"))
        await turn.chunk(START, BLOCK)
        await self.open.wait()
        await turn.chunk(*[HELLO] * 5)
        await turn.chunk(*EVENTS[3:])
        await turn.end()


async def visit(gateway: Running, crowd: Crowd, fate: float) -> bool:
    """One client; whether it stayed to the end."""
    async with await Client.open(gateway) as client:
        await client.send(asked(stream=True))
        if fate < 0.1:
            return False
        reply = await client.head()
        if fate < 0.2:
            return False
        await reply.until(BLOCK)
        if fate < 0.4:
            return False
        await crowd.open.wait()
        if fate < 0.5:
            return False
        await reply.piece()
        if fate < 0.6:
            return False
        grammar.check((await reply.rest()).body)
        return True


async def one_round(gateway: Running, upstream: Upstream, rng: random.Random) -> int:
    """A thousand clients; how many stayed to the end."""
    crowd = Crowd()
    upstream.plays = [crowd.play] * STREAMS
    pool = gateway.app.gateway.upstreams["a"].pool
    fates = [rng.random() for _ in range(STREAMS)]
    leave_early = sum(fate < 0.4 for fate in fates)
    most = 0
    visits = [asyncio.create_task(visit(gateway, crowd, fate)) for fate in fates]

    def settled() -> bool:
        nonlocal most
        most = max(most, pool.busy)
        return sum(task.done() for task in visits) == leave_early and pool.busy == STREAMS - leave_early

    await until(settled)
    assert most >= STREAMS - leave_early
    crowd.open.set()
    stayed = sum(await asyncio.gather(*visits))
    await gateway.quiet()
    await until(lambda: not gateway.app.service._shared.connections and not gateway.app.service._shared.running)
    await until(lambda: upstream.connections == 0)
    upstream.plays = []
    upstream.seen.clear()
    return stayed


def ours() -> Counter[str]:
    """How many objects of the gateway's there are, by type."""
    return Counter(
        f"{type(thing).__module__}.{type(thing).__name__}"
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("asbru.")
    )


@pytest.fixture
def enough_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        pytest.skip(f"this needs {FILES_NEEDED} open files, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES_NEEDED), hard))


@pytest.mark.usefixtures("enough_files")
def test_a_thousand_streams_and_clients_that_leave_at_any_time_leave_nothing() -> None:
    async def main() -> None:
        rng = random.Random(20250)
        async with Upstream() as a:
            config = providers(a, max_connections=2 * STREAMS)
            async with serving(config) as gateway:
                stayed = 0
                left: list[tuple[int, int, Counter[str]]] = []
                for _ in range(ROUNDS):
                    stayed += await one_round(gateway, a, rng)
                    await gateway.records_written()
                    gc.collect()
                    left.append((len(asyncio.all_tasks()), sys.getallocatedblocks(), ours()))
            assert a.accepted > ROUNDS * STREAMS / 2
        statuses = Counter(record["status"] for record in gateway.records)
        assert statuses[200] + statuses[499] == len(gateway.records)
        assert statuses[200] >= stayed
        (tasks, _, objects), (_, blocks, _) = left[0], left[-2]
        last_tasks, last_blocks, last_objects = left[-1]
        assert last_tasks == tasks
        assert last_objects == objects
        assert last_blocks - blocks < BLOCKS_PER_STREAM * STREAMS

    run(main())
