"""TLS with our own authority, client certificates, and handshakes that fail."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from asbru.upstream.http1 import Limits, Origin, Pool, UpstreamError, tls_context
from tests.upstream.cancelling import cancelled_at_every_turn, needs_proc, open_files
from tests.upstream.dialling import Certificates, ask, refused, server_context
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**22


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
def test_a_connection_that_ends_on_its_way_to_a_waiter(run: Runner, certificates: Certificates) -> None:
    """TLS brings the answer and the end in one turn: the waiter is handed a connection that is closed when it wakes."""

    async def upstream(line: Line) -> None:
        await line.request()
        line.writer.write(OK)
        line.close()

    async def main() -> None:
        async with RawServer(upstream, context=server_context(certificates)) as server:
            limits = Limits(max_connections=1)
            pool = Pool(server.origin, limits, ssl_context=tls_context(certificates.ca))
            assert await asyncio.gather(*(ask(pool) for _ in range(5))) == [b"hello"] * 5
            assert server.accepted == 5
            await until(lambda: repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>")
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
