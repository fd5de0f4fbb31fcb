"""What a JSON Schema asks of a target that takes only some: whether it is in the strict subset, how deep it nests.

Strict schemas (OpenAI's structured outputs guide): every object closed and all of its properties required, unions by
``anyOf`` only. Anthropic's own subset (contract/anthropic.md §2.5) is wider: properties may be optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_STRICT = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs"}
    | {"definitions", "$schema", "title", "description", "pattern", "format", "multipleOf", "minItems", "maxItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
"""Keywords that strict mode knows; with any other the request is refused."""
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_TYPED = frozenset({"type", "anyOf", "$ref", "enum", "const"})
"""Strict mode wants to know what everything is."""
_MAX_DEPTH = 100


def is_strict(schema: object) -> bool:
    """Whether a target may be told to follow it strictly; the root must be an object."""
    an_object = isinstance(schema, dict) and schema.get("type") == "object" and "anyOf" not in schema
    return an_object and _is_strict(schema, 0)


def _is_strict(schema: object, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH or not schema.keys() <= _STRICT:
        return False
    if "format" in schema and str(schema["format"]) not in _FORMATS:
        return False
    if _TYPED.isdisjoint(schema):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        closed = schema.get("additionalProperties") is False
        if not (closed and isinstance(properties, dict) and isinstance(required, list)):
            return False
        if set(properties) != set(map(str, required)):
            return False
    return all(_is_strict(inner, depth + 1) for inner in _inner(schema))


def depth(schema: object) -> int:
    """How many schemas stand within one another; no more than a hundred are told apart."""
    level, here = 0, [schema]
    while here and level < _MAX_DEPTH:
        level += 1
        here = [inner for each in here if isinstance(each, dict) for inner in _inner(each)]
    return level


def _inner(schema: Json) -> Iterator[object]:
    for name in ("properties", "$defs", "definitions"):
        named = schema.get(name)
        if isinstance(named, dict):
            yield from named.values()
    union = schema.get("anyOf")
    if isinstance(union, list):
        yield from union
    if "items" in schema:
        yield schema["items"]


def object_schema(schema: Json | None) -> Json:
    """A tool's schema with the ``type``, ``properties`` and ``items`` that OpenAI and its like refuse to do without."""
    if schema is None or schema.get("type") != "object" or "properties" not in schema:
        schema = {"type": "object", "properties": {}, **(schema or {})}
    return _with_items(schema, 0)


_NESTING = frozenset({"properties", "$defs", "definitions", "items", "anyOf", "oneOf", "allOf"})


def _with_items(schema: Json, depth: int) -> Json:
    """The schema with ``items`` of anything where an array does not say of what; the same object when all do."""
    found = schema
    for name in () if _NESTING.isdisjoint(schema) or depth > _MAX_DEPTH else _NESTING:
        inside = schema.get(name)
        if not inside:
            continue
        made = _inside_with_items(name, inside, depth + 1)
        if made is not inside:
            found = {**found, name: made}
    kind = schema.get("type")
    if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and "items" not in schema:
        found = {**found, "items": {}}
    return found


def _inside_with_items(name: str, inside: Any, depth: int) -> Any:
    """What a keyword holds: a schema, several, or several by name."""
    if isinstance(inside, list):
        several = [_with_items(each, depth) if isinstance(each, dict) else each for each in inside]
        return inside if all(new is old for new, old in zip(several, inside, strict=True)) else several
    if not isinstance(inside, dict):
        return inside
    if name == "items":
        return _with_items(inside, depth)
    named = {key: _with_items(each, depth) if isinstance(each, dict) else each for key, each in inside.items()}
    return inside if all(named[key] is inside[key] for key in inside) else named


_COMBINED = ("anyOf", "oneOf", "allOf")


def is_flat(schema: Json) -> bool:
    """Whether the root is one object, and not a choice of several: OpenAI refuses a tool's schema that is."""
    return not any(key in schema for key in (*_COMBINED, "enum", "not"))


def flattened(schema: Json) -> Json:
    """One object with the properties of every choice at the root, required where each choice requires them."""
    found = {key: value for key, value in schema.items() if key not in (*_COMBINED, "enum", "not")}
    properties = dict(_named(schema))
    required = set(_required(schema))
    for key in _COMBINED:
        choices = schema.get(key)
        choices = [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
        for each in choices:
            for name, value in _named(each).items():
                properties.setdefault(name, value)
        names = [_required(each) for each in choices]
        required |= (set.union if key == "allOf" else set.intersection)(*names) if names else set()
    return {
        **found,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in required],
    }


def _named(schema: Json) -> Json:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: Json) -> set[str]:
    required = schema.get("required")
    return set(map(str, required)) if isinstance(required, list) else set()
