"""Whether a request for a message names a file of the Files API: a ``file_id``, at any depth.

`may_name` is a search for a few bytes, for every request; `names` goes through the tokens of those few that have them.
What is written by a tool or says what a tool takes is none of the API's business and may have members of that name; so
may the outputs of code that a conversation repeats, which nobody reads again.

A body is not decoded: of a member that is repeated every value counts, whichever of them a provider takes.
"""

from __future__ import annotations

import re

import msgspec

from asbru.dialects.bounds import contains

_NAME = b"file_id"
_escaped = re.compile(rb'"%b"' % b"".join(rb"(?:%c|\\u00(?i:%02x))" % (byte, byte) for byte in _NAME)).search
_tokens = re.compile(rb'("(?:[^"\\]++|\\.)*+")\s*(:?)|[{}\[\]]', re.DOTALL).finditer
_OPAQUE = frozenset({"input", "input_schema", "schema"})
"""Members whose values are not the API's to read: a tool's input, and JSON schemas."""
_MAX_NAME_BYTES = 64
_OUTPUT = b"_output"


def may_name(body: bytes) -> bool:
    """Whether a member may have that name, at the cost of a search."""
    return contains(body, b'"file_id"') or (contains(body, b"\\u00") and _escaped(body) is not None)


def names(body: bytes) -> bool:
    """Whether a file is named where the API reads it. It takes time as the body is long."""
    objects: list[_Object | None] = []
    opaque_from = 0
    """How deep the value is that is passed over; 0 outside of any."""
    member = ""
    for token in _tokens(body):
        text = token[1]
        if text is not None:
            if opaque_from or not objects or objects[-1] is None:
                continue
            if token[2]:
                member = _name(text)
                objects[-1].names_file |= member == "file_id"
            elif member == "type":
                objects[-1].types.append(text)
        elif token[0] in b"{[":
            objects.append(_Object() if token[0] == b"{" else None)
            if not opaque_from and member in _OPAQUE:
                opaque_from = len(objects)
            member = ""
        elif objects:
            if opaque_from == len(objects):
                opaque_from = 0
            closed = objects.pop()
            member = ""  # what follows is no value of the last member in there
            if closed is not None and closed.names_file and not closed.is_output:
                return True
    return any(each is not None and each.names_file for each in objects)  # cut off: not to be trusted


class _Object:
    __slots__ = ("names_file", "types")

    def __init__(self) -> None:
        self.names_file = False
        self.types: list[bytes] = []

    @property
    def is_output(self) -> bool:
        """An output of code that ran earlier, which names the file that it made."""
        return bool(self.types) and all(each.endswith(_OUTPUT + b'"') for each in self.types)


def _name(text: bytes) -> str:
    if len(text) > _MAX_NAME_BYTES:
        return ""
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
