"""A sandbox behind a real socket, for clients that block: it runs in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asbru.config import Server
from asbru.sandbox.app import Settings, handler
from asbru.server.serve import Service


@contextmanager
def serving(settings: Settings | None = None) -> Iterator[str]:
    """The base URL of a running sandbox."""
    ready = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    failure: list[BaseException] = []

    async def serve() -> None:
        nonlocal port
        service = Service(handler(settings), Server(port=0, drain_s=0.0))
        await service.start()
        port = service.port
        ready.set()
        try:
            await ended.wait()
        finally:
            await service.stop()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if not failure:
            loop.call_soon_threadsafe(ended.set)
        thread.join()
    if failure:
        raise failure[0]
