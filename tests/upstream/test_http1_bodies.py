"""Response bodies: read as they come, paused, limited, absent, coded."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**26


@run_on_each_loop
def test_read_gives_what_has_come_and_waits_only_for_more(run: Runner) -> None:
    has_read = asyncio.Event()

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        await has_read.wait()
        await line.say(b"1\r\nc\r\n0\r\n\r\n")
        await line.request()
        await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert await response.read() == b"ab"
            has_read.set()
            await until(lambda: pool.idle == 1)  # complete, so the connection serves again before it was read
            other = await pool.request(post())
            assert (other.reused, await other.read_all(LIMIT)) == (True, b"hello")
            assert [await response.read(), await response.read(), await response.read()] == [b"c", b"", b""]
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_large_body_read_slowly_is_whole(run: Runner) -> None:
    """Reading pauses and resumes many times."""
    body = bytes(range(256)) * 80_000

    async def main() -> None:
        async with RawServer(answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)) as server:
            pool = server.pool(read_buffer_bytes=10_000)
            response = await pool.request(post())
            pieces = []
            while piece := await response.read():
                pieces.append(piece)
                await asyncio.sleep(0)
            assert b"".join(pieces) == body
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_upstream_waits_for_a_caller_that_does_not_read(run: Runner) -> None:
    sent = 0
    pieces = 400

    async def upstream(line: Line) -> None:
        nonlocal sent
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (pieces * 100_000))
        for _ in range(pieces):
            await line.say(b"x" * 100_000)
            sent += 1

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            before = -1
            while sent == 0 or sent != before:  # until it stands still
                before = sent
                for _ in range(50):
                    await asyncio.sleep(0)
            assert sent < pieces
            assert len(await response.read_all(LIMIT)) == pieces * 100_000
            await pool.close()

    run(main())


@run_on_each_loop
def test_read_all_stops_at_its_limit(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await line.say(b"x" * 1000)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            with pytest.raises(UpstreamError) as caught:
                await response.read_all(5000)
            assert caught.value.kind == "too_large"
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_a_head_request_has_no_body(run: Runner, method: bytes) -> None:
    request = method + b" / HTTP/1.1\r\nhost: u\r\n\r\n"

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        if method == b"GET":
            await line.say(b"hello")
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(request, method=method)
            assert (b"content-length", b"5") in response.headers
            assert await response.read_all(LIMIT) == (b"" if method == b"HEAD" else b"hello")
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    "surplus", [b"hello", b"x" * 9, OK, b"5\r\nhello\r\n0\r\n\r\n"], ids=["body", "long", "next", "chunks"]
)
@pytest.mark.parametrize("framing", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b""])
def test_a_body_after_the_answer_to_head_reaches_nobody(run: Runner, surplus: bytes, framing: bytes) -> None:
    async def main() -> None:
        async with RawServer(answering(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + surplus)) as server:
            pool = server.pool()
            response = await pool.request(b"HEAD / HTTP/1.1\r\nhost: u\r\n\r\n", method=b"HEAD")
            assert (response.status, await response.read_all(LIMIT)) == (200, b"")
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


# ---- content codings

PLAIN = b"".join(b'{"n": %d}' % n for n in range(200_000))
RAW_DEFLATE = zlib.compressobj(wbits=-15)
CODED = {
    b"gzip": gzip.compress(PLAIN),
    b"X-GZIP": gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]),
    b"deflate": zlib.compress(PLAIN),
    b"Deflate": RAW_DEFLATE.compress(PLAIN) + RAW_DEFLATE.flush(),
}


def coded(coding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n%b" % (coding, len(body), body)


@run_on_each_loop
@pytest.mark.parametrize("coding", list(CODED))
def test_a_coded_body_stays_as_it_came_unless_asked(run: Runner, coding: bytes) -> None:
    async def main() -> None:
        async with RawServer(answering(coded(coding, CODED[coding]))) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert (b"content-encoding", coding) in response.headers
            assert await response.read_all(LIMIT) == CODED[coding]
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("coding", list(CODED))
def test_a_coded_body_is_decoded_when_asked(run: Runner, coding: bytes) -> None:
    async def main() -> None:
        async with RawServer(answering(coded(coding, CODED[coding]))) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.inflate() is True
            assert response.headers == []
            assert await response.read_all(LIMIT) == PLAIN
            assert await response.read() == b""
            assert pool.idle == 1
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("body", [CODED[b"gzip"][:-1], CODED[b"gzip"][:5], b"not gzip", b"x"])
def test_a_broken_coding(run: Runner, body: bytes) -> None:
    async def main() -> None:
        async with RawServer(answering(coded(b"gzip", body))) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.inflate() is True
            for _ in range(2):
                with pytest.raises(UpstreamError) as caught:
                    await response.read_all(LIMIT)
                assert caught.value.kind == "protocol"
            assert pool.busy == 0
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_small_body_that_decodes_to_a_huge_one_is_bounded(run: Runner) -> None:
    bomb = gzip.compress(bytes(100_000_000))

    async def main() -> None:
        async with RawServer(answering(coded(b"gzip", bomb))) as server:
            pool = server.pool()
            response = await pool.request(post())
            response.inflate()
            assert len(await response.read()) <= 262_144
            with pytest.raises(UpstreamError) as caught:
                await response.read_all(1_000_000)
            assert caught.value.kind == "too_large"
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("fields", "plain"),
    [(b"", True), (b"content-encoding: identity\r\n", True), (b"content-encoding: br\r\n", False)],
)
def test_a_body_that_needs_no_decoding_or_cannot_be_decoded(run: Runner, fields: bytes, plain: bool) -> None:
    async def main() -> None:
        raw = b"HTTP/1.1 200 OK\r\n" + fields + b"content-length: 5\r\n\r\nhello"
        async with RawServer(answering(raw)) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.inflate() is plain
            assert (b"content-length", b"5") in response.headers
            assert await response.read_all(LIMIT) == b"hello"
            await pool.close()

    run(main())


@run_on_each_loop
def test_no_body_needs_no_decoding(run: Runner) -> None:
    async def main() -> None:
        raw = b"HTTP/1.1 304 Not Modified\r\ncontent-encoding: gzip\r\n\r\n"
        async with RawServer(answering(raw)) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.inflate() is True
            assert await response.read_all(LIMIT) == b""
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_cut_body_is_not_whole_because_its_length_left_the_headers(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(coded(b"gzip", CODED[b"gzip"])[:-1])
        line.close()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            response.inflate()
            with pytest.raises(UpstreamError) as caught:
                await response.read_all(LIMIT)
            assert caught.value.kind == "reset"
            await pool.close()

    run(main())
