"""Reading and changing the top level of a JSON object without touching any other byte of it.

`split` finds where each top-level value stands; `replace` gives the body again with some of them replaced or
removed. Nothing is parsed into objects and rebuilt: key order, white space, spelling of numbers and of escapes stay
as the client sent them, because prompt caches and signatures depend on them.

Contract: a body is accepted when it is one valid JSON object in UTF-8 whose top-level keys are distinct (however
they are spelled) and whose nesting is within the interpreter's recursion limit. Anything else raises `SpliceError`,
whose message says what is wrong, quotes no value of the body and may be shown to the client. Duplicate keys are
refused because the next parser may take the other one: a request would be judged by one model name and served by
another. They are looked for at the top level and in what `batch_models` reads; deeper ones are the upstream's affair.
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from asbru.dialects import member_names

Span = tuple[int, int]
"""Where a raw value stands in its body: offset of its first byte, offset behind its last."""

T = TypeVar("T")

MAX_MEMBERS = 1000
_MAX_BATCH_REQUESTS = 100_000
_MAX_TURNS = 100_000
_PIECE_BYTES = 131_072
_SHOWN_KEY_CHARS = 64


class _BatchParams(msgspec.Struct, gc=False):
    model: str


class _BatchRequest(msgspec.Struct, gc=False):
    params: _BatchParams


class _Turn(msgspec.Struct, gc=False):
    role: str


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_turns = msgspec.json.Decoder(list[_Turn]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_batch = msgspec.json.Decoder(list[_BatchRequest]).decode
_decode_key = msgspec.json.Decoder(str).decode
_decode_string = msgspec.json.Decoder(str | None).decode
_decode_boolean = msgspec.json.Decoder(bool | None).decode

# These run on text that is known to be valid JSON, from the end of one value to the start of the next.
_to_value = re.compile(rb'\s*[{,]\s*("[^"\\]*(?:\\.[^"\\]*)*+")\s*:\s*', re.DOTALL).match
_to_item = re.compile(rb"\s*[\[,]\s*").match
_to_end = re.compile(rb"\s*}").match
_MASK = rb"\ufffd"
_ESCAPED_MASK = rb"\\ufffd"
_surrogate = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class SpliceError(ValueError):
    """The body is not one that the gateway can work with; the message may be shown to the client."""


class Members:
    """The top level of one JSON object: `spans` has every key, in order, with where its raw value stands."""

    __slots__ = ("body", "spans")

    def __init__(self, body: bytes, spans: dict[str, Span]) -> None:
        self.body = body
        self.spans = spans

    def __contains__(self, key: str) -> bool:
        return key in self.spans

    def get(self, key: str) -> bytes | None:
        """The raw value; None when the key is absent."""
        span = self.spans.get(key)
        return None if span is None else self.body[span[0] : span[1]]

    def string(self, key: str) -> str | None:
        """The value as a string; None when it is absent or null. Raises `SpliceError` when it is anything else."""
        return self._typed(key, _decode_string, "a string")

    def boolean(self, key: str) -> bool | None:
        """As `string`, for a boolean."""
        return self._typed(key, _decode_boolean, "true or false")

    def _typed(self, key: str, decode: Callable[[bytes], T], what: str) -> T | None:
        raw = self.get(key)
        if raw is None:
            return None
        try:
            return decode(raw)
        except msgspec.MsgspecError as error:
            raise SpliceError(f'"{key}" must be {what}') from error


def split(body: bytes, max_members: int = MAX_MEMBERS) -> Members:
    """The top level of the JSON object that `body` is. Raises `SpliceError` when it is not one (see the module)."""
    text, raws = _validate(body)
    if len(raws) > max_members:
        raise SpliceError(f"the body has an object of more than {max_members} members")
    return Members(body, _scan(text, raws, 0))


def replace(body: bytes, members: Members, changes: Mapping[str, bytes | None]) -> bytes:
    """`body`, which `members` was split from, with new raw values; every byte that is not named stays.

    None removes the member and one comma; a key that is not there is added behind the last one. Returns `body` itself
    when nothing changes. The new values must be valid JSON: they are not looked at.
    """
    edits: list[tuple[int, int, bytes]] = []
    kept = False
    behind = 0  # the end of the member before
    for key, (start, end) in members.spans.items():
        if key in changes and changes[key] is None:
            # The first member has no comma before it: then the comma that goes is that of the first one kept.
            edits.append((body.index(b"," if behind else b'"', behind), end, b""))
        else:
            if behind and not kept:
                comma = body.index(b",", behind)
                edits.append((comma, comma + 1, b""))
            kept = True
            new = changes.get(key)
            if new is not None and new != body[start:end]:
                edits.append((start, end, new))
        behind = end
    for key, new in changes.items():
        if new is not None and key not in members.spans:
            behind = behind or body.index(b"{") + 1
            edits.append((behind, behind, b"%b%b:%b" % (b"," if kept else b"", msgspec.json.encode(key), new)))
            kept = True
    return _edited(body, edits)


def batch_models(body: bytes) -> list[tuple[str, Span]]:
    """The model of every request of a Message Batches body, in order, with where its raw value stands.

    Raises `SpliceError` as `split` does, for every object on the way to a model, and when a request has no model.
    Costs some microseconds a request and, at worst, four times the body in memory: a body of many megabytes
    belongs in a thread.
    """
    text, raws = _validate(body)
    _check_case(raws, member_names.BATCH, "")
    requests = _scan(text, raws, 0).get("requests")
    if requests is None:
        raise SpliceError('"requests" is missing')
    start, end = requests
    view = memoryview(text)[start:end]
    try:
        # First the shape: it ends at the first item that is no request, so that a body of two-byte items
        # cannot be blown up into millions of objects.
        if len(_decode_batch(view)) > _MAX_BATCH_REQUESTS:
            raise SpliceError(f'"requests" has more than {_MAX_BATCH_REQUESTS} items')
        items = _decode_objects(view)
    except msgspec.ValidationError as error:
        raise SpliceError(f'"requests": {error}') from error
    models: list[tuple[str, Span]] = []
    for item in items:
        separator = _to_item(text, start)
        assert separator is not None
        members = _scan(text, item, separator.end())
        params = _scan(text, _decode_object(item["params"]), members["params"][0])
        _check_case(members, member_names.BATCH_REQUEST, f"requests.{len(models)}.")
        _check_case(params, member_names.MESSAGE, f"requests.{len(models)}.params.")
        model = params["model"]
        models.append((_decode_key(text[model[0] : model[1]]), model))
        start = text.index(b"}", next(reversed(members.values()))[1]) + 1
    return models


def _check_case(names: Mapping[str, object], known: frozenset[str], where: str) -> None:
    if not known.issuperset(names) and (fault := member_names.other_case(names, known)) is not None:
        raise SpliceError(where + fault)


def turns(messages: bytes) -> list[msgspec.Raw]:
    """The raw messages of a conversation. Raises `SpliceError` when it is no list of messages, or one too long.

    The shape is looked at first, and that ends at the first item that is no message: so that a body of two-byte items
    cannot be blown up into millions of objects.
    """
    try:
        if len(_decode_turns(messages)) > _MAX_TURNS:
            raise SpliceError(f"messages: at most {_MAX_TURNS} messages are allowed")
        return _decode_items(messages)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SpliceError("messages: Input should be a valid list of messages") from error


def replace_models(body: bytes, *models: Iterable[tuple[str, str, Span]]) -> bytes:
    """`body` with every model replaced whose new name differs: (name, new name, where the raw value stands)."""
    edits = [(*span, msgspec.json.encode(new)) for each in models for old, new, span in each if new != old]
    return _edited(body, sorted(edits))


def mask_surrogates(data: bytes) -> bytes:
    r"""JSON text with every surrogate's escape (``\ud83d``) replaced by ``\ufffd``, so that lengths stay.

    msgspec refuses an escaped surrogate without its other half. The grammar allows it, and JavaScript clients send
    it when they cut a text in the middle of an emoji. Returns ``data`` itself when there is none.
    """
    if len(data) <= _PIECE_BYTES:
        return _surrogate.sub(_ESCAPED_MASK, data)
    pieces = []  # so that a thread does not keep the others waiting for seconds
    start = 0
    while start < len(data):
        end = start + _PIECE_BYTES
        escape = data.find(b"\\", end - len(_MASK) + 1, end)  # the first that may go beyond the end
        end = end if escape < 0 else escape
        pieces.append(_surrogate.sub(_ESCAPED_MASK, data[start:end]))
        start = end
    masked = b"".join(pieces)
    return data if masked == data else masked


def _validate(body: bytes) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """The text that was parsed (as long as `body`: masked where need be) and the raw value of each top-level key."""
    if not body or body.isspace():
        raise SpliceError("the body is empty")
    _check_utf8(body)
    try:
        try:
            return body, _decode_object(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            text = mask_surrogates(body)
            if text == body:
                raise
            raws = _decode_object(text)
    except RecursionError as error:
        raise SpliceError("the body is nested too deeply") from error
    except msgspec.ValidationError as error:
        raise SpliceError("the body is not a JSON object") from error
    except msgspec.DecodeError as error:
        detail = str(error).removeprefix("JSON is malformed: ")
        raise SpliceError(f"the body is not valid JSON: {detail}") from error
    if any("\ufffd" in key or r"\ufffd" in key for key in raws):
        # Keys that were masked cannot be told apart any more.
        raise SpliceError("the body has an unpaired surrogate and a key that is not plain")
    return text, raws


def _check_utf8(body: bytes) -> None:
    """msgspec checks the encoding of keys, but not of what it hands out as Raw."""
    if body.isascii():
        return
    try:
        if len(body) <= _PIECE_BYTES:
            body.decode()
            return
        # In pieces: a string of the whole would take up to four times the body.
        view = memoryview(body)
        position = 0
        while position < len(body):
            behind = position + _PIECE_BYTES
            position += utf_8_decode(view[position:behind], "strict", behind >= len(body))[1]
    except UnicodeDecodeError:
        raise SpliceError("the body is not valid JSON: it is not UTF-8") from None  # the error holds the body


def _scan(text: bytes, raws: dict[str, msgspec.Raw], position: int) -> dict[str, Span]:
    """Where each value of the object at `position` stands. Raises `SpliceError` on a duplicate key.

    A dict keeps a duplicate key's first place but its last value. By induction every value below starts where a
    value truly starts, so one that differs from the text there was overwritten by a later one; and when all are
    equal but the object does not end behind the last, there are more members than keys.
    """
    spans: dict[str, Span] = {}
    end = position
    # fast path: as long as its keys and values and no more, so without white space, and without another member
    if len(text) == 1 + sum(map(len, raws)) + sum(map(len, raws.values())) + 4 * len(raws):
        for key, raw in raws.items():
            start = end + 4 + len(key)  # a brace or a comma, two quotes, a colon
            end = start + len(raw)
            spans[key] = (start, end)
        return spans
    for key, raw in raws.items():
        lead = _to_value(text, end)
        if lead is None:
            raise _duplicate(text, raws, position)
        start = lead.end()
        end = start + len(raw)
        if not text.startswith(raw, start):
            raise _duplicate(text, raws, position)
        spans[key] = (start, end)
    if raws and _to_end(text, end) is None:
        raise _duplicate(text, raws, position)
    return spans


def _duplicate(text: bytes, raws: dict[str, msgspec.Raw], position: int) -> SpliceError:
    """The error that names the first duplicate key of the object at `position`, which has one."""
    name = ""
    for expected, raw in [*raws.items(), ("", msgspec.Raw())]:
        lead = _to_value(text, position)
        if lead is None:  # a number of which the last value is only the beginning
            break
        name = _decode_key(lead[1])
        if name != expected or not text.startswith(raw, lead.end()):
            break
        position = lead.end() + len(raw)
    return SpliceError(f"duplicate key {msgspec.json.encode(name[:_SHOWN_KEY_CHARS]).decode()}")


def _edited(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """`body` with spans, in ascending order, replaced by new raw values; one join, no other copy."""
    if not edits:
        return body
    view = memoryview(body)
    parts: list[bytes | memoryview] = []
    position = 0
    for start, end, new in edits:
        parts.append(view[position:start])
        parts.append(new)
        position = end
    parts.append(view[position:])
    return b"".join(parts)
