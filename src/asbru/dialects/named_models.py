"""Where a request names models besides its ``model``: what a virtual key with a list of models must be held to.

The contract's places are server-side ``fallbacks`` (objects, or the word ``default``), tools with a ``model`` (the
advisor), also where a conversation defines them (``tool_definition``, a compaction's ``tool_changes``), and all of that
in the ``params`` of a batch. Providers add others without notice, so the rule is wider than the list: a member named
``model``, in any case of its letters, names a model wherever it stands, except in what is the caller's own data or a
record of earlier turns (`_DATA`).

A request costs a search for a few words in its members, which nearly always ends there; only objects that contain one
of the words are split. A key that occurs twice in such an object is refused: the provider might read the other one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from asbru.dialects import splice
from asbru.dialects.splice import Members, Span, SpliceError

MAX_NAME_CHARS = 512
_MAX_DEPTH = 10
"""Containers around a ``model``; the contract's deepest place has 8."""
_MAX_OBJECTS = 10_000
_MAX_ITEMS = 100_000
_MAX_HINTS = 100_000

_DATA = frozenset(
    {
        "configs",  # keyed by the names of tools
        "from",  # of a fallback block: which models answered an earlier turn; providers do not act on it
        "input",
        "input_examples",
        "input_schema",
        "metadata",
        "output_schema",
        "schema",
        "tags",
        "to",
        "trigger",
    }
)

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode
_to_item = re.compile(rb"\s*[\[,]\s*").match
_escaped_letters = re.compile(rb"\\u00[4-7]").finditer


class NamedModel(NamedTuple):
    """One place that names a model: its path (``tools.2.model``), the name, and where its raw value stands."""

    where: str
    name: str
    span: Span


def in_message(members: Members, *, own_fallbacks: bool) -> list[NamedModel]:
    """The places of a request for a message; raises `SpliceError` for what could be read in more than one way.

    ``own_fallbacks``: ``fallbacks`` is a list of names for the gateway, which never sends it.
    """
    return list(_Search(members.body).params(members.spans, "", skipped="fallbacks" if own_fallbacks else ""))


def in_batch(body: bytes) -> list[NamedModel]:
    """The places of all requests of a Message Batches body that `splice.batch_models` accepts; as `in_message`."""
    found: list[NamedModel] = []
    start, end = splice.split(body).spans["requests"]
    for index, span in enumerate(_items(body, start, end, bounded=True)):
        search = _Search(body)
        params = search.members(span, f"requests.{index}")["params"]
        where = f"requests.{index}.params"
        found += search.params(search.members(params, where), f"{where}.", skipped="")
    return found


class _Search:
    """A search of one request. What it looks into is bounded, in number and in depth."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._objects_left = _MAX_OBJECTS
        self._hints: list[int] = []
        """Where the member at hand may name a model, in ascending order: all other values are passed over."""

    def members(self, span: Span, where: str) -> dict[str, Span]:
        """The members of the object at `span`, with where they stand in the body."""
        self._objects_left -= 1
        if self._objects_left < 0:
            raise SpliceError(f"more than {_MAX_OBJECTS} objects of the request may name a model")
        start = span[0]
        try:
            spans = splice.split(self._body[start : span[1]]).spans
        except SpliceError as error:
            raise SpliceError(f"{where}: {error}") from None
        return {key: (start + first, start + last) for key, (first, last) in spans.items()}

    def params(self, members: dict[str, Span], prefix: str, *, skipped: str) -> Iterator[NamedModel]:
        """The places of a request's parameters, without its own ``model``."""
        for key, span in members.items():
            if key in ("model", skipped) or key in _DATA:
                continue
            where = prefix + key
            if key.lower() == "fallbacks":
                yield from self._fallbacks(span, where)
                continue
            if key.lower() == "model":
                yield self._place(span, where)
                continue
            raw = self._body[span[0] : span[1]]
            self._hints = _hints(raw, span[0], long=key == "messages")
            if self._hints:
                if key == "messages":
                    splice.turns(raw)  # bounds their number
                yield from self._value(span, where, 1)

    def _fallbacks(self, span: Span, where: str) -> Iterator[NamedModel]:
        """Objects with a ``model``; a string, instead of the list or in it, is a name too."""
        body = self._body
        if body.startswith(b'"', span[0]):
            yield self._place(span, where)
            return
        self._hints = _hints(body[span[0] : span[1]], span[0])
        if not body.startswith(b"[", span[0]):
            yield from self._value(span, where, 1)
            return
        for index, item in enumerate(_items(body, *span)):
            if body.startswith(b'"', item[0]):
                yield self._place(item, f"{where}.{index}")
            else:
                yield from self._value(item, f"{where}.{index}", 2)

    def _value(self, span: Span, where: str, depth: int) -> Iterator[NamedModel]:
        """The places in a value."""
        if depth > _MAX_DEPTH or not self._is_hinted(span):
            return
        body = self._body
        if body.startswith(b"{", span[0]):
            for key, inner in self.members(span, where).items():
                if key.lower() == "model":
                    yield from self._model(inner, f"{where}.{key}")
                elif key not in _DATA:
                    yield from self._value(inner, f"{where}.{key}", depth + 1)
        elif body.startswith(b"[", span[0]):
            for index, inner in enumerate(_items(body, *span, bounded=where.endswith("messages"))):
                if self._is_hinted(inner):
                    yield from self._value(inner, f"{where}.{index}", depth + 1)

    def _is_hinted(self, span: Span) -> bool:
        at = bisect_left(self._hints, span[0])
        return at < len(self._hints) and self._hints[at] < span[1]

    def _model(self, span: Span, where: str) -> Iterator[NamedModel]:
        """The place that a member ``model`` is; none for a value that cannot name one."""
        first = self._body[span[0] : span[0] + 1]
        if first == b'"':
            yield self._place(span, where)
        elif first in b"{[":
            raise SpliceError(f"{where}: Input should be a valid string")

    def _place(self, span: Span, where: str) -> NamedModel:
        try:
            name = _decode_string(self._body[span[0] : span[1]])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SpliceError(f"{where}: Input should be a valid string") from None
        if not 0 < len(name) <= MAX_NAME_CHARS:
            raise SpliceError(f"{where}: String should have 1 to {MAX_NAME_CHARS} characters")
        return NamedModel(where, name, span)


def _hints(raw: bytes, start: int, *, long: bool = False) -> list[int]:
    """Where a member that stands at `start` of the body may have a key ``model``, in ascending order.

    A ``long`` one is a conversation, where a copy costs: there other cases of the letters count only where it defines
    tools. (`rfind` takes a fifth of the time of `find` and `in` here.)
    """
    escaped = raw.rfind(b"\\u00") >= 0
    if not long or escaped or raw.rfind(b'"tool_definition"') >= 0:
        raw = raw.lower()
    found: list[int] = []
    at = raw.rfind(b'"model"')
    while at >= 0 and len(found) <= _MAX_HINTS:
        found.append(start + at)
        at = raw.rfind(b'"model"', 0, at)
    found.reverse()
    if escaped:
        matches = islice(_escaped_letters(raw), _MAX_HINTS + 1)
        found = sorted([*found, *(start + match.start() for match in matches)])
    if len(found) > _MAX_HINTS:
        raise SpliceError(f"the request may name a model in more than {_MAX_HINTS} places")
    return found


def _items(body: bytes, start: int, end: int, *, bounded: bool = False) -> Iterator[Span]:
    """Where the items of the list at `start` stand; ``bounded``: their number is known to be limited."""
    raw = body[start:end]
    # Before there are as many objects; an item and its comma take two bytes.
    if not bounded and len(raw) > 2 * _MAX_ITEMS and raw.count(b",") > _MAX_ITEMS:
        raise SpliceError(f"a list of more than {_MAX_ITEMS} items may name a model")
    try:
        items = _decode_items(raw)
    except msgspec.DecodeError:
        items = _decode_items(splice.mask_surrogates(raw))  # as long as before
    for item in items:
        lead = _to_item(body, start)
        assert lead is not None
        start = lead.end() + len(item)
        yield lead.end(), start
