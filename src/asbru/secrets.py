"""The one type that holds a secret: a provider key, a virtual key, the operator's token, a proxy's URL.

It never shows itself: ``repr``, ``str``, ``format`` and every encoder that falls back to them give its origin
(``env.NAME``, ``file:/path``) or ``***``. The value comes out of `Secret.reveal` alone, so a search for that name finds
every place that handles one. Comparison takes the same time wherever two values differ.

Virtual keys are known by their `digest`: a key made by `new_virtual_key` carries 256 random bits, so a plain SHA-256 of
it cannot be searched through, and salt or stretching would only cost time on every request. (A key that an operator
makes up is as strong as what was made up; then give its value from the environment, not its digest in a file.)

Nothing here reads an environment or a file; that is the loader's work.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Never

HIDDEN = "***"
VIRTUAL_KEY_PREFIX = "sk-bf-"

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VIRTUAL_KEY_CHARS = 43  # log2(62) * 43 = 256.03 bits


class Secret:
    """A text that is not shown. ``origin`` says where it came from, never what it is.

    Bytes, as a header carries them, are taken as ISO 8859-1, so that they can go out as they came.
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: str | bytes, origin: str = HIDDEN, *, may_be_empty: bool = False) -> None:
        """Raises `ValueError` when ``value`` is empty or blank: an empty secret is not a secret, unless it says no."""
        if not (value.strip() or may_be_empty):
            raise ValueError("an empty secret is not a secret")
        self._value = value if isinstance(value, str) else value.decode("latin-1")
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
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Never:
        raise TypeError("a secret is not pickled")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # an environment variable need not be UTF-8


def digest(key: str | bytes) -> str:
    """The SHA-256 of a key in hexadecimal: what is stored, configured and looked up instead of the key."""
    return sha256(key if isinstance(key, bytes) else _bytes(key)).hexdigest()


def new_virtual_key() -> str:
    """A new virtual key: ``sk-bf-`` and 43 base62 characters from the system's secure random source."""
    return VIRTUAL_KEY_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(_VIRTUAL_KEY_CHARS))
