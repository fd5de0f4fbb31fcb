"""A value that fits a JSON schema, always the same one for the same schema.

`sample` reads the schemas of tools and structured outputs (draft 2020-12, the keywords people use): it never matches
against a pattern or runs anything else a schema could make slow, and what it makes is bounded in size and depth. Names
of properties that usually mean something (``city``, ``path``, ``url``) get a value that looks like it and does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from asbru.sandbox.pattern import matching

Json = object

MAX_DEPTH = 24
"""Beyond it only what cannot be left out is made, and then nothing."""
SHALLOW = 4
"""Optional properties are filled in up to this depth."""
MAX_ITEMS = 100
MAX_LENGTH = 10_000
MAX_NODES = 5_000
"""Schemas looked at for one value, all in all."""

WORDS = {
    "city": "Paris",
    "command": "echo sandbox",
    "content": "Hello from the sandbox.",
    "country": "France",
    "description": "A value from the sandbox.",
    "email": "sandbox@example.com",
    "expression": "6 * 7",
    "file_path": "/tmp/sandbox.txt",  # noqa: S108
    "filename": "sandbox.txt",
    "language": "en",
    "location": "Paris",
    "message": "Hello from the sandbox.",
    "name": "Sandbox",
    "path": "/tmp/sandbox.txt",  # noqa: S108
    "query": "sandbox",
    "text": "Hello from the sandbox.",
    "timezone": "Europe/Paris",
    "title": "Sandbox",
    "unit": "celsius",
    "url": "https://example.com/",
}
FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "sandbox@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: object, name: str = "value", *, terse: bool = False) -> Json:
    """A JSON value that fits ``schema``; ``name`` is what it is called, for values that look the part.

    ``terse`` leaves optional properties out of objects that require any.
    """
    root = schema if isinstance(schema, dict) else {}
    return _Sampler(root, terse).make(schema, name, 0)


class _Sampler:
    def __init__(self, root: Mapping[str, object], terse: bool) -> None:
        self.root = root
        self.terse = terse
        self.nodes = 0

    def make(self, schema: object, name: str, depth: int) -> Json:
        if not isinstance(schema, dict):
            return _word(name)  # `true` and `{}` alike: anything fits
        node = self.flat(schema, depth, 0)
        if "const" in node:
            return node["const"]
        enum = node.get("enum")
        if isinstance(enum, list) and enum:
            return enum[0]
        for given in _suggestions(node):
            if _fits_kind(given, node) and _in_bounds(given, node):
                return given
        kind = _kind(node, depth)
        match kind:
            case "object":
                return self.make_object(node, depth)
            case "array":
                return self.make_array(node, name, depth)
            case "string":
                return _string(node, name)
            case "integer" | "number":
                return _number(node, kind)
            case "boolean":
                return True
            case "null":
                return None
        return _word(name)

    def flat(self, schema: Mapping[str, object], depth: int, nested: int) -> dict[str, object]:
        """The schema with references followed, ``allOf`` merged and one alternative chosen."""
        self.nodes += 1
        node = dict(schema)
        if self.nodes > MAX_NODES or nested > MAX_DEPTH:
            return {}
        parts: list[object] = []
        reference = node.pop("$ref", None)
        if isinstance(reference, str):
            parts.append(self.resolve(reference))
        every = node.pop("allOf", None)
        parts += every if isinstance(every, list) else []
        for key in ("anyOf", "oneOf"):
            options = node.pop(key, None)
            if isinstance(options, list) and options:
                parts.append(self.simplest(options) if depth >= SHALLOW else options[0])
        for part in parts:
            if isinstance(part, dict):
                node = _merge(self.flat(part, depth, nested + 1), node)
        return node

    def simplest(self, options: Sequence[object]) -> object:
        """The alternative least likely to go deeper."""
        ranks = {"null": 0, "boolean": 1, "integer": 1, "number": 1, "string": 1, "array": 2, "object": 3}
        return min(options, key=lambda item: ranks.get(str(item.get("type")), 4) if isinstance(item, dict) else 0)

    def resolve(self, reference: str) -> Mapping[str, object]:
        found: object = self.root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else []:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def make_object(self, node: Mapping[str, object], depth: int) -> dict[str, Json]:
        properties = node.get("properties")
        known = properties if isinstance(properties, dict) else {}
        required = node.get("required")
        wanted = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        if depth >= MAX_DEPTH or self.nodes > MAX_NODES:
            return {}
        if depth < SHALLOW and not (self.terse and wanted):
            wanted = [*known, *(name for name in wanted if name not in known)]
        extra = node.get("additionalProperties", True)
        made = {name: self.make(known.get(name, extra), name, depth + 1) for name in wanted[:MAX_ITEMS]}
        least = node.get("minProperties")
        while isinstance(least, int) and len(made) < min(least, MAX_ITEMS):
            name = f"property_{len(made) + 1}"
            made[name] = self.make(extra, name, depth + 1)
        return made

    def make_array(self, node: Mapping[str, object], name: str, depth: int) -> list[Json]:
        singular = name[:-1] if name.endswith("s") else name
        prefix = node.get("prefixItems")
        shapes: list[object] = list(prefix) if isinstance(prefix, list) else []
        least = node.get("minItems", 0)
        wanted = least if isinstance(least, int) else 0
        most = node.get("maxItems", MAX_ITEMS)
        if depth < SHALLOW and isinstance(most, int) and most > 0:
            wanted = max(wanted, 1, len(shapes))
        if depth >= MAX_DEPTH:
            return []
        items: list[Json] = []
        for index in range(min(wanted, MAX_ITEMS)):
            shape = shapes[index] if index < len(shapes) else node.get("items", True)
            items.append(self.make(shape, singular, depth + 1))
        return _distinct(items) if node.get("uniqueItems") else items


def _merge(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, object]:
    """Both schemas at once: what they say about properties and required names is joined, else the second wins."""
    merged = dict(first)
    for key, value in second.items():
        mine = merged.get(key)
        if key == "properties" and isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = {**mine, **value}
        elif key == "required" and isinstance(mine, list) and isinstance(value, list):
            merged[key] = [*mine, *(name for name in value if name not in mine)]
        else:
            merged[key] = value
    return merged


def _kind(node: Mapping[str, object], depth: int) -> str | None:
    kinds = node.get("type")
    if isinstance(kinds, list):
        choices = [kind for kind in kinds if isinstance(kind, str)]
        if depth >= SHALLOW and "null" in choices:
            return "null"
        return next((kind for kind in choices if kind != "null"), "null")
    if isinstance(kinds, str):
        return kinds
    if "properties" in node or "required" in node:
        return "object"
    if "items" in node or "prefixItems" in node:
        return "array"
    if any(key in node for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")):
        return "number"
    return "string" if any(key in node for key in ("pattern", "format", "minLength", "maxLength")) else None


def _suggestions(node: Mapping[str, object]) -> list[str | float]:
    """The values that the schema itself offers: its default and examples."""
    examples = node.get("examples")
    offered = [node.get("default"), *(examples if isinstance(examples, list) else []), node.get("example")]
    return [value for value in offered if isinstance(value, (str, int, float))]


def _fits_kind(value: str | float, node: Mapping[str, object]) -> bool:
    kinds = node.get("type")
    if kinds is None:
        return True
    allowed = kinds if isinstance(kinds, list) else [kinds]
    if isinstance(value, bool):
        return "boolean" in allowed
    if isinstance(value, str):
        return "string" in allowed
    return "number" in allowed or ("integer" in allowed and float(value).is_integer())


def _distinct(items: list[Json]) -> list[Json]:
    """Different values where that takes no more than a number at the end."""
    made: list[Json] = []
    for index, item in enumerate(items):
        if item not in made:
            made.append(item)
        elif isinstance(item, str):
            made.append(f"{item}-{index + 1}")
        elif isinstance(item, int) and not isinstance(item, bool):
            made.append(item + index)
    return made


def _word(name: str) -> str:
    return WORDS.get(name.lower(), f"sandbox {name}" if name else "sandbox")


def _bound(node: Mapping[str, object], key: str) -> float | None:
    value = node.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _in_bounds(value: str | float, node: Mapping[str, object]) -> bool:
    """Whether a default or example keeps to the bounds; one with a pattern is not trusted to."""
    if isinstance(value, str):
        length = _length(node)
        return "pattern" not in node and length[0] <= len(value) <= length[1]
    low, high = _bound(node, "minimum"), _bound(node, "maximum")
    above, below = _bound(node, "exclusiveMinimum"), _bound(node, "exclusiveMaximum")
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
        and "multipleOf" not in node
    )


def _length(node: Mapping[str, object]) -> tuple[int, int]:
    least, most = _bound(node, "minLength"), _bound(node, "maxLength")
    low = min(int(least or 0), MAX_LENGTH)
    return low, MAX_LENGTH if most is None else int(most)


def _string(node: Mapping[str, object], name: str) -> str:
    given = FORMATS.get(str(node.get("format")))
    pattern = node.get("pattern")
    low, high = _length(node)
    if given is None and isinstance(pattern, str):
        return matching(pattern, low)
    made = given or _word(name)
    if len(made) < low:
        made = (made * (low // len(made) + 1))[:low]
    return made[:high]


def _number(node: Mapping[str, object], kind: str) -> float:
    low, high = _bound(node, "minimum"), _bound(node, "maximum")
    above, below = _bound(node, "exclusiveMinimum"), _bound(node, "exclusiveMaximum")
    step = _bound(node, "multipleOf") or (1 if kind == "integer" else None)
    floor = max((bound for bound in (low, above) if bound is not None), default=None)
    ceiling = min((bound for bound in (high, below) if bound is not None), default=None)
    if step is None:
        if floor is not None and ceiling is not None:
            return floor if floor == ceiling else (floor + ceiling) / 2
        value = 1.0 if floor is None else floor + 1
        return value if ceiling is None else min(value, ceiling - 1)
    value = math.ceil((1 if floor is None else floor) / step) * step
    if above is not None and value <= above:
        value += step
    if ceiling is not None and value > ceiling:
        value = math.floor(ceiling / step) * step
    if below is not None and value >= below:
        value -= step
    return int(value) if kind == "integer" else value
