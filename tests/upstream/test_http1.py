"""Responses of every form, over a real socket: what the caller gets, and what becomes of the connection."""

from __future__ import annotations

import pytest

from asbru.upstream.http1 import Response, UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop

LIMIT = 2**20

HEAD_LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD_LINE + b"transfer-encoding: chunked\r\n\r\n"

# name: bytes of the response, status, body, whether the connection may serve again
WHOLE: dict[str, tuple[bytes, int, bytes, bool]] = {
    "content-length": (OK, 200, b"hello", True),
    "content-length 0": (HEAD_LINE + b"content-length: 0\r\n\r\n", 200, b"", True),
    "chunked": (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 200, b"hello", True),
    "chunked, empty": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "chunk extensions": (CHUNKED + b'5;a=1;b="2"\r\nhello\r\n0;z\r\n\r\n', 200, b"hello", True),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nx-checksum: 1\r\nx-b: 2\r\n\r\n", 200, b"hello", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"hello", True),
    "interim with fields": (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3 + OK, 200, b"hello", True),
    "an interim status nobody knows": (b"HTTP/1.1 199 Hm\r\n\r\n" + OK, 200, b"hello", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "204 that claims a length": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b"", True),
    "empty lines before": (b"\r\n\r\n" + OK, 200, b"hello", True),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", True),
    "an error": (b"HTTP/1.1 529 Overloaded\r\ncontent-length: 2\r\n\r\n{}", 529, b"{}", True),
    "a redirect": (b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", 302, b"", True),
    "close": (HEAD_LINE + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", False),
    "close among others": (HEAD_LINE + b"Connection: x, Close\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", False),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", False),
    "1.0, kept": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello", True),
    "extra bytes": (OK + b"x", 200, b"hello", False),
    "extra bytes after close": (
        HEAD_LINE + b"connection: close\r\ncontent-length: 5\r\n\r\nhello\r\nx",
        200,
        b"hello",
        False,
    ),
    "a second response": (OK + OK, 200, b"hello", False),
    "a second response begun": (OK + b"HTTP/1", 200, b"hello", False),
}

# Bodies that run to the connection's end.
TO_THE_END: dict[str, bytes] = {
    "1.1": HEAD_LINE + b"\r\nhello",
    "1.1, close": HEAD_LINE + b"connection: close\r\n\r\nhello",
    "1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
}

INVALID: dict[str, bytes] = {
    "garbage": b"\x16\x03\x01\x02garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "no such version": b"HTTP/9.9 200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "RTSP/1.0": b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "ICE/1.0": b"ICE/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2.0 behind an interim response": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2.0 interim response": b"HTTP/2.0 100 Continue\r\n\r\n" + OK,
    "status 99": b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 X\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nrest",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "an interim response with a body": b"HTTP/1.1 199 X\r\ncontent-length: 3\r\n\r\nabc" + OK,
    "length, not a number": HEAD_LINE + b"content-length: five\r\n\r\nhello",
    "length, negative": HEAD_LINE + b"content-length: -5\r\n\r\nhello",
    "length, with a sign": HEAD_LINE + b"content-length: +5\r\n\r\nhello",
    "length, empty": HEAD_LINE + b"content-length: \r\n\r\nhello",
    "length, beyond 64 bits": HEAD_LINE + b"content-length: 99999999999999999999\r\n\r\nhello",
    "lengths that differ": HEAD_LINE + b"content-length: 5\r\ncontent-length: 4\r\n\r\nhello",
    "lengths that differ, in one field": HEAD_LINE + b"content-length: 5, 4\r\n\r\nhello",
    "length and chunked": HEAD_LINE + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": HEAD_LINE + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "another transfer coding": HEAD_LINE + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two transfer codings": HEAD_LINE + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded field": HEAD_LINE + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "space before colon": HEAD_LINE + b"content-length : 5\r\n\r\nhello",
    "no colon": HEAD_LINE + b"content-length\r\n\r\n",
    "NUL in a value": HEAD_LINE + b"a: b\0c\r\n\r\n",
    "a field over the limit": HEAD_LINE + b"a: " + b"x" * 3000 + b"\r\n\r\n",
    "a field over the limit, unended": HEAD_LINE + b"a: " + b"x" * 3000,
    "a reason phrase over the limit": b"HTTP/1.1 200 " + b"x" * 3000,
    "interim responses over the limit": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "too many fields": HEAD_LINE + b"a: b\r\n" * 33 + b"content-length: 0\r\n\r\n",
}

# After the head: the body is what is wrong.
INVALID_BODY: dict[str, bytes] = {
    "chunk size, not hexadecimal": CHUNKED + b"2\r\nhe\r\nZZ\r\nllo\r\n0\r\n\r\n",
    "chunk size, beyond 64 bits": CHUNKED + b"2\r\nhe\r\nFFFFFFFFFFFFFFFFF\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\nhe\r\n2\r\nllo\r\n0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"2\r\nhe\r\n0\r\ncontent-length: 2\r\n\r\n",
    "chunk size followed by LF": CHUNKED + b"2\r\nhe\r\n2\nll\r\n0\r\n\r\n",
}


def each(table: dict[str, object]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", list(table))


async def fetched(response: Response) -> bytes:
    return await response.read_all(LIMIT)


@run_on_each_loop
@each({**WHOLE})
def test_a_response(run: Runner, name: str) -> None:
    raw, status, body, kept = WHOLE[name]

    async def main() -> None:
        async with RawServer(answering(raw)) as server:
            pool = server.pool()
            for turn in range(2):
                response = await pool.request(post(b"{}"), b"{}")
                assert (response.status, await fetched(response)) == (status, body)
                assert response.reused == (kept and turn == 1)
                assert await response.read() == b""
                response.close()
            assert repr(pool) == f"<Pool {server.origin} idle={int(kept)} busy=0 waiting=0>"
            assert server.accepted == (1 if kept else 2)
            await pool.close()

    run(main())


@run_on_each_loop
@each({**WHOLE})
def test_a_response_byte_by_byte(run: Runner, name: str) -> None:
    raw, status, body, _ = WHOLE[name]

    async def main() -> None:
        async with RawServer(answering(*(bytes([byte]) for byte in raw))) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert (response.status, await fetched(response)) == (status, body)
            await pool.close()

    run(main())


@run_on_each_loop
@each({**TO_THE_END})
def test_a_body_that_runs_to_the_end(run: Runner, name: str) -> None:
    async def answer(line: Line) -> None:
        await line.request()
        await line.say(TO_THE_END[name], b", world")
        line.close()

    async def main() -> None:
        async with RawServer(answer) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert (response.status, await fetched(response)) == (200, b"hello, world")
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
@each({**INVALID})
def test_an_invalid_head(run: Runner, name: str) -> None:
    async def main() -> None:
        async with RawServer(answering(INVALID[name])) as server:
            pool = server.pool(max_header_bytes=2000, max_headers=32)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post())
            assert (caught.value.kind, caught.value.responded) == ("protocol", True)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
@each({**INVALID_BODY})
def test_an_invalid_body(run: Runner, name: str) -> None:
    async def main() -> None:
        async with RawServer(answering(INVALID_BODY[name])) as server:
            pool = server.pool()
            response = await pool.request(post())
            with pytest.raises(UpstreamError) as caught:
                await fetched(response)
            assert (caught.value.kind, caught.value.responded) == ("protocol", True)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_header_fields_come_as_they_were_sent(run: Runner) -> None:
    raw = (
        HEAD_LINE + b"Request-ID: req_1\r\nX-Empty:\r\nset-cookie: a=1\r\nSet-Cookie: b=\xe9\r\n"
        b"Content-Length: 0\r\nanthropic-RateLimit-requests-limit: 5\r\n\r\n"
    )

    async def main() -> None:
        async with RawServer(answering(raw)) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert response.headers == [
                (b"request-id", b"req_1"),
                (b"x-empty", b""),
                (b"set-cookie", b"a=1"),
                (b"set-cookie", b"b=\xe9"),
                (b"content-length", b"0"),
                (b"anthropic-ratelimit-requests-limit", b"5"),
            ]
            await pool.close()

    run(main())
