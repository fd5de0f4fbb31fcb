"""The one reader of a provider's JSON, tolerant of broken characters, and what makes whole characters of halves.

Providers that cut text by tokens or by UTF-16 units send half of a character: an escape such as ``\\ud83d`` in one
chunk and ``\\ude00`` in the next, or never. msgspec refuses both, and one emoji would end an answer. A `Reader` reads
such documents all the same: in a field that is a piece of a longer text (`_PIECES`) a half at the edge is kept for
`join_halves`, every other half becomes U+FFFD. `MessageStream` joins the pieces.

`ArgumentPieces` does the same for pieces of JSON text, where a half may be an escape that is cut anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import msgspec

from asbru.dialects import bounds, json_text
from asbru.limits import Limits

T = TypeVar("T")

REPLACEMENT = "\ufffd"
INVALID = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What a `Reader` raises for what is no JSON, nested too deeply, or not of the expected shape."""

_PIECES = frozenset(
    {"content", "text", "delta", "refusal", "reasoning", "reasoning_content", "thinking", "summary", "arguments"}
    | {"partial_json", "input"}
)
_may_have_halves = re.compile(rb"\\u[dD][89a-fA-F]").search
_halves = re.compile("[\ud800-\udfff]")


MAX_EVENT_VALUES = 32_768
"""JSON values in one event of a stream: more are worked on for longer than the loop may be held (some 150 ms)."""


class Reader(Generic[T]):
    """Decodes documents of one type; use it as ``msgspec.json.Decoder(type).decode``. Raises what `INVALID` names.

    ``in_pieces`` False: no field is a piece of a longer text, so no half is kept. ``max_values`` refuses a document of
    more JSON values, for those that are worked on in a turn of the event loop. ``raw`` names the fields that the type
    has as `msgspec.Raw`.
    """

    __slots__ = ("_decode", "_limits", "_pieces", "_raw", "_type")

    def __init__(
        self, type: type[T], *, in_pieces: bool = True, max_values: int | None = None, raw: Collection[str] = ()
    ) -> None:
        self._type = type
        self._raw = frozenset(raw)
        self._limits = None if max_values is None else Limits(max_values=max_values)
        self._pieces = _PIECES if in_pieces else frozenset[str]()
        self._decode = msgspec.json.Decoder(type).decode

    def __call__(self, data: bytes) -> T:
        if self._limits is not None and len(data) > self._limits.max_values:
            try:
                bounds.check(data, self._limits)
            except bounds.BoundError as error:
                raise msgspec.DecodeError(str(error)) from None
        try:
            return self._decode(data)
        except (msgspec.DecodeError, UnicodeError) as error:
            if isinstance(error, msgspec.ValidationError):
                raise
            return self._repaired(data, error)

    def _repaired(self, data: bytes, error: Exception) -> T:
        try:
            text = data.decode("utf-8", "surrogatepass")
            if not _may_have_halves(data) and not _halves.search(text):
                raise error
        except UnicodeDecodeError:
            text = data.decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except RecursionError:
            raise
        except ValueError:  # of JSON, or of an integer with thousands of digits
            raise error from None
        return msgspec.convert(_without_halves(value, None, self._pieces, self._raw), self._type)


read_any: Reader[Any] = Reader(Any)
"""Any JSON value."""


_NONE: frozenset[str] = frozenset()


def _without_halves(value: Any, name: str | None, pieces: frozenset[str], raw: frozenset[str] = _NONE) -> Any:
    if isinstance(value, str):
        if _halves.search(value) is None:
            return value
        first, last = "", ""
        if name in pieces:
            if is_low(value[0]):
                first, value = value[0], value[1:]
            if value and is_high(value[-1]):
                last, value = value[-1], value[:-1]
        return first + join_halves(value) + last
    if isinstance(value, list):
        return [_without_halves(each, name, pieces, raw) for each in value]
    if isinstance(value, dict):
        if name in raw:
            return msgspec.Raw(json_text.encode(_without_halves(value, None, _NONE)))
        return {join_halves(key): _without_halves(each, key, pieces, raw) for key, each in value.items()}
    return value


def is_high(character: str) -> bool:
    """Whether it is the first half of a character."""
    return "\ud800" <= character <= "\udbff"


def is_low(character: str) -> bool:
    """Whether it is the second half of a character."""
    return "\udc00" <= character <= "\udfff"


def join_halves(text: str) -> str:
    """The text with each pair of halves as one character, and U+FFFD for a half that is alone."""
    if text.isascii() or _halves.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# JSON text in pieces

_half_escape = re.compile(r"\\u[dD][89a-fA-F]").search
_escape = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_unfinished = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z|\\u[dD][89abAB][0-9a-fA-F]{2}\Z").match
_high_escape = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}").fullmatch
_ESCAPE_CHARS = 6


def mend_json(text: str) -> str:
    """JSON text in which every escaped half that is alone stands for U+FFFD."""
    text = join_halves(text)
    return _escape.sub(_mended, text) if _half_escape(text) is not None else text


def _mended(match: re.Match[str]) -> str:
    escape = match[0]
    return "\\ufffd" if len(escape) == _ESCAPE_CHARS else escape


class ArgumentPieces:
    """Pieces of JSON text in, pieces without halves out; what may be the beginning of a character waits."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be said now."""
        # fast path: nearly no piece ends in an escape or in a half
        if not self._held and "\\" not in piece and (piece.isascii() or _halves.search(piece) is None):
            return piece
        text = self._held + piece
        cut = _complete_chars(text)
        self._held = text[cut:]
        return mend_json(text[:cut])

    def end(self) -> str:
        """What was held, now that nothing follows."""
        held, self._held = self._held, ""
        return mend_json(held)


def _complete_chars(text: str) -> int:
    """How much of it does not depend on what follows."""
    if text and is_high(text[-1]):
        return len(text) - 1
    place = text.rfind("\\", -_ESCAPE_CHARS)
    if place < 0:
        return len(text)
    run = place
    while run > 0 and text[run - 1] == "\\":
        run -= 1
    if (place - run) % 2 or _unfinished(text, place) is None:
        return len(text)  # an escaped backslash, or an escape that is complete
    before = place - _ESCAPE_CHARS
    return before if before >= 0 and _high_escape(text, before, place) is not None else place
