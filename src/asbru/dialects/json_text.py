"""Values as JSON, whatever numbers they hold.

msgspec is used everywhere else; it refuses integers of more than 64 bits, which JSON allows and models write.
"""

from __future__ import annotations

import json

import msgspec

_encode = msgspec.json.encode


def encode(value: object) -> bytes:
    """The value as compact JSON."""
    try:
        return _encode(value)
    except OverflowError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_raw).encode()


def _raw(value: object) -> object:
    """What `json` does not know: JSON that is there already."""
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"{type(value).__name__} is no JSON")
