"""New connections: refusals, time, TLS with our own authority, and CONNECT through a real proxy."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asbru.upstream import dial
from asbru.upstream.http1 import Limits, Origin, Pool, Proxy, UpstreamError, proxy_for, tls_context
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until
from tests.upstream.test_http1_faults import cancelled_at_every_turn, needs_proc, open_files

LIMIT = 2**22


class Certificates(NamedTuple):
    """PEM files: an authority, and a server's and a client's certificate that it signed; another authority."""

    ca: str
    server: str
    server_key: str
    client: str
    client_key: str
    stranger: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str, *arguments: str) -> tuple[str, str]:
        pem, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", pem, *arguments),
            ],
            check=True,
            capture_output=True,
        )
        return pem, key

    ca, ca_key = make("ca", "-addext", "keyUsage=keyCertSign")
    signed = ["-CA", ca, "-CAkey", ca_key, "-addext", "basicConstraints=critical,CA:FALSE"]
    server, server_key = make("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1,DNS:upstream.test")
    client, client_key = make("client", *signed)
    return Certificates(ca, server, server_key, client, client_key, make("stranger")[0])


def server_context(certificates: Certificates, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    if asks:
        context.load_verify_locations(certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that a missing certificate fails the handshake itself
    return context


async def ask(pool: Pool) -> bytes:
    response = await pool.request(post(b"{}"), b"{}")
    assert response.status == 200
    return await response.read_all(LIMIT)


async def refused(pool: Pool, deadline: float | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await pool.request(post(b"{}"), b"{}", deadline=deadline)
    assert not caught.value.responded
    assert repr(pool) == f"<Pool {pool.origin} idle=0 busy=0 waiting=0>"
    return caught.value


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# ---- TCP


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


# ---- TLS


@run_on_each_loop
def test_tls_with_our_own_authority(run: Runner, certificates: Certificates) -> None:
    body = bytes(range(256)) * 4000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def main() -> None:
        async with RawServer(answering(answer), context=server_context(certificates)) as server:
            pool = Pool(
                server.origin, Limits(read_buffer_bytes=20_000), ssl_context=tls_context(certificates.ca), proxy=None
            )
            for _ in range(2):
                assert await ask(pool) == body
            assert server.accepted == 1
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", "stranger"), ("127.0.0.1", None), ("localhost", "ca")])
def test_a_certificate_that_is_not_trusted_or_not_the_hosts(
    run: Runner, certificates: Certificates, host: str, trusted: str | None
) -> None:
    async def main() -> None:
        async with RawServer(answering(OK), context=server_context(certificates)) as server:
            context = tls_context(getattr(certificates, trusted) if trusted else None)
            pool = Pool(Origin("https", host, server.port), Limits(), ssl_context=context)
            error = await refused(pool)
            assert error.kind == "tls"
            assert "certificate refused" in error.message
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_an_upstream_that_does_not_speak_tls(run: Runner, certificates: Certificates, said: bytes) -> None:
    async def upstream(line: Line) -> None:
        await line.reader.read(1)
        await line.say(said)
        line.close()

    async def main() -> None:
        async with RawServer(upstream) as server:
            origin = Origin("https", "127.0.0.1", server.port)
            pool = Pool(origin, Limits(), ssl_context=tls_context(certificates.ca))
            assert (await refused(pool)).kind == "tls"
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("shown", [True, False])
def test_a_client_certificate(run: Runner, certificates: Certificates, shown: bool) -> None:
    async def main() -> None:
        async with RawServer(answering(OK), context=server_context(certificates, asks=True)) as server:
            files = (certificates.client, certificates.client_key) if shown else (None, None)
            pool = Pool(server.origin, Limits(), ssl_context=tls_context(certificates.ca, *files))
            if shown:
                assert await ask(pool) == b"hello"
            else:
                assert (await refused(pool)).kind == "tls"
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("framing", [b"", b"content-length: 6\r\n"])
@pytest.mark.parametrize("politely", [True, False])
def test_the_end_of_a_tls_connection(run: Runner, certificates: Certificates, framing: bytes, politely: bool) -> None:
    """A body that runs to the end is whole when TLS says so; one that has a length never is."""

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nhello")
        if politely:
            line.close()
        else:
            line.reset()

    async def main() -> None:
        async with RawServer(upstream, context=server_context(certificates)) as server:
            pool = Pool(server.origin, Limits(), ssl_context=tls_context(certificates.ca))
            if politely and not framing:
                assert await ask(pool) == b"hello"
            else:
                with pytest.raises(UpstreamError) as caught:
                    await ask(pool)
                assert caught.value.kind == "reset"
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_early_answer_over_tls(run: Runner, certificates: Certificates) -> None:
    body = b"x" * 5_000_000

    async def upstream(line: Line) -> None:
        await line.request_head()
        await line.say(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 7\r\n\r\ntoo big")
        line.close()

    async def main() -> None:
        async with RawServer(upstream, context=server_context(certificates)) as server:
            pool = Pool(server.origin, Limits(), ssl_context=tls_context(certificates.ca))
            response = await pool.request(post(body), body)
            assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
            assert pool.busy == pool.idle == 0
            await pool.close()

    run(main())


@run_on_each_loop
@needs_proc
def test_tls_cancelled_at_every_turn(run: Runner, certificates: Certificates) -> None:
    context = tls_context(certificates.ca)

    async def scenario(pool: Pool) -> None:
        assert await ask(pool) == b"hello"

    async def main() -> None:
        async with RawServer(answering(OK), context=server_context(certificates)) as server:
            await cancelled_at_every_turn(server, scenario, context)
            await server.scripts_done()
            before = open_files()
            assert await cancelled_at_every_turn(server, scenario, context) > 3
            await server.scripts_done()
            await until(lambda: open_files() <= before)

    run(main())


def test_tls_files_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    locked = tmp_path / "locked.key"  # must not ask for its passphrase on the terminal
    command = [
        "openssl",
        "ec",
        "-in",
        certificates.client_key,
        "-aes256",
        "-passout",
        "pass:s3cret",
        "-out",
        str(locked),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for arguments in [
        (str(nonsense), None, None),
        ("/no/such/file.pem", None, None),
        (None, str(nonsense), None),
        (None, certificates.client, str(nonsense)),
        (None, certificates.client, certificates.server_key),
        (None, None, certificates.client_key),
        (None, certificates.client, str(locked)),
    ]:
        with pytest.raises(ValueError, match=r"\.pem|\.key"):
            tls_context(*arguments)


# ---- through a proxy


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
@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy(run: Runner, certificates: Certificates, secure: bool) -> None:
    proxy = ConnectProxy()
    context = server_context(certificates) if secure else None

    async def main() -> None:
        async with RawServer(proxy) as relay, RawServer(answering(OK), context=context) as server:
            pool = Pool(
                server.origin,
                Limits(),
                ssl_context=tls_context(certificates.ca) if secure else None,
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
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "before the tunnel"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000 + b"\r\n\r\n", "too long"),
    ],
)
def test_a_proxy_that_does_not_connect(run: Runner, answer: bytes, says: str) -> None:
    async def main() -> None:
        async with RawServer(ConnectProxy(answer)) as relay:
            proxy = Proxy("127.0.0.1", relay.port, b"Basic c2VjcmV0")
            pool = Pool(Origin("http", "upstream.test", 80), Limits(), proxy=proxy)
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
            pool = Pool(Origin("http", "upstream.test", 80), Limits(connect_s=0.05), proxy=proxy)
            assert (await refused(pool)).kind == "connect_timeout"
            await relay.scripts_done()
            await pool.close()

    run(main())
