"""What is remembered of how providers and keys fare: breakers, cooldowns, and where message threads live.

All of it is in memory, bounded (the least recently touched goes first) and driven from outside: ``now`` is in monotonic
seconds.

`Breakers`, one per provider and model, and only for those that fail, so that health costs one dict lookup:

    closed     failures in a row are counted; at ``settings.failures`` it opens. A success forgets everything.
    open       nothing goes there until the pause is over: ``pause_s``, doubling with each failed probe to
               ``max_pause_s``.
    half-open  one request goes there, the probe. Its success closes, its failure opens again, its end without either
               (`abandon`) lets the next request probe. A probe that is never heard of again loses its slot in time.

Every `check` that let a request go must be followed by exactly one of `success` (at the first content, not at the end
of a long stream), `failure` (when the retry decision says that it counts) and `abandon`. Client faults, 429s and
refused credentials are none of a breaker's business: they end in `abandon`. A provider's only candidate has a breaker
like any other: it fails fast instead of making every request wait for the same time-out.

`Cooldowns`, one per key: what a 429 or a refused credential puts a key to rest for. It ends with time alone.

`Affinity`: message id -> where its thread lives, since only that key's workspace has it (contract/gateway.md §9).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

from asbru import config

K = TypeVar("K")
V = TypeVar("V")

_MAX_PROBE_S = 60.0


class Recent(OrderedDict[K, V], Generic[K, V]):
    """A dict of at most ``limit`` entries; the one written longest ago makes room."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.limit:
            self.popitem(last=False)


class _Breaker:
    """The breaker of one provider and model that has failed lately. It is open while ``pause_s`` is not 0."""

    __slots__ = ("failures", "open_until", "pause_s", "probe_until")

    def __init__(self) -> None:
        self.failures = 0
        """In a row, while closed."""
        self.pause_s = 0.0
        """The present pause; 0 while closed."""
        self.open_until = 0.0
        """When a probe may go; means nothing while closed."""
        self.probe_until: float | None = None
        """While a probe is out: when its slot is given to another."""

    def wait_s(self, now: float) -> float | None:
        """None when a request may go; otherwise when to ask again."""
        if not self.pause_s:
            return None
        if now < self.open_until:
            return self.open_until - now
        if self.probe_until is not None and now < self.probe_until:
            return min(self.pause_s, self.probe_until - now)
        return None


class Breakers:
    """The breakers of all candidates."""

    __slots__ = ("_failing",)

    def __init__(self, limit: int = 10_000) -> None:
        self._failing: Recent[tuple[str, str], _Breaker] = Recent(limit)

    def __len__(self) -> int:
        """How many candidates failed lately."""
        return len(self._failing)

    def check(self, provider: str, model: str, now: float) -> float | None:
        """None: go (perhaps as the probe: report how it went). Otherwise the seconds until it makes sense to ask."""
        breaker = self._failing.get((provider, model))
        if breaker is None:
            return None
        wait_s = breaker.wait_s(now)
        if wait_s is None and breaker.pause_s:
            breaker.probe_until = now + _MAX_PROBE_S
        return wait_s

    def peek(self, provider: str, model: str, now: float) -> float | None:
        """What `check` would say, for lists and dry runs: takes no probe's slot."""
        breaker = self._failing.get((provider, model))
        return None if breaker is None else breaker.wait_s(now)

    def success(self, provider: str, model: str) -> None:
        """It answered: closed, and nothing held against it."""
        self._failing.pop((provider, model), None)

    def failure(self, provider: str, model: str, now: float, settings: config.Breaker) -> None:
        """It failed in a way that counts. Failures of requests that were on their way when it opened change nothing."""
        key = provider, model
        breaker = self._failing.get(key) or _Breaker()
        self._failing[key] = breaker
        if breaker.pause_s and breaker.probe_until is None:
            return
        breaker.failures += 1
        if breaker.pause_s:
            breaker.pause_s = min(breaker.pause_s * 2, settings.max_pause_s)
        elif breaker.failures >= settings.failures:
            breaker.pause_s = min(settings.pause_s, settings.max_pause_s)
        else:
            return
        breaker.probe_until = None
        breaker.open_until = now + breaker.pause_s

    def abandon(self, provider: str, model: str) -> None:
        """It ended without telling anything, as when its client went away: a probe gives its slot back."""
        breaker = self._failing.get((provider, model))
        if breaker is not None:
            breaker.probe_until = None


class Cooldowns:
    """Keys at rest. False when there are none."""

    __slots__ = ("_until",)

    def __init__(self, limit: int = 10_000) -> None:
        self._until: Recent[tuple[str, str], float] = Recent(limit)

    def __len__(self) -> int:
        return len(self._until)

    def cool(self, provider: str, key: str, now: float, seconds: float) -> None:
        """Put a key to rest; never shortens a rest it already has."""
        until = now + seconds
        self._until[provider, key] = max(until, self._until.get((provider, key), until))

    def cooling(self, provider: str, key: str, now: float) -> bool:
        """Whether the key is at rest."""
        until = self._until.get((provider, key))
        if until is None:
            return False
        if now < until:
            return True
        del self._until[provider, key]
        return False

    def soonest(self, provider: str, now: float) -> float | None:
        """Seconds until the first of the provider's resting keys is back; None when none rests."""
        rests = [until - now for (name, _), until in self._until.items() if name == provider and until > now]
        return min(rests, default=None)


class Place(NamedTuple):
    """Where a message thread lives."""

    provider: str
    model: str
    key: str


class Affinity:
    """The places of the most recent messages that a thread may continue."""

    __slots__ = ("_places",)

    def __init__(self, limit: int = 10_000) -> None:
        self._places: Recent[str, Place] = Recent(limit)

    def __len__(self) -> int:
        return len(self._places)

    def put(self, message_id: str, provider: str, model: str, key: str) -> None:
        """Remember who answered with this message."""
        self._places[message_id] = Place(provider, model, key)

    def get(self, message_id: str) -> Place | None:
        """Who answered with this message; None when it is not or no longer known."""
        return self._places.get(message_id)
