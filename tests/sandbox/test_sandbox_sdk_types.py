"""The request tables against the official SDK's own request types: no field of theirs unknown, none of ours invented.

For every TypedDict that the SDK can send, a value is made from its annotations and given to the table of the same
block or tool: once with the required fields alone, once with all of them, and once with each required field missing.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, Required, Union, get_args, get_origin

import anthropic.types as ga
import anthropic.types.beta as beta
import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaCreate
from anthropic.types.message_create_params import MessageCreateParamsBase as Create
from typing_extensions import get_type_hints, is_typeddict

from asbru.sandbox import request_fields, request_shapes
from asbru.sandbox.answers import ApiError
from asbru.sandbox.shape import Shape, tagged

Json = dict[str, object]

UNMODELLED = {
    "compaction": "the sandbox has no compaction",
    "betas": "a header",
    "user_profile_id": "a header",
    "workspace_id": "a header",
}
"""Fields of the SDK's methods that are not fields of the body, or that the sandbox leaves out."""

SPECIAL: Json = {
    "data": "aGk=",
    "media_type": "image/png",
    "id": "srvtoolu_01",
    "tool_use_id": "toolu_01",
    "name": "some_name",
    "input_schema": {"type": "object"},
    "budget_tokens": 2_000,
    "ttl": "1h",
}
"""Values for fields whose types do not say what they must look like."""


def is_required(annotation: object) -> bool:
    return get_origin(annotation) is Required


def value_for(name: str, annotation: object, full: bool) -> object:
    """A value of the annotated type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Required, NotRequired):
        return value_for(name, arguments[0], full)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return value_for(name, arguments[0], full)
    if is_typeddict(annotation):
        return instance(annotation, full)
    if origin in (list, Sequence, Iterable) or str(annotation).startswith("typing.Iterable"):
        return [value_for(name, arguments[0], full)]
    if origin is dict:
        value = value_for(name, arguments[1], full) if is_typeddict(arguments[1]) else "x"
        return SPECIAL.get(name, {"key": value})
    if name in SPECIAL and annotation is str:
        return SPECIAL[name]
    return {bool: True, int: 60_000, float: 0.5}.get(annotation, "text") if isinstance(annotation, type) else "text"


def instance(kind: object, full: bool) -> Json:
    """A dictionary of this TypedDict, with all fields or only the required ones."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: value_for(name, hint, full) for name, hint in hints.items() if full or is_required(hint)}


def type_of(kind: object) -> str:
    annotation: object = get_type_hints(kind, include_extras=True)["type"]
    while True:
        arguments: tuple[object, ...] = get_args(annotation)
        if isinstance(arguments[0], str):
            return arguments[0]
        annotation = next(argument for argument in arguments if argument is not type(None))


def members(annotation: object) -> list[object]:
    """The TypedDicts in an annotation, however deep in unions and lists."""
    if is_typeddict(annotation):
        return [annotation]
    return [found for argument in get_args(annotation) for found in members(argument)]


def union_of(holder: object, field: str) -> list[object]:
    return members(get_type_hints(holder, include_extras=True)[field])


BLOCKS = [*union_of(ga.UserMessageParam, "content"), *union_of(beta.BetaUserMessageParam, "content")]
TOOLS = [*union_of(Create, "tools"), *union_of(BetaCreate, "tools")]
IN_SYSTEM = {"tool_addition", "tool_removal"}
"""Typed as content of any message, but contract §2.2 has them in system messages."""
CASES: list[tuple[str, object, Shape]] = [
    *(("block", kind, tagged(request_shapes.BLOCKS)) for kind in BLOCKS if type_of(kind) not in IN_SYSTEM),
    *(("system", kind, request_fields.SYSTEM_CONTENT) for kind in BLOCKS if type_of(kind) in IN_SYSTEM),
    *(("tool", kind, tagged(request_fields.TOOLS, default="custom")) for kind in TOOLS),
    *(("citation", kind, request_shapes.CITATION) for kind in union_of(ga.TextBlockParam, "citations")),
    *(("result", kind, request_shapes.RESULT_CONTENT) for kind in union_of(ga.ToolResultBlockParam, "content")),
    *(("thinking", kind, request_fields.THINKING) for kind in union_of(BetaCreate, "thinking")),
    *(("choice", kind, request_fields.TOOL_CHOICE) for kind in union_of(BetaCreate, "tool_choice")),
    *(("server", kind, request_fields.MCP_SERVER) for kind in union_of(BetaCreate, "mcp_servers")),
    *(("context", kind, request_fields.CONTEXT_MANAGEMENT) for kind in union_of(BetaCreate, "context_management")),
    *(("output", kind, request_fields.OUTPUT_CONFIG) for kind in union_of(BetaCreate, "output_config")),
    *(("cache", kind, request_shapes.CACHE) for kind in union_of(BetaCreate, "cache_control")),
]


def named(case: tuple[str, object, Shape]) -> str:
    return f"{case[0]}-{getattr(case[1], '__name__', case[1])}"


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_the_sdk_can_send_is_taken(case: tuple[str, object, Shape]) -> None:
    _, kind, shape = case
    for full in (False, True):
        shape(instance(kind, full), ("it",))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_the_sdk_requires_is_required(case: tuple[str, object, Shape]) -> None:
    _, kind, shape = case
    hints = get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        if is_required(hint):
            short = {field: value for field, value in instance(kind, True).items() if field != name}
            # Without a type, a tool is one of the caller's own and lacks what those need.
            words = "Field required|does not match" if name == "type" else rf"{name}: Field required"
            with pytest.raises(ApiError, match=words):
                shape(short, ("it",))


@pytest.mark.parametrize("case", CASES, ids=named)
def test_other_fields_are_refused(case: tuple[str, object, Shape]) -> None:
    _, kind, shape = case
    with pytest.raises(ApiError, match=r"surplus: Extra inputs are not permitted"):
        shape({**instance(kind, False), "surplus": 1}, ("it",))


def test_the_top_level_has_every_field_of_the_sdks_methods() -> None:
    known = set(request_fields.MESSAGE_FIELDS)
    for kind in (Create, BetaCreate):
        sent = set(get_type_hints(kind, include_extras=True)) - set(UNMODELLED)
        assert sent - known == set()


def test_every_client_tool_and_block_of_the_tables_is_one_of_the_sdks() -> None:
    sdk_tools = {type_of(kind) for kind in TOOLS if "type" in get_type_hints(kind)}
    sdk_tools |= {"tool_search_tool_regex", "tool_search_tool_bm25"}
    assert set(request_fields.TOOLS) == sdk_tools
    assert set(request_shapes.BLOCKS) | IN_SYSTEM == {type_of(kind) for kind in BLOCKS}
