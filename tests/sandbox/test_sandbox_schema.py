"""Values for schemas: they fit, whatever the schema says, by an independent validator; and they are bounded."""

from __future__ import annotations

import math
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.sandbox import schema as schemas
from asbru.sandbox.pattern import matching
from asbru.sandbox.schema import sample

Json = dict[str, object]

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def is_kind(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])


def number(schema: Json, key: str) -> float | None:
    value = schema.get(key)
    return value if isinstance(value, (int, float)) else None


def problems(value: object, schema: object, root: Json) -> list[str]:
    """What is wrong with the value: a validator of its own, for the keywords that the samples respect."""
    if schema is True or schema == {}:
        return []
    assert isinstance(schema, dict)
    if "$ref" in schema:
        target: object = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            assert isinstance(target, dict)
            target = target[part]
        return problems(value, target, root)
    found: list[str] = []
    kinds = schema.get("type")
    if kinds is not None:
        allowed = kinds if isinstance(kinds, list) else [kinds]
        if not any(is_kind(value, kind) for kind in allowed):
            return [f"{value!r} is not of type {kinds}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is not in {schema['enum']}")
    for part in schema.get("allOf", []):
        found += problems(value, part, root)
    for key in ("anyOf", "oneOf"):
        if key in schema and all(problems(value, part, root) for part in schema[key]):
            found.append(f"{value!r} fits nothing of {key}")
    if isinstance(value, str):
        found += of_string(value, schema)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found += of_number(value, schema)
    if isinstance(value, list):
        found += of_array(value, schema, root)
    if isinstance(value, dict):
        found += of_object(value, schema, root)
    return found


def of_string(value: str, schema: Json) -> list[str]:
    low, high = number(schema, "minLength") or 0, number(schema, "maxLength")
    found = [] if len(value) >= low and (high is None or len(value) <= high) else [f"length of {value!r}"]
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not re.search(pattern, value):
        found.append(f"{value!r} does not match {pattern}")
    return found


def of_number(value: float, schema: Json) -> list[str]:
    low, high = number(schema, "minimum"), number(schema, "maximum")
    above, below, step = (number(schema, key) for key in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
    good = (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
        and (step is None or math.isclose(value / step, round(value / step)))
    )
    return [] if good else [f"{value} is out of bounds: {schema}"]


def of_array(value: list[object], schema: Json, root: Json) -> list[str]:
    low, high = number(schema, "minItems") or 0, number(schema, "maxItems")
    found = [] if len(value) >= low and (high is None or len(value) <= high) else [f"size of {value!r}"]
    prefix = schema.get("prefixItems", [])
    assert isinstance(prefix, list)
    for index, item in enumerate(value):
        found += problems(item, prefix[index] if index < len(prefix) else schema.get("items", True), root)
    return found


def of_object(value: Json, schema: Json, root: Json) -> list[str]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    found = [f"{name} is missing" for name in required if name not in value]
    for name, item in value.items():
        if name in properties:
            found += problems(item, properties[name], root)
        elif schema.get("additionalProperties") is False:
            found.append(f"{name} is not allowed")
    return found


EXAMPLES: list[Json] = [
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["null", "integer"]}}, "required": ["a"]},
    {"type": "object", "required": ["free"], "additionalProperties": {"type": "integer"}},
    {"type": "object", "minProperties": 2},
    {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 3, "maxItems": 5},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "maxItems": 2},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"type": "integer"}, "minItems": 4, "uniqueItems": True},
    {"type": "string", "minLength": 50},
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"},
    {"type": "string", "pattern": "^[a-z]+$", "minLength": 12},
    {"type": "string", "format": "uuid"},
    {"type": "string", "default": "given"},
    {"type": "string", "default": "too long", "maxLength": 3},
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 5},
    {"type": "integer", "exclusiveMaximum": -5},
    {"type": "integer", "multipleOf": 7, "minimum": 20},
    {"type": "integer", "examples": ["no", 3.5, 12]},
    {"type": "number", "minimum": 0.25, "maximum": 0.5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number"},
    {"type": "number", "maximum": -3},
    {"type": "boolean"},
    {"type": "boolean", "default": False},
    {"type": "null"},
    {"type": ["null"]},
    {"default": "anything"},
    {"properties": {"a": {"type": "string"}}, "required": ["a"]},
    {"items": {"type": "string"}, "minItems": 1},
    {"minimum": 3},
    {"minLength": 3},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {}}}}},
    {
        "type": "object",
        "properties": {
            "a": {
                "type": "object",
                "properties": {
                    "a": {
                        "type": "object",
                        "properties": {
                            "a": {
                                "type": "object",
                                "properties": {"a": {"type": ["object", "null"], "required": ["x"]}},
                                "required": ["a"],
                            }
                        },
                        "required": ["a"],
                    }
                },
                "required": ["a"],
            }
        },
        "required": ["a"],
    },
    {"const": {"a": [1]}},
    {"enum": [None, 3]},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]}, {"type": "null"}]},
    {
        "type": "object",
        "allOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ],
    },
    {
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/node"}},
        "required": ["node"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value", "next", "children"],
            }
        },
    },
    {
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {
            "a": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            "b": {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
        },
    },
]


@pytest.mark.parametrize("schema", EXAMPLES)
def test_samples_fit_their_schemas(schema: Json) -> None:
    value = sample(schema)
    assert problems(value, schema, schema) == []
    assert sample(schema) == value


def test_the_validator_of_this_file_can_say_no() -> None:
    rows: list[tuple[Json, object]] = [
        ({"type": "integer"}, True),
        ({"type": "string", "minLength": 3}, "ab"),
        ({"type": "string", "pattern": "^a$"}, "b"),
        ({"type": "number", "multipleOf": 2}, 3),
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "object", "additionalProperties": False}, {"a": 1}),
        ({"type": "array", "items": {"type": "null"}}, [1]),
        ({"anyOf": [{"type": "null"}]}, 1),
    ]
    for schema, value in rows:
        assert problems(value, schema, schema)


NAMES = st.sampled_from(["a", "b", "city", "items", "url"])
LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.just("boolean")}),
    st.fixed_dictionaries({"type": st.sampled_from(["null", "string"])}),
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, more: {"type": "number", "minimum": low, "maximum": low + more},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 40),
        st.integers(0, 9),
    ),
    st.builds(
        lambda values: {"enum": values},
        st.lists(st.integers() | st.text(max_size=3) | st.none(), min_size=1, max_size=3),
    ),
)


def branches(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.one_of(
        st.builds(
            lambda properties, closed: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[::2],
                **({"additionalProperties": False} if closed else {}),
            },
            st.dictionaries(NAMES, inner, max_size=3),
            st.booleans(),
        ),
        st.builds(
            lambda items, low, more: {"type": "array", "items": items, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 3),
            st.integers(0, 2),
        ),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    )


@settings(deadline=None, max_examples=200)
@given(st.recursive(LEAVES, branches, max_leaves=12))
def test_samples_fit_any_schema(schema: Json) -> None:
    assert problems(sample(schema), schema, schema) == []
    assert problems(sample(schema, terse=True), schema, schema) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**12, "items": {"type": "array", "minItems": 10**12}},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "(((a{9999}){9999}){9999})"},
        {"type": "string", "pattern": "(a+)+" * 150 + "$", "minLength": 9_999},
        {"type": "object", "required": [f"p{number}" for number in range(100_000)]},
        {"type": "object", "minProperties": 10**12},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcdefghij"}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
)
def test_hostile_schemas_are_answered_within_bounds(schema: Json) -> None:
    assert len(msgspec.json.encode(sample(schema))) < 5_000_000


def test_terse_samples_hold_what_is_required() -> None:
    """An option that was made up breaks the tool that takes it."""
    bash: dict[str, object] = {
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}, "sandbox": {"type": "boolean"}},
    }
    assert sample({**bash, "required": ["command"]}, terse=True) == {"command": "echo sandbox"}
    assert sample(bash, terse=True) == sample(bash) == {"command": "echo sandbox", "timeout": 1.0, "sandbox": True}
    nested = {"type": "object", "properties": {"inner": {**bash, "required": ["timeout"]}}}
    assert sample(nested, terse=True) == {"inner": {"timeout": 1.0}}


def test_familiar_names_look_the_part() -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in ("city", "url", "tone")}}
    assert sample(schema) == {"city": "Paris", "url": "https://example.com/", "tone": "sandbox tone"}
    assert schemas.WORDS["command"] == "echo sandbox"


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z]{2}-\\d{4}$",
        "(a|b)+?c\\w*[^x-z]",
        "(?P<y>\\d)(?=0)\\1",
        "^sk-[a-z0-9_-]{3,}$",
        "[^a]",
        "\\bfoo\\b",
        "(?:x|y){2,3}",
        "(?<!a)b",
        "^\\+?[1-9]\\d{1,14}$",
        "^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$",
        "^(\\d{3}-)?x{2}$",
        '{"a"}',
        "[]a]",
        "[\\d.]+",
        "a{2",
        "\\x41\\u0042",
        ".*",
        "[^\\W\\d_]",
        "[a\\]]",
        "[\\x41-\\x43]",
        "(?P<x>a)|b",
        "\\.\\*\\/",
    ],
)
@pytest.mark.parametrize("least", [0, 5])
def test_strings_match_the_pattern_they_were_made_for(pattern: str, least: int) -> None:
    assert re.search(pattern, matching(pattern, least))


@pytest.mark.parametrize(
    "pattern", ["((", "a)", "[", "(?x", "\\", "(?<a", "(" * 900, "a" * 2_000, "\\xZZ", "(?#c)", "(?Px)", "a|(b"]
)
def test_what_cannot_be_read_gives_an_empty_string(pattern: str) -> None:
    assert matching(pattern) == ""


@settings(deadline=None)
@given(st.text(alphabet="ab01\\dws[]^-(){}?*+|.$,x:<=!P", max_size=20), st.integers(0, 30))
def test_reading_a_pattern_never_fails(pattern: str, least: int) -> None:
    assert len(matching(pattern, least)) <= 10_000
