"""The one type that holds a secret: a provider key, a virtual key, the operator's token, a proxy's URL.

It never shows itself: ``repr``, ``str``, ``format`` and every encoder that falls back to them give its origin
(``env.NAME``, ``file:/path``) or ``***``. The value comes out of `Secret.reveal` alone, so a search for that name finds
every place that handles one. Comparison takes the same time wherever two values differ.

Nothing here reads an environment or a file; that is the loader's work.
"""

from __future__ import annotations

import hmac
from typing import Never

HIDDEN = "***"


class Secret:
    """A text that is not shown. ``origin`` says where it came from, never what it is."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str = HIDDEN) -> None:
        """Raises `ValueError` when ``value`` is empty: an empty secret is not a secret."""
        if not value:
            raise ValueError("an empty secret is not a secret")
        self._value = value
        self.origin = origin

    def reveal(self) -> str:
        """The secret itself, for the wire or for a digest and for nothing else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.origin})"

    def __str__(self) -> str:
        return self.origin

    def __format__(self, spec: str) -> str:
        return format(self.origin, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Never:
        raise TypeError("a secret is not pickled")
