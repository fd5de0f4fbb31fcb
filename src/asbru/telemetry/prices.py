"""What tokens cost: rates per model, resolved once, and the arithmetic on them.

Rates come from the configuration's ``prices`` first, then from the table of genai-prices, which `Prices.load` reads:
call it in a thread once the process answers requests. Until then, and for a model that nobody knows, there are no
rates and no cost to tell; it is never guessed.

Not in a cost: what is billed by other units than tokens (web searches), and the surcharges and discounts of a request
(``speed``, ``service_tier``, batches), since the Record does not hold them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping

from asbru.config import Price
from asbru.record import Usage
from asbru.telemetry import price_table
from asbru.telemetry.price_table import Level, Rates

__all__ = ["Level", "Prices", "Rates", "cost_usd"]

log = logging.getLogger("asbru.prices")

_MAX_CACHED = 1000
_MAX_NAME_CHARS = 200  # a model's name that is longer is none, and would be kept
_REFRESH_S = 900  # prices change on dates and, at some providers, at times of day: all on a quarter of an hour, UTC
_MILLION = 1_000_000


# What names of one model differ in: the host's prefixes, the date or version of a snapshot.
_PREFIX = re.compile(r"^(?:.*/)?(?:[a-z0-9-]+\.(?=[a-z]))*")
_SNAPSHOT = re.compile(r"(?:[-@](?:20\d{6}|20\d\d-\d\d-\d\d|latest|default)|(?:-v\d{1,2})?:\d{1,2})+\Z")


def is_same_model(one: str, other: str) -> bool:
    """Whether two names differ only in a snapshot's date or version, or in a host's prefixes."""
    first, second = (_SNAPSHOT.sub("", _PREFIX.sub("", name.lower(), count=1)) for name in (one, other))
    return first == second


def cost_usd(rates: Rates, usage: Usage) -> float:
    """What the usage costs. Cache writes whose time to live was not said are taken as of five minutes."""
    one_hour = usage.cache_creation_1h_tokens
    written = max(usage.cache_creation_input_tokens, usage.cache_creation_5m_tokens + one_hour)
    prompt = usage.input_tokens + usage.cache_read_input_tokens + written
    level = rates[0]
    for higher in rates[1:]:
        if prompt > higher.above_tokens:
            level = higher
    return (
        usage.input_tokens * level.input
        + usage.output_tokens * level.output
        + usage.cache_read_input_tokens * level.cache_read
        + (written - one_hour) * level.cache_write_5m
        + one_hour * level.cache_write_1h
    )


class Prices:
    """The rates of every provider and model. `clock` gives Unix seconds.

    ``billed_by`` says which provider of the table a configured one is, where its name does not tell; "" is none.
    """

    def __init__(
        self,
        overrides: Mapping[str, Price],
        clock: Callable[[], float] = time.time,
        billed_by: Mapping[str, str] | None = None,
    ) -> None:
        self._billed_by = billed_by or {}
        self._overrides = {name: _from_config(price) for name, price in overrides.items()}
        self._clock = clock
        self._table = price_table.Table()
        self._cache: dict[tuple[str, str], Rates | None] = {}
        self._cached_until_s = 0.0
        self._own_names: dict[str, bool] = {}
        """Names that the configuration gives a price -> whether the table has no such model; as many as those."""

    def load(self) -> None:
        """Read the table; takes some tenths of a second the first time in a process. Safe in a thread, never raises."""
        try:
            self._table = price_table.load()
        except (OSError, ValueError) as error:
            log.warning("no prices but those of the configuration are known: %s", error)
        self._cached_until_s = 0.0
        self._own_names = {}

    def rates(self, provider: str, model: str) -> Rates | None:
        """The rates of a model at a provider, by the provider's name in the configuration; None when not known.

        A provider that the table does not know, or not with this model, is taken to charge what the model's maker does.
        """
        if len(model) > _MAX_NAME_CHARS:
            return None
        now_s = self._clock()
        if now_s >= self._cached_until_s or len(self._cache) >= _MAX_CACHED:
            self._cache = {}
            self._cached_until_s = (now_s // _REFRESH_S + 1) * _REFRESH_S
        key = provider, model
        try:
            return self._cache[key]
        except KeyError:
            rates = self._cache[key] = self._resolve(provider, model, now_s)
            return rates

    def cost_usd(self, provider: str, asked: str, parts: Iterable[tuple[str, Usage]]) -> float | None:
        """What an answer costs whose parts these models did, when ``asked`` was asked for; None when not known."""
        total = 0.0
        for model, usage in parts:
            rates = self.rates_of_answer(provider, asked, model)
            if rates is None:
                return None
            total += cost_usd(rates, usage)
        return total

    def rates_of_answer(self, provider: str, asked: str, answered: str) -> Rates | None:
        """The rates of the model that answered, by the name that the answer gives it.

        A snapshot of the model asked for costs what that does. A name of the operator's own, such as a deployment's,
        has its price whatever the model behind it calls itself. A model that nobody knows is taken for the one asked
        for.
        """
        if answered == asked:
            return self.rates(provider, asked)
        if is_same_model(asked, answered):
            return self.rates(provider, asked) or self.rates(provider, answered)
        if f"{provider}/{answered}" not in self._overrides and self._is_own_name(provider, asked):
            return self.rates(provider, asked)
        return self.rates(provider, answered) or self.rates(provider, asked)

    def _is_own_name(self, provider: str, model: str) -> bool:
        name = f"{provider}/{model}"
        if name not in self._overrides:
            return False
        if name not in self._own_names:
            self._own_names[name] = self._listed(provider, model, self._clock()) is None
        return self._own_names[name]

    def _resolve(self, provider: str, model: str, now_s: float) -> Rates | None:
        override = self._overrides.get(f"{provider}/{model}")
        if override is not None:
            return override
        return self._listed(provider, model, now_s)

    def _listed(self, provider: str, model: str, now_s: float) -> Rates | None:
        table, name = self._table, model.lower()
        biller = self._billed_by.get(provider, provider.lower())
        if not biller:
            return None
        for candidate in (table.named(biller), table.maker(name)):
            found = candidate and table.find(candidate, name)
            if found:
                return found.rates(now_s) or None
        return None


def _from_config(price: Price) -> Rates:
    """What the configuration leaves out costs as much as what is like it: input, and the shorter cache write."""
    write_5m = price.input if price.cache_write_5m is None else price.cache_write_5m
    usd_per_million = (
        price.input,
        price.output,
        price.input if price.cache_read is None else price.cache_read,
        write_5m,
        write_5m if price.cache_write_1h is None else price.cache_write_1h,
    )
    return (Level(0, *(usd / _MILLION for usd in usd_per_million)),)
