"""New connections: refusals, time, and hosts with several addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from asbru.upstream import dial
from asbru.upstream.http1 import Limits, Origin, Pool, tls_context
from tests.upstream.dialling import Certificates, ask, closed_port, refused
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, run_on_each_loop


@run_on_each_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "name.invalid", "no..name", "x" * 300])
def test_no_connection_can_be_made(run: Runner, host: str) -> None:
    async def main() -> None:
        pool = Pool(Origin("http", host, closed_port()), Limits())
        assert (await refused(pool)).kind == "connect"
        await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("kind", ["connect_timeout", "deadline"])
def test_a_connection_that_does_not_come_about(run: Runner, kind: str, certificates: Certificates) -> None:
    """The upstream accepts, and then never shakes hands."""

    async def main() -> None:
        async with RawServer(Line.gone) as server:
            origin = Origin("https", "127.0.0.1", server.port)
            limits = Limits(connect_s=0.05 if kind == "connect_timeout" else 5.0)
            pool = Pool(origin, limits, ssl_context=tls_context(certificates.ca))
            deadline = asyncio.get_running_loop().time() + 0.05 if kind == "deadline" else None
            assert (await refused(pool, deadline)).kind == kind
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_packets_are_not_held_back(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            await ask(pool)
            (connection,) = pool._connections
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            await pool.close()

    run(main())


def address(host: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> dial.AddressInfo:
    return (family, socket.SOCK_STREAM, 0, "", (host, port))


def test_address_families_take_turns() -> None:
    six = [address(f"::{n}", 1, socket.AF_INET6) for n in range(3)]
    four = [address(f"127.0.0.{n}", 1) for n in range(1)]
    assert dial._interleaved(six + four) == [six[0], four[0], six[1], six[2]]
    assert dial._interleaved(four) == four
    assert dial._interleaved([]) == []


class NamingLoop(asyncio.SelectorEventLoop):
    """A loop for which every name has these addresses."""

    def __init__(self, *addresses: dial.AddressInfo) -> None:
        super().__init__()
        self.addresses = list(addresses)

    async def getaddrinfo(self, *_: object, **__: object) -> list[Any]:
        return self.addresses


def test_an_address_that_refuses_or_is_silent_is_passed_over() -> None:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = silent.getsockname()[1]
        for _ in range(3):  # fills its queue: further connections get no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        good = listener.getsockname()[1]
        loop = NamingLoop(address("127.0.0.1", closed_port()), address("127.0.0.1", port), address("127.0.0.1", good))
        stack.callback(loop.close)
        sock = stack.enter_context(loop.run_until_complete(dial._connect("upstream.test", 1)))
        assert sock.getpeername() == ("127.0.0.1", good)
        # What was tried beside it has been closed: no task is left.
        loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_last_refusal_is_told_when_all_refuse(count: int) -> None:
    loop = NamingLoop(*[address("127.0.0.1", closed_port()) for _ in range(count)])
    with contextlib.closing(loop), pytest.raises(OSError, match="Connect call failed" if count else "no address"):
        loop.run_until_complete(dial._connect("upstream.test", 1))


def test_an_attempt_that_comes_too_late_is_closed() -> None:
    """Two attempts succeed in one turn: one is used, the other's socket is not forgotten."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        loop = NamingLoop(address("127.0.0.1", port))

        async def main() -> None:
            late = asyncio.ensure_future(dial._connect_one(address("127.0.0.1", port)))
            await asyncio.wait([late])
            dial._discard(late)
            assert late.result().fileno() == -1

        with contextlib.closing(loop):
            loop.run_until_complete(main())
