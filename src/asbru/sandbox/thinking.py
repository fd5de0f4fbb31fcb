"""Thinking that proves where it came from: signatures that are made here and checked when they come back.

A signature is 16 bytes of the request's fingerprint and a MAC over them and the thinking text, in base64. Anyone may
know the key: it is not a secret, it only tells untouched blocks from altered ones, with the same bytes in every run.
"""

from __future__ import annotations

import base64
import binascii
import hmac

KEY = b"asbru sandbox thinking"


def _mac(kind: str, seed: bytes, text: str) -> bytes:
    return hmac.digest(KEY, b"%s:%s%s" % (kind.encode(), seed, text.encode()), "sha256")


def sign(kind: str, fingerprint: bytes, text: str) -> str:
    """The ``signature`` of a ``thinking`` block with this visible text, or the ``data`` of a ``redacted_thinking``."""
    seed = fingerprint[:16]
    return base64.b64encode(seed + _mac(kind, seed, text)).decode()


def is_genuine(kind: str, signature: str, text: str) -> bool:
    """Whether `sign` made this signature for this kind of block and this text."""
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(decoded[16:], _mac(kind, decoded[:16], text)) and len(decoded) == 48


def thought(text: str) -> str:
    """What the sandbox 'thinks' about a user's message."""
    return (
        f"The user's last message has {len(text)} characters. "
        "I am a sandbox, so I will not look for meaning in it; I will answer from the request alone."
    )
