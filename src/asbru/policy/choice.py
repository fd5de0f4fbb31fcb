"""Weighted choice, without randomness inside: either a number decides, or the identity of a conversation.

`weighted` spreads independent requests. `rendezvous` (weighted highest-random-weight hashing: Thaler and Ravishankar
1998, weights after Schindelhauer and Schomaker 2005) gives a conversation the same answer every time, shares
conversations out by weight, and when one of the choices is gone moves only the conversations that were on it.

A weight of 0 is never chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log
from typing import TypeVar

T = TypeVar("T")

_HASH_BYTES = 6  # 48 bits: with the half step below it is exact in a float and never 0 or 1
_HASH_SPAN = float(1 << 8 * _HASH_BYTES)


def weighted(items: Sequence[T], weight: Callable[[T], float], rand: float) -> T | None:
    """One item, each as likely as its share of the weights; ``rand`` in [0, 1) decides. None when none has weight."""
    left = rand * sum(map(weight, items))
    chosen = None
    for item in items:
        share = weight(item)
        if share > 0:
            chosen = item
            left -= share
            if left < 0:
                break
    return chosen  # the last one with weight when rounding left a crumb


def rendezvous(items: Sequence[T], weight: Callable[[T], float], name: Callable[[T], str], session: str) -> T | None:
    """The item this session belongs to. ``name`` must be unique among the items and stable over restarts."""
    best, best_score = None, 0.0
    key = blake2b(session.encode("utf-8", "surrogateescape"), digest_size=32).digest()
    for item in items:
        share = weight(item)
        if share > 0:
            drawn = blake2b(name(item).encode(), digest_size=_HASH_BYTES, key=key).digest()
            score = share / -log((int.from_bytes(drawn, "big") + 0.5) / _HASH_SPAN)
            if score > best_score:
                best, best_score = item, score
    return best
