"""What a schema asks of a target: the strict subset, depth, the least a tool's schema must have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import json_schema, json_text

Json = dict[str, Any]


def closed(**properties: object) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TEXT: Json = {"type": "string"}
OPEN: Json = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
OPTIONAL: Json = {**closed(a=TEXT), "required": []}


def nested(depth: int) -> Json:
    schema = TEXT
    for _ in range(depth):
        schema = closed(a=schema)
    return schema


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(), True),
        (closed(a=TEXT, b={"type": ["string", "null"]}), True),
        (closed(a={"type": "array", "items": closed(b=TEXT)}), True),
        (closed(a={"anyOf": [TEXT, closed(b=TEXT)]}), True),
        ({**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": closed(c=TEXT)}}, True),
        (nested(50), True),
        (OPEN, False),
        (OPTIONAL, False),
        ({**closed(a=TEXT), "required": ["a", "b"]}, False),
        ({**closed(a=TEXT), "required": "a"}, False),
        ({**closed(), "properties": []}, False),
        (closed(a=OPEN), False),
        (closed(a={"type": "array", "items": OPTIONAL}), False),
        (closed(a={"anyOf": [TEXT, OPEN]}), False),
        ({**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": OPEN}}, False),
        (closed(a={"allOf": [TEXT]}), False),
        (closed(a={"properties": {}}), False),
        (closed(a=True), False),
        (TEXT, False),
        ({}, False),
        (None, False),
        (nested(200), False),
    ],
)
def test_whether_a_schema_can_be_followed_strictly(schema: object, strict: bool) -> None:
    assert json_schema.is_strict(schema) is strict


@pytest.mark.parametrize(
    ("schema", "levels"),
    [
        (TEXT, 1),
        (None, 1),
        (closed(a=TEXT), 2),
        (closed(a={"anyOf": [TEXT, closed(b=TEXT)]}), 4),
        (nested(7), 8),
        (nested(500), 100),
    ],
)
def test_depth(schema: object, levels: int) -> None:
    assert json_schema.depth(schema) == levels


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {"properties": {}}, {"type": "string"}])
def test_a_tools_schema_has_at_least_a_type_and_properties(schema: Json | None) -> None:
    assert json_schema.object_schema(schema) == {"type": "object", "properties": {}, **(schema or {})}


def test_a_schema_that_has_both_is_left_alone() -> None:
    assert json_schema.object_schema(OPEN) is OPEN


JUNK = st.recursive(
    st.none() | st.booleans() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "required", "$defs"]), inner)
    ),
    max_leaves=8,
)


@given(JUNK)
def test_no_schema_is_too_strange(schema: object) -> None:
    json_schema.is_strict(schema)
    assert json_schema.depth(schema) >= 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        ({"n": 10**30}, '{"n":' + "1" + "0" * 30 + "}"),
        ([-(10**30)], "[-1" + "0" * 30 + "]"),
    ],
)
def test_values_as_json_whatever_their_size(value: object, text: str) -> None:
    assert json_text.encode(value) == text.encode()


def test_arrays_say_of_what() -> None:
    fine: Json = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    assert json_schema.object_schema(fine) is fine
    bare: Json = {"type": "array"}
    deep: Json = {
        "type": "object",
        "properties": {"a": bare, "b": {"anyOf": [bare, {"type": "null"}]}, "c": {"type": ["array", "null"]}},
        "$defs": {"d": {"type": "array", "items": bare}},
    }
    whole = {"type": "array", "items": {}}
    assert json_schema.object_schema(deep) == {
        "type": "object",
        "properties": {
            "a": whole,
            "b": {"anyOf": [whole, {"type": "null"}]},
            "c": {"type": ["array", "null"], "items": {}},
        },
        "$defs": {"d": {"type": "array", "items": whole}},
    }
    assert bare == {"type": "array"}


def test_strict_mode_wants_types() -> None:
    schema: Json = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    assert not json_schema.is_strict(schema)
    assert json_schema.is_strict({**schema, "properties": {"a": {"enum": ["x"]}}})
