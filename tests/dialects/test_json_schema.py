"""Which schemas are strict, how deep they nest, and how they are made to fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.json_schema import depth, flattened, is_flat, is_strict, object_schema

Json = dict[str, Any]

TEXT: Json = {"type": "string"}


def closed(**properties: object) -> Json:
    names = list(properties)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        closed(),
        closed(a=TEXT, b={"type": "array", "items": closed(c={"type": ["string", "null"]})}),
        closed(a={"anyOf": [TEXT, closed()]}, b={"$ref": "#/$defs/x"}) | {"$defs": {"x": closed()}},
        closed(
            a={"type": "string", "format": "date", "pattern": "^2"}, b={"type": "integer", "minimum": 1, "enum": [1]}
        ),
        {**closed(a=TEXT), "title": "T", "description": "d", "$schema": "http://json-schema.org/draft-07/schema#"},
    ],
)
def test_strict(schema: Json) -> None:
    assert is_strict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TEXT,
        {"type": "object", "properties": {}},
        {**closed(a=TEXT), "required": []},
        {**closed(a=TEXT), "additionalProperties": True},
        {**closed(a=TEXT), "anyOf": [closed()]},
        closed(a={"type": "object"}),
        closed(a={**TEXT, "format": "uri"}),
        closed(a={**TEXT, "format": ["date"]}),
        closed(a={**TEXT, "minLength": 1}),
        closed(a={**TEXT, "default": "x"}),
        closed(a={"oneOf": [TEXT]}),
        closed(a={"anyOf": [{"type": "object", "properties": {}}]}),
        closed(a={"type": "array", "items": True}),
        {**closed(), "properties": []},
        {**closed(), "required": "a"},
        "string",
    ],
)
def test_not_strict(schema: object) -> None:
    assert not is_strict(schema)


@given(
    st.recursive(
        st.none() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "properties", "required", "items", "anyOf", "allOf", "$defs", "format", "enum"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_schemas_of_any_shape_are_looked_at(schema: Any) -> None:
    is_strict(schema)
    depth(schema)
    if isinstance(schema, dict):
        found = flattened(schema)
        assert is_flat(found) and found["type"] == "object"
        assert set(found["required"]) <= set(found["properties"])


def test_depth() -> None:
    assert depth(TEXT) == 1
    assert depth(closed(a={"type": "array", "items": closed(b=TEXT)})) == 4


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}])
def test_an_object_has_a_type_and_properties(schema: Json | None) -> None:
    assert object_schema(schema) == {"type": "object", "properties": {}}


def test_a_sound_schema_is_left_alone() -> None:
    schema = closed(a=TEXT)
    assert object_schema(schema) is schema
    assert is_flat(schema)


@pytest.mark.parametrize(("key", "required"), [("anyOf", ["b"]), ("oneOf", ["b"]), ("allOf", ["a", "b"])])
def test_choices_at_the_root_become_one_object(key: str, required: list[str]) -> None:
    first = {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]}
    second = {"properties": {"b": {"type": "integer"}, "c": TEXT}, "required": ["b"]}
    schema = {"type": "object", "description": "d", key: [first, second, True]}
    assert not is_flat(schema)
    assert flattened(schema) == {
        "type": "object",
        "description": "d",
        "properties": {"a": TEXT, "b": TEXT, "c": TEXT},
        "required": required,
    }
