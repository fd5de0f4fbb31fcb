"""Identifiers derived from what they identify: the same request always gets the same ids.

An id looks like the real one (``msg_01`` and 22 base62 characters) and is a digest of its parts, so that answers are
reproducible byte for byte and nothing has to be remembered to make them.
"""

from __future__ import annotations

import hashlib

import msgspec

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EPOCH = "2026-01-01T00:00:00Z"
"""When everything in the sandbox was created."""
NEXT_DAY = "2026-01-02T00:00:00Z"
"""When what expires a day later expires."""


def digest(*parts: bytes) -> bytes:
    """A digest of the parts; where one ends and the next begins counts."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.digest()


def identifier(prefix: str, *parts: bytes) -> str:
    """``<prefix>_01`` and 22 characters that depend on all parts."""
    number = int.from_bytes(digest(prefix.encode(), *parts)[:17], "big")
    letters = []
    for _ in range(22):
        number, remainder = divmod(number, 62)
        letters.append(ALPHABET[remainder])
    return f"{prefix}_01{''.join(letters)}"


def fingerprint(body: dict[str, object]) -> bytes:
    """What a request's ids depend on: all of its body but ``stream``, so that both ways of answering agree."""
    return digest(msgspec.json.encode({key: value for key, value in body.items() if key != "stream"}, order="sorted"))
