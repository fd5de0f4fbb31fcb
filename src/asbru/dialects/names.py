"""Tool names and call ids in a target's alphabet and length: the same for the same name or id, wherever it occurs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache

_HASH_CHARS = 8
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def tool_name(name: str, most_chars: int) -> str:
    """A name in the target's alphabet and length: cut, with a hash of the whole, so that it stays one tool's own."""
    plain = _NOT_IN_NAMES.sub("_", name)
    if plain == name and len(name) <= most_chars:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARS]
    return f"{plain[: most_chars - _HASH_CHARS - 1]}_{digest}"


@lru_cache(maxsize=64)
def id_mapper(pattern: str) -> Callable[[str], str]:
    """Ids that the target accepts stay; others become a hash, the same wherever the id occurs."""
    accepts = re.compile(pattern).fullmatch

    def mapped(tool_id: str) -> str:
        if accepts(tool_id):
            return tool_id
        digest = hashlib.sha256(tool_id.encode()).hexdigest()
        return next((short for length in (32, 9) if accepts(short := digest[:length])), digest[:9])

    return mapped
