"""Which JSON schemas OpenAI takes, of functions and of structured output, and its words for those it does not.

Strict schemas are a subset (guide "Structured Outputs", section "Supported schemas"): every object forbids additional
properties and requires all it has. Others only have to be of an object, with arrays that say of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from asbru.sandbox.answers import ApiError
from asbru.sandbox.speeches.openai import refused

_UNKNOWN = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
)
"""What strict schemas have no words for."""
_NOT_AT_THE_ROOT = ("oneOf", "anyOf", "allOf", "enum", "not")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")

_LOOKS_AROUND = re.compile(r"\(\?<?[=!]")

Path = tuple[str, ...]
Schema = Mapping[str, object]


def check(schema: Schema, name: str, what: str, param: str, *, strict: bool) -> None:
    """Raises `ApiError` for a schema that would be refused; ``what``: ``function`` or ``response_format``."""
    code = "invalid_function_parameters" if what == "function" else "invalid_json_schema"

    def wrong(message: str) -> ApiError:
        return refused(f"Invalid schema for {what} '{name}': {message}", param, code)

    if schema.get("type") != "object":
        raise wrong(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'.")
    if what == "function" and any(word in schema for word in _NOT_AT_THE_ROOT):
        raise wrong(
            "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
        )
    if "properties" not in schema and not (strict and schema.get("additionalProperties") is False):
        raise wrong("In context=(), object schema missing properties.")
    for path, node in _nodes(schema, ()):
        found = _strict(node) if strict else None
        kinds = node.get("type")
        if found is None and "array" in (kinds if isinstance(kinds, list) else [kinds]) and "items" not in node:
            found = "array schema missing items."
        if found is not None:
            raise wrong(f"In context={path!r}, {found}")


def _strict(node: Schema) -> str | None:
    """What is wrong with this part of a strict schema."""
    unknown = next((word for word in _UNKNOWN if word in node), None)
    if unknown is not None:
        return f"'{unknown}' is not permitted."
    if "format" in node and node["format"] not in _FORMATS:
        return f"'{node['format']}' is not a valid format."
    beside = sorted(node.keys() - {"$ref"})
    if "$ref" in node and beside:
        return f"$ref cannot have keywords {set(beside)}."
    if _LOOKS_AROUND.search(str(node.get("pattern", ""))) is not None:
        return "regex lookarounds are not supported in 'pattern'."
    kinds = node.get("type")
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        return (
            None
            if "type" in node or {"anyOf", "$ref", "enum", "const"} & node.keys()
            else "schema must have a 'type' key."
        )
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    properties, required = node.get("properties"), node.get("required")
    names = list(properties) if isinstance(properties, dict) else []
    given = required if isinstance(required, list) else []
    missing = next((name for name in names if name not in given), None)
    if missing is not None:
        return (
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"Missing '{missing}'."
        )
    extra = next((name for name in given if name not in names), None)
    return None if extra is None else f"'required' is required to be an array of keys in properties. Extra '{extra}'."


def _nodes(node: object, path: Path) -> Iterator[tuple[Path, Schema]]:
    """Every schema in a schema, with where it is."""
    if not isinstance(node, dict):
        return
    yield path, node
    for word in ("properties", "$defs", "definitions"):
        inside = node.get(word)
        for name, child in inside.items() if isinstance(inside, dict) else ():
            yield from _nodes(child, (*path, word, name))
    yield from _nodes(node.get("items"), (*path, "items"))
    for word in ("anyOf", "prefixItems"):
        children = node.get(word)
        for index, child in enumerate(children if isinstance(children, list) else ()):
            yield from _nodes(child, (*path, word, str(index)))
