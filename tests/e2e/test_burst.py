"""A burst of large bodies: memory goes back to the system when they have been answered."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.e2e.running import Gateway

BODIES = 200
AT_ONCE = 200
BODY_BYTES = 5_000_000
ANSWER = b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[],"usage":{}}'
ANSWER_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
MAY_KEEP_BYTES = 40_000_000
SETTLE_S = 20.0


async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads requests whole and answers each; any other is for the list of models."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, found, rest = head.partition(b"\r\ncontent-length:")
            left = int(rest.split(b"\r\n", 1)[0]) if found else 0
            while left:
                left -= len(await reader.read(min(left, 65_536)))
            writer.write(ANSWER_HEAD + ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.transport.abort()


async def ask(port: int, request: bytes, times: int) -> None:
    """The request some times on one connection, in pieces as a network brings them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(times):
            for at in range(0, len(request), 50_000):
                writer.write(request[at : at + 50_000])
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            await reader.readexactly(len(ANSWER))
    finally:
        writer.close()
        await writer.wait_closed()


def test_memory_goes_back_after_a_burst(tmp_path: Path) -> None:
    body = json.dumps(
        {"model": "claude-test", "max_tokens": 8, "messages": [{"role": "user", "content": "x" * BODY_BYTES}]}
    ).encode()

    async def settled(gateway: Gateway, before: int) -> None:
        """Returns when the gateway is no larger than it may be, or when that has taken too long."""
        end = time.monotonic() + SETTLE_S
        while gateway.resident_bytes() > before + MAY_KEEP_BYTES:
            assert time.monotonic() < end, f"{(gateway.resident_bytes() - before) / 1e6:.0f} MB are kept"
            await asyncio.sleep(0.05)

    async def main() -> None:
        server = await asyncio.start_server(provider, "127.0.0.1", 0)
        up = {
            "dialect": "anthropic",
            "base_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "keys": [{"name": "k", "value": "sk-test"}],
        }
        with Gateway(tmp_path, {"providers": {"up": up}, "routing": {"default_provider": "up"}}) as gateway:
            head = (
                "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-api-key: any\r\n"
                f"anthropic-version: 2023-06-01\r\ncontent-length: {len(body)}\r\n\r\n"
            ).encode()
            await ask(gateway.port, head + body, 1)
            before = gateway.resident_bytes()
            await asyncio.gather(*(ask(gateway.port, head + body, BODIES // AT_ONCE) for _ in range(AT_ONCE)))
            await settled(gateway, before)
            await ask(gateway.port, head + body, BODIES // 4)
            await settled(gateway, before)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
