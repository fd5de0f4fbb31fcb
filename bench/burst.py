"""Memory after a burst: what a gateway keeps of 200 bodies of 5 MB each when they have been answered.

The bodies come all at once, and then one after another. Resident memory is read before, while they are answered, and
until it is back within `AIM_MB` of what it was, at most `SETTLE_S` later.
"""

from __future__ import annotations

import asyncio
import json
import time

from bench.clients import Streams, read_head
from bench.processes import Server
from bench.report import Burst

BODIES = 200
BODY_BYTES = 5_000_000
AIM_MB = 60.0
SETTLE_S = 10.0
EVERY_S = 0.05
WARM_UP = 200


async def measure_burst(name: str, server: Server, small: bytes, large: bytes) -> list[Burst]:
    """The burst at once and in sequence; ``small`` comes before, so that what any load takes does not count."""
    bursts = []
    for how, clients in (("at once", BODIES), ("in sequence", 1)):
        await send(server.port, small, 1, WARM_UP)
        before_mb = server.rss_kb() / 1024
        peak_mb = before_mb
        began = time.monotonic()
        sending = asyncio.ensure_future(send(server.port, large, clients, BODIES // clients))
        while not sending.done():
            await asyncio.wait([sending], timeout=EVERY_S)
            peak_mb = max(peak_mb, server.rss_kb() / 1024)
        failed = sending.result()
        ended = time.monotonic()
        after_mb = server.rss_kb() / 1024
        while after_mb > before_mb + AIM_MB and time.monotonic() < ended + SETTLE_S:
            await asyncio.sleep(EVERY_S)
            after_mb = server.rss_kb() / 1024
        bursts.append(
            Burst(
                gateway=name,
                how=how,
                seconds=ended - began,
                before_mb=before_mb,
                peak_mb=peak_mb,
                after_mb=after_mb,
                settled_s=time.monotonic() - ended,
                failures=failed,
            )
        )
    return bursts


def large_body(base: bytes) -> bytes:
    """A request's body with one more message, a text that fills it up."""
    body = json.loads(base)
    body["messages"].append({"role": "user", "content": "x" * (BODY_BYTES - len(base))})
    return json.dumps(body).encode()


async def send(port: int, request: bytes, clients: int, each: int) -> int:
    """Every client sends the request ``each`` times on a connection of its own; how many were not answered well."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    try:
        failed = await asyncio.gather(*(exchange(connection, request, each) for connection in connections))
    finally:
        for _, writer in connections:
            writer.close()
    return sum(failed)


async def exchange(connection: Streams, request: bytes, times: int) -> int:
    reader, writer = connection
    failed = 0
    for _ in range(times):
        writer.write(request)
        status, length = await read_head(reader)
        await reader.readexactly(length or 0)
        failed += status != 200
    return failed
