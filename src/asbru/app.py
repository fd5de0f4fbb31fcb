"""The composition root: a Config becomes a running process. The only file that sees every layer."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from asbru.config import Config, Server
from asbru.gateway import Gateway
from asbru.load import ConfigError, describe
from asbru.load.startup import start_problems
from asbru.pipeline import handle
from asbru.server.exchange import Exchange
from asbru.server.serve import Service
from asbru.telemetry.records import open_records, records_fault

if TYPE_CHECKING:
    from asbru.sandbox.replies import ScriptedReply

log = logging.getLogger("asbru")

CANNOT_START = 3
SANDBOX = "sandbox"
SWITCH_INTERVAL_S = 0.001
"""How long the loop waits for a worker thread to pause; Python's default of 5 ms is felt in every turn."""


class App:
    """One process: the current `Gateway`, the listener in front of it, the sandbox behind it when it is wanted."""

    def __init__(self, config: Config, reload: Callable[[], Config] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reload = reload
        self._sandbox: Service | None = None
        self._records = open_records(config.log.records, self._loop)
        self._retired: set[asyncio.Task[None]] = set()
        self._swapping = asyncio.Lock()
        """Reloads take effect in the order in which they were asked for."""
        self.config = config
        self.gateway: Gateway
        self.service = Service(self._handle, config.server, on_reload=self.reload)

    def _handle(self, exchange: Exchange) -> Awaitable[None]:
        return handle(exchange, self.gateway)

    async def start(self) -> None:
        """Listen; raises OSError when the port cannot be had."""
        self.gateway = await self._build(self.config)
        await self.service.start()
        self.gateway.catalog.start()
        self._prices = self._loop.run_in_executor(None, self.gateway.prices.load)

    async def _build(self, config: Config) -> Gateway:
        return Gateway(await self._with_sandbox(config), os.environ, self._records, lambda: self.service.draining)

    async def _with_sandbox(self, config: Config) -> Config:
        """The configuration with the embedded sandbox's address in it, when it names a sandbox without one."""
        provider = config.providers.get(SANDBOX)
        if provider is None or provider.base_url is not None:
            return config
        if self._sandbox is None:
            from asbru.sandbox.app import handler

            self._sandbox = Service(handler(), Server(port=0, drain_s=0))
            await self._sandbox.start()
        provider = msgspec.structs.replace(provider, base_url=f"http://127.0.0.1:{self._sandbox.port}")
        return msgspec.structs.replace(config, providers={**config.providers, SANDBOX: provider})

    def reload(self) -> None:
        """Take the configuration anew, of which a wrong one changes nothing, and open the file of Records anew."""
        self._records.reopen()
        if self._reload is None:
            return
        try:
            config = self._reload()
        except ConfigError as error:
            log.error("reload rejected, keeping the running configuration: %s", error)
            return
        task = self._loop.create_task(self._swap(config))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _swap(self, config: Config) -> None:
        async with self._swapping:
            running = self.config
            later = _changed("server", running.server, config.server) + _changed("log", running.log, config.log)
            config = msgspec.structs.replace(config, server=running.server, log=running.log)
            try:
                fresh = await self._build(config)
            except (OSError, ValueError) as error:  # what no check can see, such as a file that is no certificate
                log.error("reload failed, keeping the running configuration: %s", error)
                return
            await self._loop.run_in_executor(None, fresh.prices.load)
            fresh.succeed(self.gateway)
            old, self.gateway = self.gateway, fresh
            if later:
                log.warning("restart to apply changes of %s", ", ".join(later))
            self.config = config
            fresh.catalog.start()
            log.info("configuration reloaded")
        await old.retire()

    async def stop(self) -> None:
        """End what runs behind the listener, which has drained."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self.gateway.close()
        if self._sandbox is not None:
            await self._sandbox.stop()
        self._records.close()


def serve(config: Config, *, reload: Callable[[], Config] | None = None, file: str | None = None) -> int:
    """Run until told to end; returns the exit code. ``file`` is what the configuration was read from."""
    _log_to_stderr(config.log.level)
    if problems := start_problems(config, os.environ):
        return _refuse(*(problem.message for problem in problems))

    async def main() -> int:
        try:
            app = App(config, reload)
        except OSError as error:
            return _refuse(records_fault(config.log.records, error))
        try:
            await app.start()
        except (OSError, ValueError) as error:  # such as a port in use
            return _refuse(str(error))
        settle_memory()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            return await app.service.run(
                lambda: _say(*describe(app.config, app.service.port, file), records=config.log.records)
            )
        finally:
            await app.stop()

    return uvloop.run(main())


def serve_sandbox(host: str, port: int, replies: list[ScriptedReply]) -> int:
    """Run the sandbox provider alone: with scripted replies and a line for each request."""
    from asbru.sandbox.app import Sandbox, Settings
    from asbru.sandbox.printing import LinePrinter

    _log_to_stderr("info")

    async def main() -> int:
        printer = LinePrinter(1)
        sandbox = Sandbox(Settings(), has_control=True, on_end=lambda entry: printer.print(entry.line()))
        sandbox.replies.add(replies)
        service = Service(sandbox.handle, Server(host=host, port=port))
        try:
            await service.start()
        except OSError as error:
            return _refuse(str(error))
        try:
            return await service.run(lambda: _say(f"sandbox provider on http://{host}:{service.port}"))
        finally:
            printer.close()

    return uvloop.run(main())


def _changed(section: str, old: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    """The settings that differ."""
    return [f"{section}.{name}" for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]


def _refuse(*reasons: str) -> int:
    for reason in reasons:
        print(f"asbru: {reason}", file=sys.stderr)  # noqa: T201
    return CANNOT_START


def _say(*lines: str, records: str = "off") -> None:
    """Print what a start has to tell, not among Records; whether anybody reads it changes nothing."""
    if records == "-":
        print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
        return
    try:
        for line in lines:
            print(line, flush=True)  # noqa: T201
    except OSError as error:
        log.warning("standard output cannot be written: %s", error.strerror)
        sys.stdout = Path(os.devnull).open("w")  # or the exit would try again and fail  # noqa: SIM115


def settle_memory() -> None:
    """Take what lives as long as the process out of the garbage collector's sight, and have it look less often.

    An exchange that ends as it should leaves no cycles behind, so nearly every look at the young is for nothing: 2 µs a
    request with Python's defaults. With the rest frozen, a look at everything costs little and need not be rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 5)


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
