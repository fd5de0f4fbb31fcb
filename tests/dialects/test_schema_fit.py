"""Every host takes every schema after one pass: hosts' cases, pydantic's schemas, Claude Code's own tools."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.dialects.json_schema import is_strict
from asbru.dialects.schema_fit import fit
from asbru.sandbox.speeches import openai_schema

Json = dict[str, Any]

TEXT: Json = {"type": "string"}


def closed(**properties: object) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def nodes(schema: object) -> Iterator[Json]:
    """Every schema within, as far as validators look."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("properties", "$defs", "definitions"):
        for inner in (schema.get(name) or {}).values():
            yield from nodes(inner)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for inner in schema.get(name) or ():
            yield from nodes(inner)
    yield from nodes(schema.get("items"))


def takes(schema: Json) -> None:
    """Raises where a host would refuse the schema: OpenAI by the sandbox, Moonshot and grammars by their rules."""
    found = fit(schema)
    openai_schema.check(found.schema, "f", "function", "tools[0]", strict=False)
    assert found.schema["type"] == "object"
    if found.strict is not None:
        openai_schema.check(found.strict, "f", "function", "tools[0]", strict=True)
    for node in nodes(found.schema):
        assert node.keys() == {"$ref"} or "$ref" not in node
        assert not ({"enum", "const"} & node.keys() and "type" not in node)
        assert node is found.schema or "anyOf" not in node or "type" not in node
        assert not isinstance(node.get("items"), list)
        assert "(?!" not in str(node.get("pattern"))
        if "pattern" in node:
            re.compile(node["pattern"])


# Cases


def test_words_beside_a_reference_go_around_it() -> None:
    schema = {
        **closed(lead={"$ref": "#/$defs/Chart", "description": "The main chart"}),
        "$defs": {"Chart": closed(kind=TEXT)},
    }
    found = fit(schema)
    assert found.lost is None
    assert found.strict == {
        **closed(lead={"anyOf": [{"$ref": "#/$defs/Chart"}], "description": "The main chart"}),
        "$defs": {"Chart": closed(kind=TEXT)},
    }
    takes(schema)


def test_a_choice_at_the_root_becomes_one_object() -> None:
    schema = {
        "type": "object",
        "properties": {"id": TEXT, "slug": TEXT},
        "anyOf": [{"required": ["id"]}, {"required": ["slug"]}],
    }
    found = fit(schema)
    assert found.schema == {"type": "object", "properties": {"id": TEXT, "slug": TEXT}, "required": []}
    assert found.lost == "one object with the properties of every choice"


def test_a_reference_at_the_root_is_resolved() -> None:
    node = closed(next={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]})
    found = fit({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert found.lost is None and found.strict is not None
    assert found.strict["properties"] == node["properties"]
    for circle in ({"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, {"$ref": "http://x"}):
        takes(circle)


def test_values_say_their_type() -> None:
    found = fit(
        {"type": "object", "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 1}, "c": {"enum": [1, None]}}}
    )
    kinds = {name: each["type"] for name, each in found.schema["properties"].items()}
    assert kinds == {"a": "string", "b": "integer", "c": ["integer", "null"]}
    assert found.lost is None


def test_a_type_beside_a_choice_goes_into_it() -> None:
    nested = {"type": "object", "properties": {"a": TEXT}, "anyOf": [{"required": ["a"]}, TEXT]}
    (made,) = fit({"type": "object", "properties": {"n": nested}}).schema["properties"].values()
    assert made == {"properties": {"a": TEXT}, "anyOf": [{"type": "object", "required": ["a"]}, TEXT]}


@pytest.mark.parametrize(
    "pattern", [r"^(?!x)a$", r"(?<=a)b", r"(a)\1", r"(?P<n>a)", r"\bword\b", r"\p{L}+", "a++", "["]
)
def test_a_pattern_beyond_grammars_is_said_in_words(pattern: str) -> None:
    found = fit(closed(a={"type": "string", "pattern": pattern, "description": "An a."}))
    assert found.schema["properties"]["a"] == {"type": "string", "description": f"An a. Pattern: {pattern}"}
    assert found.lost == "a pattern is in the description"


@pytest.mark.parametrize("pattern", [r"^[a-z]{1,3}$", r"^(?:a|b)+\.\d*$", r"\w+@\w+"])
def test_a_plain_pattern_stays(pattern: str) -> None:
    schema = closed(a={"type": "string", "pattern": pattern})
    assert (fit(schema).schema, fit(schema).lost) == (schema, None)


def test_what_every_host_takes_stays_as_it_is() -> None:
    schema = closed(a=TEXT, b={"type": "array", "items": closed(c={"type": ["string", "null"]})})
    assert fit(schema) == (schema, schema, None)
    assert fit(None).schema == {"type": "object", "properties": {}}


WORDS = {"type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref", "$defs", "pattern"}
WORDS |= {"required", "additionalProperties", "description", "a", "not", "prefixItems", "format", "if", "then"}


@pytest.mark.parametrize("kind", [["object", "null"], "string", None, 1])
def test_the_root_is_an_object(kind: object) -> None:
    assert fit({"type": kind, "properties": {"a": TEXT}}).schema["type"] == "object"
    assert fit({"type": kind}).schema == {"type": "object", "properties": {}}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["string", "object", "a", "#/$defs/a", "#", "("]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(WORDS)),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "anyOf", "$ref", "$defs", "enum"]), json_values))
def test_it_never_fails_and_has_an_object_at_the_root(schema: Json) -> None:
    found = fit(schema)
    assert isinstance(found.schema, dict)
    assert found.strict is None or is_strict(found.strict)
    json.dumps(found.schema)


# pydantic


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Circle(pydantic.BaseModel):
    kind: Literal["circle"]
    radius: decimal.Decimal


class Square(pydantic.BaseModel):
    """A square."""

    kind: Literal["square"] = "square"
    side: float = pydantic.Field(gt=0, description="In metres")


class Node(pydantic.BaseModel):
    value: int
    next: Node | None = None


class Strict(pydantic.BaseModel, extra="forbid"):
    shape: Circle = pydantic.Field(description="The shape")
    when: datetime.datetime | None


Shape = Annotated[Circle | Square, pydantic.Field(discriminator="kind")]
TYPES: list[Any] = [
    str,
    int,
    float,
    bool,
    bytes,
    decimal.Decimal,
    datetime.date,
    datetime.timedelta,
    uuid.UUID,
    Colour,
    Literal["a", 1, None],
    Circle,
    Node,
    Strict,
    Shape,
    pydantic.AnyUrl,
    pydantic.Json,
    re.Pattern[str],
    Any,
    Annotated[str, pydantic.Field(pattern=r"^\d{4}$", description="A year")],
    Annotated[list[int], pydantic.Field(min_length=1)],
    tuple[int, str],
    tuple[int, ...],
    dict[str, Circle],
    dict[str, Any],
    list[Shape],
    set[str],
    Circle | Square | None,
]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(["required", "optional", "described"])), max_size=5))
def test_pydantics_schemas_pass_every_host(fields: list[tuple[Any, str]]) -> None:
    given: dict[str, Any] = {}
    for index, (kind, how) in enumerate(fields):
        wrapped = kind | None if how == "optional" and kind is not Any and kind is not re.Pattern[str] else kind
        default = None if how == "optional" else ...
        given[f"f{index}"] = (wrapped, pydantic.Field(default, description="It" if how == "described" else None))
    takes(pydantic.create_model("Made", **given).model_json_schema())


@pytest.mark.parametrize(
    "model", [Circle, Square, Node, Strict, pydantic.RootModel[Circle | Square], pydantic.RootModel[Shape]]
)
def test_pydantics_models_pass_every_host(model: type[pydantic.BaseModel]) -> None:
    takes(model.model_json_schema())
    takes(model.model_json_schema(mode="serialization"))


def test_a_closed_model_of_pydantic_stays_strict() -> None:
    class Chart(pydantic.BaseModel, extra="forbid"):
        name: str

    class Report(pydantic.BaseModel, extra="forbid"):
        lead: Chart = pydantic.Field(description="The main chart")
        rest: list[Chart]

    found = fit(Report.model_json_schema())
    assert found.strict is not None and found.lost is None


# Claude Code

CAPTURES = Path(__file__).resolve().parent.parent / "captures"


def _schemas() -> Iterator[Json]:
    for file in sorted(CAPTURES.rglob("*.json")):
        body = json.loads(file.read_text("utf-8"))["body_raw"]
        if isinstance(body, str) and body.startswith("{"):
            for tool in _tools(json.loads(body)):
                yield tool["input_schema"]


def _tools(value: object) -> Iterator[Json]:
    if isinstance(value, dict):
        if isinstance(value.get("input_schema"), dict):
            yield value
        for inner in value.values():
            yield from _tools(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tools(inner)


def test_claude_codes_tools_pass_every_host() -> None:
    schemas = {json.dumps(schema, sort_keys=True): schema for schema in _schemas()}
    assert len(schemas) > 10
    for schema in schemas.values():
        takes(schema)
