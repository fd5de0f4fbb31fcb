"""What one configuration is wired to: policy tables, providers, health, prices, models, records.

Built whole from a `Config` and swapped whole when the configuration is reloaded. Nothing here decides or moves
anything; it is what the pipeline is handed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

from asbru.config import Config, Provider
from asbru.fetch import Fetcher
from asbru.models import Catalog
from asbru.policy.auth import Authenticator
from asbru.policy.estimates import Estimates
from asbru.policy.health import Affinity, Breakers, Cooldowns
from asbru.policy.isolation import Isolation
from asbru.policy.keys import KEYLESS
from asbru.policy.retry import RetryBudget
from asbru.policy.router import Table
from asbru.record import Record
from asbru.telemetry.health_log import HealthLog
from asbru.telemetry.prices import Prices
from asbru.upstream.catalog import billed_by, foreign_key_forms, takes_any_key
from asbru.upstream.http1 import TlsContexts
from asbru.upstream.providers import Upstream
from asbru.workers import Workers

_RETIRE_POLL_S = 1.0


class Records(Protocol):
    """Where Records go."""

    def write(self, record: Record) -> None: ...


class Gateway:
    """One configuration, ready to serve."""

    __slots__ = (
        "affinity",
        "auth",
        "breakers",
        "budget",
        "catalog",
        "config",
        "cooldowns",
        "draining",
        "estimates",
        "fetcher",
        "health_log",
        "isolation",
        "loop",
        "prices",
        "rand",
        "records",
        "relaying",
        "table",
        "translating",
        "upstreams",
        "workers",
    )

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        records: Records,
        draining: Callable[[], bool],
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.loop = asyncio.get_running_loop()  # once, because asking costs a system call
        self.workers = Workers(self.loop)
        self.auth = Authenticator(config)
        self.isolation = Isolation(config)
        self.table = Table(config, takes_any_key(config.providers), foreign_key_forms(config.providers))
        contexts = TlsContexts()
        self.upstreams = {
            name: Upstream(name, settings, self.table.providers[name].keys, config.stream, environ, contexts)
            for name, settings in config.providers.items()
        }
        self.relaying = frozenset(name for name, upstream in self.upstreams.items() if upstream.relays)
        """The providers that speak the client's own dialect, with what may go with it."""
        self.translating = len(self.relaying) < len(self.upstreams)
        """Whether any provider speaks another dialect."""
        self.fetcher = Fetcher(config.fetch, contexts.of()) if config.fetch.enabled else None
        self.breakers = Breakers()
        self.cooldowns = Cooldowns()
        self.health_log = HealthLog()
        self.affinity = Affinity()
        self.estimates = Estimates()
        self.budget = RetryBudget(config.routing.retry_budget)
        self.catalog = Catalog(self.upstreams, self.table)
        self.prices = Prices(config.prices, billed_by=billed_by(config.providers))
        self.records = records
        self.draining = draining
        """Whether the process is on its way out, for readiness."""
        self.rand = rand

    def succeed(self, old: Gateway) -> None:
        """Take over what clients rely on across a reload: where threads live, which models there are, what fails.

        What is known of a provider's health is kept while it is reached in the same way, and a key's cooldown while its
        credential is the same too.
        """
        self.affinity = old.affinity
        self.workers = old.workers
        self.catalog.take_over(old.catalog)
        before, now = old.config.providers, self.config.providers
        same = [name for name in now if name in before and _reached(now[name]) == _reached(before[name])]
        self.breakers.take_over(old.breakers, same)
        kept = {
            (name, key)
            for name in same
            for key, credential in _credentials(now[name]).items()
            if _credentials(before[name]).get(key) == credential
        }
        self.cooldowns.take_over(old.cooldowns, kept)

    async def retire(self) -> None:
        """Let what still runs on this configuration finish, then close it."""
        try:
            await self.catalog.close()
            while self.budget.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(_RETIRE_POLL_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop background work and close every upstream connection."""
        await self.catalog.close()
        for upstream in self.upstreams.values():
            await upstream.close()


def _reached(provider: Provider) -> tuple[object, ...]:
    """Where a provider is, and how it is reached."""
    return provider.base_url, provider.dialect, provider.envelope, provider.proxy, provider.tls


def _credentials(provider: Provider) -> dict[str, object]:
    """Key name -> the credential; at a provider without keys there is a key that stands for none."""
    return {key.name or "": (key.value, key.aws, key.google, key.entra) for key in provider.keys} or {KEYLESS: ()}
