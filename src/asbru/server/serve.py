"""A listener and its life: bind, serve, drain, end. Signals are handled here and nowhere else.

uvicorn contributes its configuration and its way of making a connection object for each accepted socket. Its own main
loop (which wakes up ten times a second), its signal handlers and its shutdown (which knows no drain) stay unused.

Leaving, from SIGTERM on, for ``drain_delay_s``: everything is served as before, but readiness says that the process
ends, and responses say ``connection: close``. Load balancers need that time to learn of it.

Draining, from `drain` on: the sockets stop listening, idle connections are answered once more or close within a second,
responses say ``connection: close``, and what was pipelined behind the running request is not begun.
`stop` waits for what runs, at most ``drain_s``; then the remaining handlers are cancelled, which ends their streams
with a valid error event; what is still there `GRACE_S` later is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import resource
import signal
from collections.abc import Callable
from functools import partial

import uvicorn

from asbru import config
from asbru.server.asgi import application
from asbru.server.connection import HostConfig
from asbru.server.exchange import Handler
from asbru.server.listen import open_listeners
from asbru.server.shared import Shared

log = logging.getLogger("asbru.server")

GRACE_S = 5.0
CUT_S = 1.0
SPARE_FILES = 256
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 16_777_216
TRIM_AFTER_S = 1.0
LARGE_BLOCK_BYTES = 262_144


class Service:
    """Serves a handler at one address.

    Either `start` and `stop` it, any number in one process, or `start` and `run` it as what the process is for.
    """

    def __init__(
        self,
        handler: Handler,
        server: config.Server,
        *,
        on_reload: Callable[[], None] | None = None,
    ) -> None:
        self.port = server.port
        """The port it listens on, after `start`."""
        self._settings = server
        self._on_reload = on_reload
        self._shared = Shared(server)
        self._uvicorn = uvicorn.Server(HostConfig(application(handler, self._shared.cors), self._shared))
        self._drain_asked = asyncio.Event()
        self._end_asked = asyncio.Event()
        self._trim: Callable[[int], int] | None = None
        self._trimming: asyncio.TimerHandle | None = None

    @property
    def draining(self) -> bool:
        """Whether it is on its way out, which readiness must say."""
        return self._shared.leaving

    @property
    def idle(self) -> bool:
        """Whether nothing runs and no connection is open."""
        return not self._shared.running and not self._shared.connections

    async def start(self) -> None:
        """Listen and serve; raises `ListenError`."""
        sockets = open_listeners(self._settings.host, self._settings.port)
        self.port = sockets[0].getsockname()[1]
        host = self._uvicorn.config
        host.load()
        self._uvicorn.lifespan = host.lifespan_class(host)
        await self._uvicorn.startup(sockets)

    def drain(self) -> None:
        """Take nothing new; returns at once."""
        if self._shared.draining:
            return
        self._shared.leaving = self._shared.draining = True
        for listener in self._uvicorn.servers:
            listener.close()
        for connection in list(self._shared.connections):
            connection.drain()
        self._drain_asked.set()

    async def stop(self) -> None:
        """Drain and return when nothing is left, at most ``drain_s`` and the grace time later.

        A process that is leaving serves on for ``drain_delay_s`` before that.
        """
        try:
            if self._shared.leaving and not self._shared.draining:
                await asyncio.sleep(self._settings.drain_delay_s)
                self._log_drain()
            self.drain()
            await self._ended(self._settings.drain_s)
            for exchange in list(self._shared.running):
                exchange.drain()
            await self._ended(GRACE_S)
        finally:
            self.drain()  # where a second signal came before it
            if not self.idle:
                log.warning(
                    "cut off: %d exchanges, %d connections", len(self._shared.running), len(self._shared.connections)
                )
                self._cut_all()
        await self._ended(GRACE_S)  # what was cut cleans up, and its records are written

    async def abort(self) -> None:
        """End without a drain: cancel what runs, close every connection, return when nothing is left."""
        self.drain()
        self._cut_all()
        await self._ended(GRACE_S)

    async def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """Serve until SIGTERM or SIGINT, then drain; the exit code: 0, or 1 when a second signal cut the drain short.

        Only SIGTERM, which comes from a supervisor, waits for ``drain_delay_s``: SIGINT comes from a terminal.
        SIGHUP calls ``on_reload``. ``ready`` is called once signals are heard: who is told earlier that this process
        serves may kill it by asking it to end.
        """
        self._trim = _tune_memory()
        self._shared.held.after_burst = self._trim_soon
        _raise_file_limit(2 * self._settings.max_connections + SPARE_FILES)
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: partial(self._on_end_signal, self._settings.drain_delay_s),
            signal.SIGINT: partial(self._on_end_signal, 0.0),
        }
        if self._on_reload is not None:
            handlers[signal.SIGHUP] = self._on_reload
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            ready()
            await self._drain_asked.wait()
            stopping = loop.create_task(self.stop())
            ending = loop.create_task(self._end_asked.wait())
            await asyncio.wait((stopping, ending), return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if stopping.done():
                await stopping
                return 0
            stopping.cancel()
            await asyncio.wait((stopping,))
            await self._ended(CUT_S)
            return 1
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _trim_soon(self) -> None:
        """Give back what a burst of bodies left in the heap, when the next one has not begun meanwhile."""
        loop = asyncio.get_running_loop()
        if self._trim is not None and self._trimming is None:
            self._trimming = loop.call_later(TRIM_AFTER_S, self._trim_now)

    def _trim_now(self) -> None:
        self._trimming = None
        if self._trim is not None and not self._shared.held.total_bytes:
            asyncio.get_running_loop().run_in_executor(None, self._trim, KEPT_BYTES)

    def _on_end_signal(self, delay_s: float) -> None:
        if self._shared.leaving:
            log.warning("a second signal: ending at once")
            self._end_asked.set()
        elif delay_s:
            log.info("leaving: requests are served for another %g s", delay_s)
            self._shared.leaving = True
            self._drain_asked.set()
        else:
            self._log_drain()
            self.drain()

    def _log_drain(self) -> None:
        log.info("draining: %d exchanges have %g s", len(self._shared.running), self._settings.drain_s)

    async def _ended(self, timeout_s: float) -> None:
        """Return when no exchange runs, or when the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while (left_s := end - loop.time()) > 0:
            tasks = [exchange.task for exchange in self._shared.running if exchange.task is not None]
            if not tasks:
                await self._connections_gone(left_s)
                return
            await asyncio.wait(tasks, timeout=left_s)

    async def _connections_gone(self, timeout_s: float) -> None:
        """Return when every connection has closed, or when the time is over."""
        if self._shared.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._shared.emptied.wait(), timeout_s)

    def _cut_all(self) -> None:
        for exchange in list(self._shared.running):
            exchange.cancel()
        for connection in list(self._shared.connections):
            connection.abort()


def _tune_memory() -> Callable[[int], int] | None:
    """Let glibc keep the memory of ordinary bodies for the next ones, and return that of large ones at once.

    By default it returns 128 KiB at the end of its heap to the system at once, and every body of that size takes its
    pages anew: 80 µs for a request with a body of 100 KB instead of 27. And by default it takes ever larger blocks from
    its heap once it has seen one freed (mallopt(3), M_MMAP_THRESHOLD), where a burst of large bodies stays for good.
    Small pieces of large bodies lie in its heap all the same: what is returned, malloc_trim(3), gives their pages back.
    Where the allocator is another one nothing is done.
    """
    try:
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        return library.malloc_trim
    except (OSError, AttributeError):
        return None


def _raise_file_limit(wanted: int) -> None:
    """As many open files as the connections need, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
