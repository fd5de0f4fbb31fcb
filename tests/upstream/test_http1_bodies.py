"""Request bodies in pieces, response bodies read in pieces, and backpressure both ways."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

CHUNKED_REQUEST = b"POST /v1/files HTTP/1.1\r\nhost: u\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 2**26


def sized_request(length: int) -> bytes:
    return b"POST /v1/files HTTP/1.1\r\nhost: u\r\nContent-Length: %d\r\n\r\n" % length


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# ---- requests


@run_on_each_loop
@pytest.mark.parametrize("size_bytes", [0, 1, 16_383, 16_384, 5_000_000])
def test_a_body_arrives_behind_its_head(run: Runner, size_bytes: int) -> None:
    body = bytes(n % 251 for n in range(1000)) * (size_bytes // 1000 + 1)
    body = body[:size_bytes]
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        while True:
            seen.append(await line.request())
            await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            for _ in range(2):
                response = await pool.request(post(body), body)
                assert await response.read_all(LIMIT) == b"hello"
            assert seen == [post(body) + body] * 2
            assert server.accepted == 1
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_chunked_body_is_framed(run: Runner) -> None:
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        while True:
            seen.append(await line.request())
            await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            for reused in (False, True):
                response = await pool.request(CHUNKED_REQUEST, pieces_of(b"hello", b"", b"x" * 17))
                assert (response.reused, await response.read_all(LIMIT)) == (reused, b"hello")
            await pool.close()
        assert seen == [CHUNKED_REQUEST + b"5\r\nhello\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"] * 2

    run(main())


@run_on_each_loop
def test_a_sized_body_in_pieces(run: Runner) -> None:
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        seen.append(await line.request())
        await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(sized_request(7), pieces_of(b"hel", b"", b"lo", b"!!"))
            assert await response.read_all(LIMIT) == b"hello"
            await pool.close()
        assert seen == [sized_request(7) + b"hello!!"]

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(("declared", "message"), [(6, "longer than the 6"), (8, "after 7 of the 8")])
def test_a_body_that_is_not_as_long_as_declared(run: Runner, declared: int, message: str) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(ValueError, match=message):
                await pool.request(sized_request(declared), pieces_of(b"hello", b"!!"))
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_in_pieces_needs_a_declared_framing(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(ValueError, match="must declare"):
                await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\n\r\n", pieces_of(b"x"))
            assert server.accepted == 0
            await pool.close()

    run(main())


@run_on_each_loop
def test_what_the_body_raises_comes_out(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise LookupError("the client sent nonsense")

    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(LookupError, match="nonsense"):
                await pool.request(CHUNKED_REQUEST, body())
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()  # the upstream sees the connection end, not the body
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_cancels_itself_cancels_the_request(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise asyncio.CancelledError

    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(asyncio.CancelledError):
                await pool.request(CHUNKED_REQUEST, body())
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_waits_for_an_upstream_that_does_not_read(run: Runner) -> None:
    taken = 0
    may_read = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield b"x" * 100_000

    async def upstream(line: Line) -> None:
        line.deaf()
        await may_read.wait()
        line.hear()
        await answering(OK)(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            task = asyncio.ensure_future(pool.request(CHUNKED_REQUEST, body()))
            before = -1
            while taken == 0 or taken != before:  # until it stands still
                before = taken
                for _ in range(50):
                    await asyncio.sleep(0)
            assert taken < 400
            may_read.set()
            response = await task
            assert (taken, await response.read_all(LIMIT)) == (400, b"hello")
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_upload_that_moves_does_not_time_out_and_one_that_stands_does(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        for _ in range(10):
            tick = loop.create_future()
            loop.call_later(0.05, tick.set_result, None)
            await tick
            yield b"hello"
        await asyncio.Event().wait()

    seen = bytearray()

    async def upstream(line: Line) -> None:
        await line.request_head()
        while piece := await line.reader.read(1000):
            seen.extend(piece)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(first_byte_s=0.3)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(CHUNKED_REQUEST, body())
            assert caught.value.kind == "first_byte_timeout"
            await server.scripts_done()
            assert seen == b"5\r\nhello\r\n" * 10
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_never_waits_ends_with_the_connection(run: Runner) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    async def upstream(line: Line) -> None:
        await line.request_head()
        line.reset()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            with pytest.raises(UpstreamError) as caught:
                await pool.request(CHUNKED_REQUEST, endless())
            assert caught.value.kind == "reset"
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


# ---- responses


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
            pool = server.pool(idle_s=0.2)
            response = await pool.request(post())
            before = -1
            while sent == 0 or sent != before:  # until it stands still
                before = sent
                for _ in range(50):
                    await asyncio.sleep(0)
            assert sent < pieces
            # It is the caller that stands still: that is no idle time of the upstream's.
            waited = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.3, waited.set_result, None)
            await waited
            assert len(await response.read_all(LIMIT)) == pieces * 100_000
            await pool.close()

    run(main())


@run_on_each_loop
def test_the_deadline_holds_while_reading_is_paused(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await line.say(b"x" * 100_000)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(idle_s=60)
            deadline = asyncio.get_running_loop().time() + 0.1
            response = await pool.request(post(), deadline=deadline)
            await until(lambda: pool.busy == 0)
            with pytest.raises(UpstreamError) as caught:
                await response.read_all(LIMIT)
            assert caught.value.kind == "deadline"
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
