"""Credentials that run out, kept fresh: fetched again before they do, off the request path.

A `Renewed` fetches for the first time when somebody waits for it, and from then on by itself, ahead of the expiry, so
that no request waits for a token again. While fetching fails, the old value serves until it has run out; from then on
`ready` raises at once what was wrong, and each further try is a little later than the one before.

Time is the wall clock's: tokens go on ageing while a machine sleeps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

log = logging.getLogger("asbru.credentials")

T = TypeVar("T")

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
MIN_REFRESH_S = 30.0


class CredentialError(Exception):
    """No credential can be had; the message holds none."""


class Fetched(NamedTuple, Generic[T]):
    """What was fetched. In seconds from now: when to fetch again (None: never), when it has run out (None: unknown)."""

    value: T
    refresh_s: float | None
    expires_s: float | None = None


class Renewed(Generic[T]):
    """One value that runs out. Belongs to one event loop. ``fetch`` raises `CredentialError`."""

    __slots__ = ("_clock", "_error", "_expires", "_fetch", "_keeper", "_name", "_settled", "_value")

    def __init__(
        self, name: str, fetch: Callable[[], Awaitable[Fetched[T]]], clock: Callable[[], float] = time.time
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._keeper: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        """Not while a fetch is under way."""
        self._value: T | None = None
        self._expires: float | None = None
        self._error = ""
        """Why the last fetch failed; empty when it did not. Its words only: an exception would keep its frames."""

    @property
    def current(self) -> T | None:
        """The value, unless there is none yet or it has run out."""
        return None if self._expires is not None and self._clock() >= self._expires else self._value

    async def ready(self) -> T:
        """The value, waiting for a fetch that is under way when there is none; raises `CredentialError`."""
        value = self.current
        if value is None:
            if self._keeper is None:
                self._keeper = asyncio.create_task(self._keep())
            await self._settled.wait()
            value = self.current
            if value is None:
                raise CredentialError(self._error or "what there was has run out")
        return value

    async def close(self) -> None:
        """Stop fetching; whoever still waits is told so."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._error = "no longer fetched: the provider was closed"
            self._settled.set()

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            self._settled.clear()
            try:
                fetched = await self._fetch()
            except CredentialError as error:
                log.warning("%s: no credential: %s", self._name, error)
                self._error = str(error)
                wait_s, pause_s = pause_s, min(pause_s * 2, MAX_PAUSE_S)
            except Exception as error:
                log.exception("%s: no credential", self._name)
                self._error = type(error).__name__
                wait_s, pause_s = pause_s, min(pause_s * 2, MAX_PAUSE_S)
            else:
                now = self._clock()
                self._value = fetched.value
                self._expires = None if fetched.expires_s is None else now + fetched.expires_s
                self._error = ""
                pause_s = FIRST_PAUSE_S
                if fetched.refresh_s is None:
                    self._settled.set()
                    return
                wait_s = max(MIN_REFRESH_S, fetched.refresh_s)
            self._settled.set()
            await self._until(self._clock() + wait_s)

    async def _until(self, moment: float) -> None:
        # In short steps: the loop's own clock stands still while the machine sleeps.
        while (left_s := moment - self._clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, MAX_PAUSE_S))
