"""What the log says about the health of providers and keys: one line when something changes, not one for each request.

An operator learns from it what is broken, since when, and what the gateway does about it. Lines that a failing provider
would repeat with every request are limited to one per provider and cause each `REPEAT_S`; the next one says how many
were left out. Times are monotonic seconds and come in as ``now``. Texts from providers must be masked and cut before.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

log = logging.getLogger("asbru.health")

REPEAT_S = 60.0
_MAX_SUBJECTS = 1_000


class HealthLog:
    """Writes the lines, and remembers which were written lately."""

    __slots__ = ("_written",)

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()
        """Subject -> when its last line was written, and how many were left out since."""

    def key_rejected(self, provider: str, key: str, model: str, status: int, text: str, cool_s: float) -> None:
        """A stored key was refused (401, 402, 403, or an error about its account) and is on cooldown."""
        scope = f" for {model}" if model else ""
        log.warning(
            'provider %s: key "%s" rejected (%d)%s; not used%s for %.0f s',
            provider,
            key,
            status,
            _quoted(text),
            scope,
            cool_s,
        )

    def key_limited(self, provider: str, key: str, model: str, cool_s: float) -> None:
        """A stored key reached its provider's rate limit (429) and is on cooldown."""
        scope = f" for {model}" if model else ""
        log.info('provider %s: key "%s" is rate limited (429); not used%s for %.0f s', provider, key, scope, cool_s)

    def no_usable_key(self, provider: str, model: str, wait_s: float, now: float) -> None:
        """Every key that may serve the model is on cooldown."""
        if self._suppressed(("no_usable_key", provider, model), now) is not None:
            log.warning(
                "provider %s: no usable key for %s: all are on cooldown; the first is used again in %.0f s",
                provider,
                model or "this request",
                wait_s,
            )

    def attempt_failed(self, provider: str, outcome: str, text: str, now: float) -> None:
        """An attempt failed in a way that counts against the provider."""
        left_out = self._suppressed(("attempt_failed", provider, outcome), now)
        if left_out is not None:
            more = f" ({left_out} more since the last line)" if left_out else ""
            log.warning("provider %s: attempt failed: %s%s%s", provider, outcome, _quoted(text), more)

    def breaker_opened(self, provider: str, model: str, call: str, outcome: str, pause_s: float) -> None:
        """Too many attempts failed in a row: the candidate is skipped until a probe succeeds."""
        log.warning(
            "provider %s: circuit breaker opened for %s (%s): last failure %s; next try in %.0f s",
            provider,
            model or "requests without a model",
            call,
            outcome,
            pause_s,
        )

    def breaker_closed(self, provider: str, model: str, call: str, open_s: float) -> None:
        """A probe succeeded."""
        log.warning(
            "provider %s: circuit breaker closed for %s (%s): serving again after %.0f s",
            provider,
            model or "requests without a model",
            call,
            open_s,
        )

    def _suppressed(self, subject: tuple[str, ...], now: float) -> int | None:
        """How many lines were left out since the last one about this; None when this one is to be left out too."""
        written = self._written.get(subject)
        if written is None:
            if len(self._written) >= _MAX_SUBJECTS:
                self._written.popitem(last=False)
            self._written[subject] = [now, 0]
            return 0
        if now - written[0] < REPEAT_S:
            written[1] += 1
            return None
        left_out = int(written[1])
        written[:] = now, 0
        return left_out


def _quoted(text: str) -> str:
    return f": {text}" if text else ""
