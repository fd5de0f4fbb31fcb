"""What is remembered of how providers and keys fare: breakers, cooldowns, and where message threads live.

All of it is in memory, bounded (the least recently touched goes first) and driven from outside: ``now`` is in monotonic
seconds.

`Breakers`, one per provider, model and kind of call, and only for those that fail, so that health costs one dict
lookup. Kinds fail apart: a host whose token counting is broken still serves messages.

    closed     failures in a row are counted; at ``settings.failures`` it opens. A success forgets everything.
    open       nothing goes there until the pause is over: ``pause_s``, doubling with each failed probe to
               ``max_pause_s``.
    half-open  one request goes there, the probe. Its failure opens again, its end without either (`abandon`) lets the
               next request probe. A probe that is never heard of again loses its slot in time.

While it is not closed the failures and ends of other requests, on their way since before, change nothing; any success
closes, as content is proof whoever it is for. `check` says who is the probe, which is to be said again at the end.

Every `check` that let a request go must be followed by `success` (at the first content, not at the end of a long
stream), by `failure` (as often as the retry decision says that it counts) or by `abandon`. Client faults, 429s and
refused credentials are none of a breaker's business: they end in `abandon`. A provider's only candidate has a breaker
like any other: it fails fast instead of making every request wait for the same time-out.

`Cooldowns`, one per key, or per key and model when the provider's answer speaks of the model: how long a 429 or a
refused credential keeps the key from being used. It ends with time alone.

`Affinity`: message id -> where its thread lives, since only that key's workspace has it (contract/gateway.md §9).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from copy import copy
from typing import Generic, Literal, NamedTuple, TypeVar

from asbru import config

K = TypeVar("K")
V = TypeVar("V")

CallKind = Literal["messages", "count_tokens", "complete", "models", "batches", "files"]
"""What a provider is called for. Each kind of call fails and recovers by itself."""

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


class Turn(NamedTuple):
    """What `Breakers.check` says to a request."""

    wait_s: float | None
    """None: go. Otherwise how long until it makes sense to ask again."""
    probe: int = 0
    """The number of the probe that the request is; 0 for any other request."""


_GO = Turn(None)


class _Breaker:
    """The breaker of one candidate that has failed lately. It is open while ``pause_s`` is not 0."""

    __slots__ = ("failures", "open_until", "opened_at", "pause_s", "probe", "probe_until")

    def __init__(self) -> None:
        self.opened_at = 0.0
        """When it opened; means nothing while closed."""
        self.failures = 0
        """In a row, while closed."""
        self.pause_s = 0.0
        """The present pause; 0 while closed."""
        self.open_until = 0.0
        """When a probe may go; means nothing while closed."""
        self.probe = 0
        """The probe that is out; 0 while none is."""
        self.probe_until = 0.0
        """When its slot is given to another; means nothing while none is out."""

    def wait_s(self, now: float) -> float | None:
        """None when a request may go; otherwise when to ask again."""
        if not self.pause_s:
            return None
        if now < self.open_until:
            return self.open_until - now
        if self.probe and now < self.probe_until:
            return min(self.pause_s, self.probe_until - now)
        return None


class Breakers:
    """The breakers of all candidates."""

    __slots__ = ("_failing", "_probes")

    def __init__(self, limit: int = 10_000) -> None:
        self._failing: Recent[tuple[str, str, CallKind], _Breaker] = Recent(limit)
        self._probes = 0
        """How many there have been, of all candidates: no two have one number."""

    def take_over(self, old: Breakers, providers: Collection[str]) -> None:
        """Go on from what ``old`` knows of these providers; whatever is out as a probe there says nothing here."""
        for candidate, known in old._failing.items():
            if candidate[0] in providers:
                breaker = self._failing[candidate] = copy(known)
                breaker.probe = 0

    def __len__(self) -> int:
        """How many candidates failed lately."""
        return len(self._failing)

    def check(self, provider: str, model: str, call: CallKind, now: float) -> Turn:
        """Whether a request may go, and if so, whether as the probe."""
        breaker = self._failing.get((provider, model, call))
        if breaker is None:
            return _GO
        wait_s = breaker.wait_s(now)
        if wait_s is not None:
            return Turn(wait_s)
        if not breaker.pause_s:
            return _GO
        self._probes += 1
        breaker.probe = self._probes
        breaker.probe_until = now + _MAX_PROBE_S
        return Turn(None, breaker.probe)

    def peek(self, provider: str, model: str, call: CallKind, now: float) -> float | None:
        """The wait that `check` would say, for lists and dry runs: takes no probe's slot."""
        breaker = self._failing.get((provider, model, call))
        return None if breaker is None else breaker.wait_s(now)

    def success(self, provider: str, model: str, call: CallKind, now: float) -> float | None:
        """It answered: closed, and nothing held against it. For how long it had been open; None when it was closed."""
        breaker = self._failing.pop((provider, model, call), None)
        return now - breaker.opened_at if breaker is not None and breaker.pause_s else None

    def failure(
        self, provider: str, model: str, call: CallKind, probe: int, now: float, settings: config.Breaker
    ) -> float | None:
        """It failed in a way that counts; ``probe`` as `check` said. The pause when this opened it, otherwise None."""
        key = provider, model, call
        breaker = self._failing.get(key) or _Breaker()
        self._failing[key] = breaker
        if breaker.pause_s and (not probe or probe != breaker.probe):
            return None
        breaker.failures += 1
        opened = not breaker.pause_s
        if breaker.pause_s:
            breaker.pause_s = min(breaker.pause_s * 2, settings.max_pause_s)
        elif breaker.failures >= settings.failures:
            breaker.pause_s = min(settings.pause_s, settings.max_pause_s)
            breaker.opened_at = now
        else:
            return None
        breaker.probe = 0
        breaker.open_until = now + breaker.pause_s
        return breaker.pause_s if opened else None

    def abandon(self, provider: str, model: str, call: CallKind, probe: int) -> None:
        """It ended without telling anything, as when its client went away: the probe gives its slot back."""
        breaker = self._failing.get((provider, model, call))
        if breaker is not None and breaker.probe == probe:
            breaker.probe = 0


class Cooldowns:
    """Keys that are not used for a while, for every model or for one. False when there are none."""

    __slots__ = ("_until",)

    def __init__(self, limit: int = 10_000) -> None:
        self._until: Recent[tuple[str, str, str], float] = Recent(limit)

    def __len__(self) -> int:
        return len(self._until)

    def take_over(self, old: Cooldowns, keys: Collection[tuple[str, str]]) -> None:
        """Go on from what ``old`` knows of these keys, each with its provider."""
        for about, until in old._until.items():
            if about[:2] in keys:
                self._until[about] = until

    def cool(self, provider: str, key: str, model: str, now: float, seconds: float) -> bool:
        """Do not use a key for ``model``, or for any when that is "". Whether it was in use until now.

        Never shortens a cooldown that has begun.
        """
        until = now + seconds
        before = self._until.get((provider, key, model), 0.0)
        self._until[provider, key, model] = max(until, before)
        return before <= now

    def cooling(self, provider: str, key: str, model: str, now: float) -> bool:
        """Whether the key is not to be used for the model now."""
        return self._ends(provider, key, model, now) is not None

    def soonest(self, provider: str, keys: Iterable[str], model: str, now: float) -> float | None:
        """Seconds until the first of these keys may be used for the model again; None when none is on cooldown."""
        ends = (self._ends(provider, key, model, now) for key in keys)
        return min((end - now for end in ends if end is not None), default=None)

    def _ends(self, provider: str, key: str, model: str, now: float) -> float | None:
        """When the key may be used for the model again; None: now."""
        latest: float | None = None
        for about in ("", model) if model else ("",):
            until = self._until.get((provider, key, about))
            if until is None:
                continue
            if now < until:
                latest = max(until, latest or until)
            else:
                del self._until[provider, key, about]
        return latest


class Place(NamedTuple):
    """Where a message thread lives."""

    provider: str
    model: str
    key: str
    owner: str = ""
    """Who was answered: to others it may be closed."""


class Affinity:
    """The places of the most recent messages that a thread may continue."""

    __slots__ = ("_places",)

    def __init__(self, limit: int = 10_000) -> None:
        self._places: Recent[str, Place] = Recent(limit)

    def __len__(self) -> int:
        return len(self._places)

    def put(self, message_id: str, provider: str, model: str, key: str, owner: str = "") -> None:
        """Remember who answered with this message."""
        self._places[message_id] = Place(provider, model, key, owner)

    def get(self, message_id: str) -> Place | None:
        """Who answered with this message; None when it is not or no longer known."""
        return self._places.get(message_id)
