"""Whatever an upstream says on a real socket: never a crash, a hang, or a connection that is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import Line, RawServer, Runner, post, run_on_each_loop, until
from tests.upstream.test_http1_splits import mutations, responses


@run_on_each_loop
@given(
    said=st.lists(st.one_of(st.binary(max_size=60), mutations(), responses().map(lambda case: case.raw)), max_size=3),
    goes=st.sampled_from([Line.close, Line.end, Line.reset]),
)
@settings(deadline=None, max_examples=60)
def test_whatever_it_says(run: Runner, said: list[bytes], goes: Callable[[Line], None]) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(*said)
        goes(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(max_header_bytes=300, read_buffer_bytes=50)
            for _ in range(2):
                try:
                    response = await pool.request(post(b"{}"), b"{}")
                except UpstreamError as error:
                    assert error.kind in ("reset", "protocol")
                    continue
                response.inflate()
                try:
                    while await response.read():
                        pass
                except UpstreamError as error:
                    assert error.responded
            await until(lambda: repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>")
            await pool.close()
            await server.scripts_done()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
