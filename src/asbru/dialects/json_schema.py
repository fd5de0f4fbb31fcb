"""What a JSON Schema asks of a target that takes only some: whether it is in the strict subset, how deep it nests.

Strict schemas (OpenAI's structured outputs guide): every object closed and all of its properties required, unions by
``anyOf`` only. Anthropic's own subset (contract/anthropic.md §2.5) is wider: properties may be optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_NOT_STRICT = frozenset(
    {
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "patternProperties",
        "prefixItems",
        "unevaluatedProperties",
    }
)
_MAX_DEPTH = 100


def is_strict(schema: object) -> bool:
    """Whether a target may be told to follow it strictly; the root must be an object."""
    return isinstance(schema, dict) and schema.get("type") == "object" and _is_strict(schema, 0)


def _is_strict(schema: object, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH or not _NOT_STRICT.isdisjoint(schema):
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
    """A tool's schema with the ``type`` and ``properties`` that OpenAI and its like refuse to do without."""
    if schema is not None and schema.get("type") == "object" and "properties" in schema:
        return schema
    return {"type": "object", "properties": {}, **(schema or {})}
