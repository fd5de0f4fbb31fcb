"""CONNECT through a real, small proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from asbru.upstream.http1 import Limits, Origin, Pool, Proxy, proxy_for, tls_context
from tests.upstream.dialling import Certificates, ask, closed_port, refused, server_context
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, run_on_each_loop


class ConnectProxy:
    """A small CONNECT proxy; ``answer`` replaces what it says, and then it says no more."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def __call__(self, line: Line) -> None:
        head = await line.request_head()
        self.asked.append(head)
        if self.answer is not None:
            await line.say(self.answer)
            return
        method, authority, _ = head.split(b" ", 2)
        assert method == b"CONNECT"
        host, _, port = authority.decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await line.say(b"HTTP/1.1 200 ", b"Connection established\r\nvia: test\r\n", b"\r\n")
        both = [pump(line.reader, writer), pump(reader, line.writer)]
        try:
            await asyncio.gather(*both)
        finally:
            writer.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


Upstream = Callable[[Line], Awaitable[None]]


@run_on_each_loop
def test_through_a_proxy(run: Runner, certificates: Certificates) -> None:
    proxy = ConnectProxy()
    context = server_context(certificates)

    async def main() -> None:
        async with RawServer(proxy) as relay, RawServer(answering(OK), context=context) as server:
            pool = Pool(
                server.origin,
                Limits(),
                ssl_context=tls_context(certificates.ca),
                proxy=proxy_for(server.origin, f"http://bridge:r%40inbow@127.0.0.1:{relay.port}", {}),
            )
            for _ in range(2):
                assert await ask(pool) == b"hello"
            target = b"127.0.0.1:%d" % server.port
            assert proxy.asked == [
                b"CONNECT " + target + b" HTTP/1.1\r\nhost: " + target + b"\r\n"
                b"proxy-authorization: Basic YnJpZGdlOnJAaW5ib3c=\r\n\r\n"
            ]
            await pool.close()
            await relay.scripts_done()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\nhello", "502"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 20", "closed the connection"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not HTTP"),
        (b"RTSP/1.0 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "before the tunnel"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000 + b"\r\n\r\n", "too long"),
    ],
)
def test_a_proxy_that_does_not_connect(run: Runner, answer: bytes, says: str) -> None:
    async def main() -> None:
        async with RawServer(ConnectProxy(answer)) as relay:
            proxy = Proxy("127.0.0.1", relay.port, b"Basic c2VjcmV0")
            pool = Pool(Origin("https", "upstream.test", 443), Limits(), ssl_context=tls_context(), proxy=proxy)
            error = await refused(pool)
            assert error.kind == "connect"
            assert says in error.message
            assert "c2VjcmV0" not in f"{error!r} {error} {proxy!r} {proxy}"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_proxy_that_is_not_there(run: Runner) -> None:
    async def main() -> None:
        pool = Pool(Origin("http", "upstream.test", 80), Limits(), proxy=Proxy("127.0.0.1", closed_port()))
        error = await refused(pool)
        assert (error.kind, "proxy" in error.message) == ("connect", True)
        await pool.close()

    run(main())


@run_on_each_loop
def test_a_proxy_that_does_not_answer(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(Line.gone) as relay:
            proxy = Proxy("127.0.0.1", relay.port)
            limits, context = Limits(connect_s=0.05), tls_context()
            pool = Pool(Origin("https", "upstream.test", 443), limits, ssl_context=context, proxy=proxy)
            assert (await refused(pool)).kind == "connect_timeout"
            await relay.scripts_done()
            await pool.close()

    run(main())
