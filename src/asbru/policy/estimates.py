"""Token counts for providers that cannot count: an estimate, learned from what they said they counted.

For each provider and model the ratio of request bytes to input tokens is kept as a moving average over settled
exchanges; a model that was never asked has the average of all, at first `DEFAULT_BYTES_PER_TOKEN`. Pure and bounded.
"""

from __future__ import annotations

from asbru.policy.health import Recent

DEFAULT_BYTES_PER_TOKEN = 4.0
_MIN_BYTES = 200
"""Smaller requests are mostly JSON around a word or two, and say little about text."""
_WEIGHT = 0.1
_LEAST, _MOST = 0.5, 40.0


class Estimates:
    """What a token has been worth, in bytes."""

    __slots__ = ("_all", "_known")

    def __init__(self, limit: int = 10_000) -> None:
        self._known: Recent[tuple[str, str], float] = Recent(limit)
        self._all = DEFAULT_BYTES_PER_TOKEN

    def learn(self, provider: str, model: str, request_bytes: int, input_tokens: int) -> None:
        """A settled exchange: its request's size, and all the input tokens that were counted, cached ones too."""
        if request_bytes < _MIN_BYTES or input_tokens <= 0:
            return
        seen = min(max(request_bytes / input_tokens, _LEAST), _MOST)
        before = self._known.get((provider, model), seen)
        self._known[provider, model] = before + _WEIGHT * (seen - before)
        self._all += _WEIGHT * (seen - self._all)

    def tokens(self, provider: str, model: str, request_bytes: int) -> int:
        """How many tokens a request of this size probably has; at least one."""
        return max(1, round(request_bytes / self._known.get((provider, model), self._all)))
