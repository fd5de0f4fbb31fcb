"""Protocol buffers as JSON: the language that the tables of Google's requests are written in.

A `Reading` is called with a value and the path to it and gives the value in one form: names in camel case, nulls left
out, lists where a field is repeated. It raises `ApiError` in the words of Google's own JSON parser, which takes names
in camel and in snake case, one item for a list of one, and numbers and enums in several spellings; and which refuses
every name it does not know. The first mistake is the one reported. Nothing here knows what Gemini is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping

import msgspec

from asbru.sandbox.answers import ApiError
from asbru.sandbox.server_tools import Json

Reading = Callable[[object, str], object]
Fields = Mapping[str, Reading]

VIOLATIONS = "type.googleapis.com/google.rpc.BadRequest"


def violation(field: str, description: str) -> ApiError:
    """400 INVALID_ARGUMENT for one field."""
    found = {"@type": VIOLATIONS, "fieldViolations": [{"field": field, "description": description}]}
    return ApiError(400, description, details={"details": [found]})


def _wrong(path: str, kind: str, value: object) -> ApiError:
    shown = msgspec.json.encode(value).decode() if not isinstance(value, dict | list) else "Starting an object"
    return violation(path, f"Invalid value at '{path}' ({kind}), {shown}")


def snake(name: str) -> str:
    """``functionCall`` -> ``function_call``."""
    return re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found.group(1).lower(), name)


def camel(name: str) -> str:
    """``function_call`` -> ``functionCall``."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def anything(value: object, path: str) -> object:
    """A `google.protobuf.Value`."""
    return value


def struct(value: object, path: str) -> object:
    """A `google.protobuf.Struct`: an object with any names."""
    if not isinstance(value, dict):
        raise _wrong(path, "type.googleapis.com/google.protobuf.Struct", value)
    return value


def text(value: object, path: str) -> object:
    if not isinstance(value, str):
        raise _wrong(path, "TYPE_STRING", value)
    return value


def flag(value: object, path: str) -> object:
    if not isinstance(value, bool):
        raise _wrong(path, "TYPE_BOOL", value)
    return value


def decimal(value: object, path: str) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, "TYPE_FLOAT", value)
    return value


def whole(value: object, path: str) -> object:
    """An int32: also as a decimal without a fraction, and as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,10}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise _wrong(path, "TYPE_INT32", value)
    return value


def data(value: object, path: str) -> object:
    """Bytes in either base64, padded or not; they stay text, in the one with ``+`` and ``/``."""
    if not isinstance(value, str):
        raise _wrong(path, "TYPE_BYTES", value)
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    plain += "=" * (-len(plain) % 4)
    try:
        base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise violation(
            path, f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed for \"{value[:80]}\""
        ) from None
    return plain


def enum(kind: str, *values: str) -> Reading:
    """One of the values, in any case; given as the table spells it."""
    known = {value.upper(): value for value in values}

    def read(value: object, path: str) -> object:
        if not isinstance(value, str) or value.upper() not in known:
            raise _wrong(path, f"type.googleapis.com/{kind}", value)
        return known[value.upper()]

    return read


def repeated(item: Reading) -> Reading:
    """A list; a single value counts as a list of one."""

    def read(value: object, path: str) -> object:
        items = value if isinstance(value, list) else [value]
        return [item(each, f"{path}[{index}]") for index, each in enumerate(items)]

    return read


def message(kind: str, fields: Fields, oneof: str = "", members: tuple[str, ...] = ()) -> Reading:
    """A message of this type; of the ``members`` of ``oneof`` it may have one."""

    def read(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise _wrong(path, f"type.googleapis.com/{kind}", value)
        found: Json = {}
        for given, each in value.items():
            name = given if given in fields else camel(given)
            if name not in fields:
                at = f" at '{path}'" if path else ""
                text = f'Invalid JSON payload received. Unknown name "{given}"{at}: Cannot find field.'
                raise violation(path, text)
            if each is not None:
                found[name] = fields[name](each, f"{path}.{snake(name)}".removeprefix("."))
        chosen = [name for name in members if name in found]
        if len(chosen) > 1:
            text = f"Invalid value at '{path}' (oneof), oneof field '{oneof}' is already set. Cannot set '{chosen[1]}'"
            raise violation(path, text)
        return found

    return read
