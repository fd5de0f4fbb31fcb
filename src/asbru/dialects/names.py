"""Tool names and call ids in a target's alphabet and length: the same for the same name or id, wherever it occurs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
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


# Ids of tool calls. What a provider calls a call, it must be given back with the result, in any later turn and by any
# worker: an id that a client could not carry, or that the target would take for foreign, goes to the client encoded,
# with a tag that only this provider's ids of this kind have.

_carried = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_encoded = re.compile(r"toolu_as1([0-9a-f]{8})_[a-zA-Z0-9]{0,8}_([a-zA-Z0-9_-]+)").fullmatch
_PREFIX = "toolu_as1"
_SALT_CHARS = 8
_MAX_ID_CHARS = 65_536
_NOT_IN_SALT = re.compile(r"[^a-zA-Z0-9]")


def _tag(provider: str, id: bytes) -> str:
    return hashlib.sha256(provider.encode() + b"\0" + id).hexdigest()[:8]


def client_id(id: str, provider: str, pattern: str, form: str | None, message_id: str) -> str:
    """A provider's id as the client gets it: as it is, where that comes back unchanged; otherwise encoded.

    ``message_id`` tells apart ids that a provider uses again in each of its answers. An empty id stays empty.
    """
    if not id or (form is None and _carried(id) and _accepts(pattern)(id) and not id.startswith(_PREFIX)):
        return id
    raw = id.encode("utf-8", "replace")
    if len(raw) > _MAX_ID_CHARS:
        return f"toolu_{hashlib.sha256(raw).hexdigest()[:24]}"
    salt = _NOT_IN_SALT.sub("", message_id)[-_SALT_CHARS:]
    return f"{_PREFIX}{_tag(provider, raw)}_{salt}_{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def own_id(id: str, provider: str) -> str | None:
    """What the provider itself called a call, from what `client_id` made of it; None for every other id."""
    match = _encoded(id) if len(id) <= 2 * _MAX_ID_CHARS else None
    if match is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
        return raw.decode() if _tag(provider, raw) == match[1] else None
    except ValueError:
        return None


class CallIds:
    """The ids of one conversation's calls, as the target is sent them.

    ``calls`` are the client's ids and the names sent, in order. An id of the target's own goes back as it was; one that
    it accepts stays; another is given the target's ``form`` (``functions.{name}:{index}``), or becomes a hash.
    """

    __slots__ = ("_hashed", "_ids", "_provider")

    def __init__(self, provider: str, pattern: str, form: str | None, calls: Sequence[tuple[str, str]]) -> None:
        self._provider = provider
        self._hashed = id_mapper(pattern)
        own = {id: found for id, _ in calls if (found := own_id(id, provider)) is not None}
        self._ids: dict[str, str] = dict(own)
        if form is None:
            return
        taken = set(own.values())
        index = 0
        for id, name in calls:
            if id not in self._ids:
                while (made := form.replace("{name}", name).replace("{index}", str(index))) in taken:
                    index += 1
                taken.add(made)
                self._ids[id] = made
            index += 1

    def sent(self, id: str) -> str:
        """The id upstream."""
        known = self._ids.get(id)
        if known is None:
            known = self._ids[id] = own_id(id, self._provider) or self._hashed(id)
        return known


@lru_cache(maxsize=64)
def _accepts(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern).fullmatch


@lru_cache(maxsize=64)
def id_mapper(pattern: str) -> Callable[[str], str]:
    """Ids that the target accepts stay; others become a hash, the same wherever the id occurs."""
    accepts = _accepts(pattern)

    def mapped(tool_id: str) -> str:
        if accepts(tool_id):
            return tool_id
        digest = hashlib.sha256(tool_id.encode()).hexdigest()
        return next((short for length in (32, 9) if accepts(short := digest[:length])), digest[:9])

    return mapped
