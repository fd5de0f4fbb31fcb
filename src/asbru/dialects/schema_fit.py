"""One pass over a JSON Schema before any translating dialect sends it, so that every host takes it.

Hosts validate schemas by subsets of their own (OpenAI's guide on structured outputs; Moonshot's "flavored" schema; the
grammars of llama.cpp, xgrammar and Bedrock), and one word too many refuses the whole request. What means the same in
all of them is written that way: a reference at the root is resolved, words beside ``$ref`` go around it, ``enum`` and
``const`` say their type, a type beside ``anyOf`` goes into the choices. What some have no words for is said in the
description (patterns), or loosened (a choice at the root, tuples), and named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from asbru.dialects.json_schema import flattened, is_flat, is_strict, object_schema

Json = dict[str, Any]

_MAX_DEPTH = 100
_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_ANNOTATIONS = frozenset({"default", "discriminator", "examples", "example", "deprecated", "readOnly", "writeOnly"})
"""Words that constrain nothing, and that strict mode refuses."""
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

_BEYOND_GRAMMARS = re.compile(
    r"""
      \(\?(?!:)              # lookaround, flags, named and atomic groups
    | \\[1-9] | \\k<         # references back
    | \\[bBAZzGpP]           # assertions, Unicode classes
    | [*+?}]\+               # possessive quantifiers
    """,
    re.VERBOSE,
)


class Fitted(NamedTuple):
    """A schema that every host takes."""

    schema: Json
    strict: Json | None
    """The same in the words of strict mode; None where it has none."""
    lost: str | None
    """What it says less than the client's; None: nothing."""


def fit(schema: Json | None) -> Fitted:
    """The schema of a tool or of structured output, whose root is one object."""
    root = _resolved(schema or {})
    work = _Work()
    if not is_flat(root):
        work.lost.append("one object with the properties of every choice")
        choices = {
            key: [_target(each, root) for each in root[key]]
            for key in ("anyOf", "oneOf", "allOf")
            if isinstance(root.get(key), list)
        }
        root = flattened({**root, **choices})
    made = object_schema({**work.schema(object_schema(root), 0, root=True), "type": "object"})
    found = _strictly(made, 0)
    strict = found if isinstance(found, dict) and is_strict(found) else None
    return Fitted(made, strict, "; ".join(dict.fromkeys(work.lost)) or None)


def _resolved(schema: Json) -> Json:
    """The root without a reference: pydantic writes one for every model that holds itself."""
    for _ in range(_MAX_DEPTH):
        if "$ref" not in schema:
            return schema
        target = _pointed(schema, schema["$ref"])
        if target is None:
            return {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return {}


def _target(choice: object, root: Json) -> object:
    return (_pointed(root, choice["$ref"]) or choice) if isinstance(choice, dict) and "$ref" in choice else choice


def _pointed(root: Json, reference: object) -> Json | None:
    """What a local reference to a definition points to."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: object = root
    for step in reference[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


class _Work:
    """One schema being rewritten; ``lost`` is what could not be said."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def schema(self, schema: Json, depth: int, *, root: bool = False) -> Json:
        if depth > _MAX_DEPTH:
            return schema
        made: Json = {}
        for name, value in schema.items():
            made[name] = self._inside(name, value, depth + 1)
        if isinstance(made.get("items"), list):
            self.lost.append("tuples are arrays of any of their items")
            made["items"] = {"anyOf": made["items"]} if made["items"] else {}
        if "pattern" in made:
            self._pattern(made)
        if "$ref" in made:
            return _around(made)
        if "type" not in made:
            kind = _type_of(made["enum"] if "enum" in made else [made["const"]] if "const" in made else None)
            if kind is not None:
                made = {"type": kind, **made}
        return made if root else _typed_choices(made)

    def _inside(self, name: str, value: Any, depth: int) -> Any:
        if name in _NAMED and isinstance(value, dict):
            return {key: self._one(each, depth) for key, each in value.items()}
        if name in _LISTED and isinstance(value, list):
            return [self._one(each, depth) for each in value]
        if name == "items" and isinstance(value, list):
            return [self._one(each, depth) for each in value]
        if name in _SINGLE and name != "additionalProperties":
            return self._one(value, depth)
        return self.schema(value, depth) if name == "additionalProperties" and isinstance(value, dict) else value

    def _one(self, value: Any, depth: int) -> Any:
        return self.schema(value, depth) if isinstance(value, dict) else {} if value is True else value

    def _pattern(self, made: Json) -> None:
        """A pattern that grammars cannot take is said in words."""
        pattern = made["pattern"]
        if isinstance(pattern, str) and _is_regular(pattern):
            return
        self.lost.append("a pattern is in the description")
        del made["pattern"]
        if isinstance(pattern, str):
            made["description"] = f"{made.get('description') or ''} Pattern: {pattern}".lstrip()


def _is_regular(pattern: str) -> bool:
    if _BEYOND_GRAMMARS.search(pattern) is not None:
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _around(made: Json) -> Json:
    """Words beside a reference go around it; its type is the reference's own to say."""
    rest = {name: value for name, value in made.items() if name not in ("$ref", "type")}
    reference = {"$ref": made["$ref"]}
    if not rest:
        return reference
    if "anyOf" not in rest:
        return {"anyOf": [reference], **rest}
    return {**rest, "allOf": [*(rest["allOf"] if isinstance(rest.get("allOf"), list) else ()), reference]}


def _typed_choices(made: Json) -> Json:
    """A type beside ``anyOf`` goes into the choices that have none."""
    choices = made.get("anyOf")
    if "type" not in made or not isinstance(choices, list) or not choices:
        return made
    kind = made["type"]
    typed = [
        {"type": kind, **each} if isinstance(each, dict) and not {"type", "$ref", "anyOf"} & each.keys() else each
        for each in choices
    ]
    return {**{name: value for name, value in made.items() if name != "type"}, "anyOf": typed}


def _type_of(values: object) -> str | list[str] | None:
    """The type that a list of values has; several where it has several."""
    if not isinstance(values, list) or not values:
        return None
    kinds = list(dict.fromkeys(_kinds(values)))
    return kinds[0] if len(kinds) == 1 else kinds


def _kinds(values: list[object]) -> Iterator[str]:
    for value in values:
        if value is None:
            yield "null"
        elif isinstance(value, bool):
            yield "boolean"
        elif isinstance(value, int):
            yield "integer"
        elif isinstance(value, float):
            yield "number"
        else:
            yield "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _strictly(schema: object, depth: int) -> object:
    """The schema without what constrains nothing, and with ``oneOf`` as ``anyOf``, which is what strict mode has."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return schema
    made: Json = {}
    for name, value in schema.items():
        if name in _ANNOTATIONS or (name == "format" and str(value) not in _FORMATS):
            continue
        if name == "oneOf" and "anyOf" not in schema:
            name = "anyOf"
        if name in _NAMED and isinstance(value, dict):
            made[name] = {key: _strictly(each, depth + 1) for key, each in value.items()}
        elif name in _LISTED and isinstance(value, list):
            made[name] = [_strictly(each, depth + 1) for each in value]
        else:
            made[name] = _strictly(value, depth + 1) if name in _SINGLE else value
    return made
