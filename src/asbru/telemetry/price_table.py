"""The table of genai-prices as plain data: which provider has which model, and what its tokens cost when.

Importing that package costs 30 MB of memory for good, and holds up the event loop for some tenths of a second. So a
short-lived process of its own (``python -m asbru.telemetry.price_table``) imports it, prints what we need as JSON and
ends; `load` starts it and reads that. Nothing here uses the network: the prices are those of the installed package.

Matching follows genai-prices: clauses over lower-case names, the first model that matches, providers that offer the
models of others. A test holds both against each other for every model of the table.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from genai_prices import types as source

_TIMEOUT_S = 60.0
_DAY_S = 86_400
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Level(NamedTuple):
    """USD per token, for a prompt of more than `above_tokens` tokens, cached ones included."""

    above_tokens: int
    input: float
    output: float
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float


Rates = tuple[Level, ...]
"""The levels by size of the prompt, the smallest first; the highest that applies counts for every token."""


class Clause(msgspec.Struct, frozen=True, array_like=True):
    """Whether a lower-case name is meant: a test and what to test for, or ``or``/``and`` of clauses."""

    test: str
    value: str | tuple[Clause, ...]

    def matches(self, name: str) -> bool:
        """Whether `name` is meant."""
        if isinstance(self.value, str):
            return _TESTS[self.test](name, self.value)
        return (any if self.test == "or" else all)(clause.matches(name) for clause in self.value)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "contains": str.__contains__,
    "equals": str.__eq__,
    "regex": lambda name, pattern: re.search(pattern, name) is not None,
}


class Period(msgspec.Struct, frozen=True, array_like=True):
    """Rates and when they hold: from an instant on, and at some time of the day in UTC."""

    rates: Rates
    since_unix_s: float | None = None
    day_from_s: int | None = None
    day_to_s: int | None = None

    def holds(self, now_s: float) -> bool:
        """Whether the rates hold at that instant."""
        if self.since_unix_s is not None:
            return now_s >= self.since_unix_s
        if self.day_from_s is None or self.day_to_s is None:
            return True
        time_s = now_s % _DAY_S
        if self.day_to_s < self.day_from_s:
            return time_s >= self.day_from_s or time_s < self.day_to_s
        return self.day_from_s <= time_s < self.day_to_s


class Model(msgspec.Struct, frozen=True, array_like=True):
    """A model of one provider. `periods` is never empty; the later one wins where several hold."""

    match: Clause
    periods: tuple[Period, ...]

    def rates(self, now_s: float) -> Rates:
        """What it costs at that instant; no levels when that is not told per token."""
        return next((period.rates for period in reversed(self.periods) if period.holds(now_s)), self.periods[0].rates)


class Provider(msgspec.Struct, frozen=True, array_like=True):
    """A provider: how it is told by its name or as the maker of a model, and whose models it offers besides its own."""

    id: str
    match: Clause | None
    maker_match: Clause | None
    also: tuple[str, ...]
    models: tuple[Model, ...]


class Table(msgspec.Struct, frozen=True):
    """All providers. Names must be lower case."""

    providers: tuple[Provider, ...] = ()

    def named(self, name: str) -> Provider | None:
        """The provider of that id, or else the first that recognises the name as its own."""
        by_id = (provider for provider in self.providers if provider.id == name)
        by_match = (provider for provider in self.providers if provider.match and provider.match.matches(name))
        return next(by_id, None) or next(by_match, None)

    def maker(self, model: str) -> Provider | None:
        """The provider that the model is known by."""
        makers = (provider for provider in self.providers if provider.maker_match)
        return next((maker for maker in makers if maker.maker_match and maker.maker_match.matches(model)), None)

    def find(self, provider: Provider, model: str) -> Model | None:
        """The model at the provider, its own first."""
        others = (other for name in provider.also for other in self.providers if other.id == name)
        models = [candidate for each in (provider, *others) for candidate in each.models]
        for name in dict.fromkeys((model, _COMPACT_DATE.sub(r"-\1-\2-\3", model))):
            for candidate in models:
                if candidate.match.matches(name):
                    return candidate
        return None


@cache
def load() -> Table:
    """The table. Takes some tenths of a second, so call it in a thread. Raises OSError or ValueError without one."""
    command = [sys.executable, "-P", "-m", __name__]  # -P: nothing is imported from the working directory
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter and module)
            command, capture_output=True, check=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.SubprocessError as error:
        raise ValueError(f"the process that reads genai-prices failed: {error}") from error
    return msgspec.json.decode(done.stdout, type=Table)


# --- in the process that imports genai-prices


def _extract() -> Table:
    from genai_prices.data_snapshot import get_snapshot

    return Table(
        tuple(
            Provider(
                id=provider.id,
                match=None if provider.provider_match is None else _clause(provider.provider_match),
                maker_match=None if provider.model_match is None else _clause(provider.model_match),
                also=tuple(provider.fallback_model_providers or ()),
                models=tuple(Model(_clause(model.match), _periods(model)) for model in provider.models),
            )
            for provider in get_snapshot().providers
        )
    )


def _clause(match: source.MatchLogic) -> Clause:
    # Each kind of clause is a dataclass of one field, named as the test is (with an underscore where it must).
    ((name, value),) = vars(match).items()
    test = name.rstrip("_")
    if isinstance(value, list):
        return Clause(test, tuple(_clause(clause) for clause in value))
    return Clause(test, value if test == "regex" else value.lower())


def _periods(model: source.ModelInfo) -> tuple[Period, ...]:
    if not isinstance(model.prices, list):
        return (Period(_rates(model.prices)),)
    periods: list[Period] = []
    for conditional in model.prices:
        rates, when = _rates(conditional.prices), conditional.constraint
        if when is None:
            periods.append(Period(rates))
        elif hasattr(when, "start_date"):
            midnight = datetime(when.start_date.year, when.start_date.month, when.start_date.day, tzinfo=UTC)
            periods.append(Period(rates, since_unix_s=midnight.timestamp()))
        else:
            periods.append(Period(rates, day_from_s=_time_s(when.start_time), day_to_s=_time_s(when.end_time)))
    return tuple(periods)


def _time_s(of_day: time) -> int:
    moment = datetime(1970, 1, 2, of_day.hour, of_day.minute, of_day.second, tzinfo=of_day.tzinfo or UTC)
    return int(moment.timestamp()) % _DAY_S


def _rates(price: source.ModelPrice) -> Rates:
    """The prices that a Messages API usage has counts for; each of them may change at sizes of its own."""
    plain, output = price.input_mtok, price.output_mtok
    if plain is None or output is None:
        return ()
    # What has no price of its own is billed as what it is a part of.
    write = plain if price.cache_write_mtok is None else price.cache_write_mtok
    prices = (
        plain,
        output,
        plain if price.cache_read_mtok is None else price.cache_read_mtok,
        write if price.cache_write_5m_mtok is None else price.cache_write_5m_mtok,
        write if price.cache_write_1h_mtok is None else price.cache_write_1h_mtok,
    )
    starts = {tier.start for each in prices if not isinstance(each, Decimal) for tier in each.tiers}
    return tuple(Level(start, *(_per_token(each, start) for each in prices)) for start in sorted({0, *starts}))


def _per_token(price: Decimal | source.TieredPrices, start: int) -> float:
    """The price of a prompt that is just beyond `start` tokens."""
    if not isinstance(price, Decimal):
        price = next((tier.price for tier in reversed(price.tiers) if tier.start <= start), price.base)
    return float(price / 1_000_000)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_extract()))
