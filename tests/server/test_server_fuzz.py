"""Mutated requests on real sockets: the server answers or closes, always, and nothing of it stays behind.

Seeded, so that a failure can be had again. Time-outs are tiny: whatever a mutation leaves incomplete ends with them.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import re

import pytest

from asbru.config import Server
from asbru.server.exchange import Exchange
from tests.server.rawclient import Live, Peer, Runner, post, run_on_each_loop, serving, until

SETTINGS = Server(
    max_header_bytes=2000, header_timeout_s=0.05, body_timeout_s=0.05, keep_alive_s=0.05, write_timeout_s=0.5
)
BODY_LIMIT = 2000
SEEDS = range(8)
CLIENTS = 40

VALID = [
    post(b'{"model":"m","messages":[]}', b"content-type: application/json", path=b"/v1/messages?beta=true"),
    post(gzip.compress(b"hello" * 50), b"content-encoding: gzip"),
    post(b"x" * 3000),
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://h/stream HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nx-b: 2\r\n\r\n",
    b"HEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
]
FRAGMENTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"0\r\n\r\n",
    b"\xff",
    b"Content-Length: 5\r\n",
    b"%",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
]


def mutated(rand: random.Random) -> bytes:
    """Some valid requests in a row, with a few bytes changed, removed, repeated or put in."""
    data = bytearray(b"".join(rand.choices(VALID, k=rand.randint(1, 3))))
    for _ in range(rand.choice([0, 1, 1, 2, 5])):
        at = rand.randrange(len(data))
        match rand.randrange(5):
            case 0:
                data[at] = rand.randrange(256)
            case 1:
                del data[at : at + rand.randint(1, 20)]
            case 2:
                data[at:at] = rand.choice(FRAGMENTS)
            case 3:
                data[at:at] = data[at : at + rand.randint(1, 200)]
            case _:
                data[at:at] = bytes([data[at]]) * rand.choice([10, 3000])
        if not data:
            break
    return bytes(data)


async def handler(exchange: Exchange) -> None:
    if exchange.path == b"/pieces":
        async for _ in exchange.pieces(BODY_LIMIT):
            pass
        await exchange.respond(200, [], b"read")
    elif exchange.path == b"/stream":
        await exchange.start(200, [(b"content-type", b"text/event-stream")])
        await exchange.write(b"data: {}\n\n")
        await exchange.write(await exchange.body(BODY_LIMIT))
        await exchange.finish()
    else:
        body = await exchange.body(BODY_LIMIT)
        await exchange.respond(200, [(b"x-length", b"%d" % len(body))], body)


async def client(live: Live, seed: int) -> None:
    rand = random.Random(seed)
    data = mutated(rand)
    peer = await Peer.connect(live.port)
    try:
        at = 0
        while at < len(data):
            size = rand.choice([1, 7, 100, len(data)])
            await peer.send(data[at : at + size])
            at += size
        if rand.random() < 0.2:
            await peer.reset()
            return
        answer = await peer.reader.read()
    except ConnectionError:
        return  # closed on what it did not want to read
    else:
        assert not answer or re.match(rb"HTTP/1\.1 [1-5]\d\d [A-Za-z -]*\r\n", answer), (data, answer)
        assert len(re.findall(rb"HTTP/1\.1 500 ", answer)) == 0, (data, answer)
    finally:
        await peer.close()


@run_on_each_loop
@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_requests_are_answered_or_closed(run: Runner, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(handler, SETTINGS) as live:
            await asyncio.gather(*(client(live, 1000 * seed + number) for number in range(CLIENTS)))
            await until(lambda: live.service.idle)

    run(main())
    assert not caplog.records


@run_on_each_loop
def test_noise_is_answered_or_closed(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def noise(live: Live, seed: int) -> None:
        rand = random.Random(seed)
        peer = await Peer.connect(live.port)
        try:
            await peer.send(rand.randbytes(rand.choice([1, 50, 5000])))
            answer = await peer.reader.read()
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
        except ConnectionError:
            pass
        finally:
            await peer.close()

    async def main() -> None:
        async with serving(handler, SETTINGS) as live:
            await asyncio.gather(*(noise(live, number) for number in range(100)))
            await until(lambda: live.service.idle)

    run(main())
    assert not caplog.records
