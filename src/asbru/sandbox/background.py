"""A sandbox in a thread with an event loop of its own, for programs and tests that block.

with asbru.sandbox.running() as sandbox:
    sandbox.reply("Hello!")
    client = anthropic.Anthropic(base_url=sandbox.url, api_key="any")
    ...
    assert sandbox.requests[0].body["model"] == "claude-sonnet-5"
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from asbru.config import Server
from asbru.sandbox.answers import ApiError
from asbru.sandbox.app import Sandbox, Settings
from asbru.sandbox.replies import parse
from asbru.sandbox.request_log import SandboxRequest
from asbru.server.serve import Service


class RunningSandbox:
    """A sandbox that listens on a port of this machine. Every method may be called by any thread."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.url = url
        """The base URL for clients, without a path: ``http://127.0.0.1:PORT``."""
        self._sandbox = sandbox

    def reply(
        self,
        text: str | None = None,
        *,
        content: Sequence[Mapping[str, object]] | None = None,
        stop_reason: str | None = None,
        model: str | None = None,
    ) -> None:
        """Append one scripted reply: exactly one of ``text``, ``content`` and ``model``.

        ``content`` holds ``text``, ``thinking`` and ``tool_use`` blocks; ``model`` is a model name with options, in
        whose place the request is handled. Raises `ValueError` for a reply that is not valid or has no room.
        """
        given = {"text": text, "content": content, "stop_reason": stop_reason, "model": model}
        self.script([{name: value for name, value in given.items() if value is not None}])

    def script(self, replies: Sequence[Mapping[str, object]]) -> None:
        """Append scripted replies as they are in a file of ``asbru sandbox --replies``; raises `ValueError`."""
        try:
            self._sandbox.replies.add(parse(msgspec.json.decode(msgspec.json.encode(replies))))
        except (ApiError, TypeError) as error:
            raise ValueError(str(error)) from None

    @property
    def requests(self) -> list[SandboxRequest]:
        """The requests so far, oldest first."""
        return self._sandbox.requests.show()

    @property
    def pending_replies(self) -> int:
        """How many scripted replies no request has taken yet."""
        return len(self._sandbox.replies)

    def reset(self) -> None:
        """Forget the requests and the scripted replies."""
        self._sandbox.replies.replace([])
        self._sandbox.requests.clear()


@contextmanager
def running(*, port: int = 0, settings: Settings | None = None) -> Iterator[RunningSandbox]:
    """A sandbox on ``127.0.0.1`` until the block ends; ``port`` 0 takes a free one. Raises OSError if it is in use."""
    sandbox = Sandbox(settings or Settings(), has_control=True)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ended = asyncio.Event()
    failure: list[BaseException] = []
    listens_on = 0

    async def serve() -> None:
        nonlocal listens_on
        service = Service(sandbox.handle, Server(port=port, drain_s=0.0))
        await service.start()
        listens_on = service.port
        ready.set()
        try:
            await ended.wait()
        finally:
            await service.abort()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # raised again below, in the caller's thread
            failure.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="asbru-sandbox", daemon=True)
    thread.start()
    ready.wait()
    try:
        if not failure:
            yield RunningSandbox(sandbox, f"http://127.0.0.1:{listens_on}")
    finally:
        if thread.is_alive() and not failure:
            loop.call_soon_threadsafe(ended.set)
        thread.join()
    if failure:
        raise failure[0]
