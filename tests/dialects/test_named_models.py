"""Where a request names models besides its ``model``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import named_models, splice
from asbru.dialects.splice import SpliceError

Json = dict[str, object]
CAPTURES = sorted(Path(__file__).parent.parent.joinpath("captures").rglob("*.json"))
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-adv"}
SCHEMA = {"type": "object", "properties": {"model": {"type": "string", "default": "x"}, "a": {"model": "in a schema"}}}


def body_of(**fields: object) -> Json:
    return {"model": "claude-top", "messages": [{"role": "user", "content": "hi"}], **fields}


def found(body: Json | bytes, *, own_fallbacks: bool = False) -> dict[str, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = named_models.in_message(splice.split(raw), own_fallbacks=own_fallbacks)
    for where, name, (start, end) in named:
        assert json.loads(raw[start:end]) == name, where
    assert len({where for where, *_ in named}) == len(named)
    return {where: name for where, name, _ in named}


def addition(**definition: object) -> Json:
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"fallbacks": "default"}, {"fallbacks": "default"}),
        ({"fallbacks": [{"model": "m-1"}, {"model": "m-2", "max_tokens": 9}]}, {"0.model": "m-1", "1.model": "m-2"}),
        ({"fallbacks": ["m-1", {"model": "m-2"}, 3, None]}, {"0": "m-1", "1.model": "m-2"}),
        ({"fallbacks": {"model": "m-1"}}, {"model": "m-1"}),
        ({"fallbacks": [{"model": "m-1", "x": {"model": "m-3"}}]}, {"0.model": "m-1", "0.x.model": "m-3"}),
        ({"fallbacks": [[{"model": "m-1"}]]}, {"0.0.model": "m-1"}),
        ({"tools": [{"name": "a", "input_schema": SCHEMA}, ADVISOR]}, {"1.model": "claude-adv"}),
        ({"tools": [{"type": "mcp_toolset", "configs": {"model": {"enabled": True}}, "tools": [ADVISOR]}]},
         {"0.tools.0.model": "claude-adv"}),
        ({"tools": ADVISOR}, {"model": "claude-adv"}),
        ({"tools": [{**ADVISOR, "model": None}, {**ADVISOR, "model": 5}, {**ADVISOR, "model": True}]}, {}),
        ({"context_management": {"edits": [{"type": "compact_20260112", "model": "m-1"}]}}, {"edits.0.model": "m-1"}),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, {}),
        ({"output_format": {"type": "json_schema", "schema": SCHEMA}}, {}),
        ({"metadata": {"model": "theirs"}}, {}),
        ({"Model": "m-1"}, {"": "m-1"}),
    ],
)  # fmt: skip
def test_places_of_the_top_level(fields: Json, expected: dict[str, str]) -> None:
    (member,) = fields or ("",)
    paths = {member if where in ("", member) else f"{member}.{where}": name for where, name in expected.items()}
    if member == "fallbacks" and "fallbacks" in expected:
        paths = {"fallbacks": "default"}
    assert found(body_of(**fields)) == paths


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([addition(**ADVISOR)], {"0.tool.definition.model": "claude-adv"}),
        ([addition(type="custom", name="a", input_schema=SCHEMA)], {}),
        ([addition(Model="m-1")], {"0.tool.definition.Model": "m-1"}),
        (
            [{"type": "text", "text": "x"}, {"type": "compaction", "tool_changes": [addition(**ADVISOR)]}],
            {"1.tool_changes.0.tool.definition.model": "claude-adv"},
        ),
        ([{"type": "tool_use", "id": "t", "name": "Agent", "input": {"model": "sonnet"}}], {}),
        ([{"type": "fallback", "from": {"model": "m-1"}, "to": {"model": "m-2"}, "trigger": {"model": "m-3"}}], {}),
        ([{"type": "text", "text": '{"model": "m-1"} "tool_definition" \\u006d'}], {}),
        ([{"type": "of the future", "model": "m-1"}], {"0.model": "m-1"}),
    ],
)
def test_places_in_a_conversation(content: list[Json], expected: dict[str, str]) -> None:
    body = body_of(messages=[{"role": "user", "content": "hi"}, {"role": "system", "content": content}])
    assert found(body) == {f"messages.1.content.{where}": name for where, name in expected.items()}


def test_names_for_the_gateway_itself_are_not_among_them() -> None:
    assert found(body_of(fallbacks=["a", "b"]), own_fallbacks=True) == {}


@pytest.mark.parametrize("key", [r"\u006dodel", r"mode\u006C", "MODEL", r"\u004Dodel"])
@pytest.mark.parametrize("shape", ['"tools":[{%s}]', '"x":{"y":[{%s}]}', '"fallbacks":[{"model":"m-0"},{%s}]'])
def test_other_spellings_of_the_key(key: str, shape: str) -> None:
    raw = ('{"model":"m",' + shape % f' "{key}" : "m-1"' + "}").encode()
    assert "m-1" in found(raw).values()


def test_other_spellings_in_a_conversation() -> None:
    raw = rb'{"model":"m","messages":[{"role":"system","content":[{"type":"tool_d\u0065finition","Model":"m-1"}]}]}'
    assert found(raw) == {"messages.0.content.0.Model": "m-1"}


def test_names_are_unescaped_and_lone_surrogates_elsewhere_do_no_harm() -> None:
    raw = rb'{"model":"m","tools":[{"description":"\ud83d", "model":"m\u002d1"}, {"model":"\ud83d\ude00"}]}'
    assert found(raw) == {"tools.0.model": "m-1", "tools.1.model": "\U0001f600"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ('"tools":[{"model":"a","model":"b"}]', 'tools.0: duplicate key "model"'),
        (r'"tools":[{"model":"a","mod\u0065l":"b"}]', 'tools.0: duplicate key "model"'),
        ('"fallbacks":[{"model":"a"},{"model":"a","x":1,"model":"b"}]', 'fallbacks.1: duplicate key "model"'),
        ('"x":{"y":{"model":"a"},"y":{}}', 'x: duplicate key "y"'),
        ('"tools":[{"model":["a"]}]', "tools.0.model: Input should be a valid string"),
        ('"tools":[{"model":{"id":"a"}}]', "tools.0.model: Input should be a valid string"),
        (r'"tools":[{"model":"\ud83d"}]', "tools.0.model: Input should be a valid string"),
        ('"tools":[{"model":""}]', "tools.0.model: String should have 1 to 512 characters"),
        (f'"fallbacks":"{"x" * 513}"', "fallbacks: String should have 1 to 512 characters"),
    ],
)
def test_what_could_be_read_in_more_than_one_way_is_refused(fields: str, says: str) -> None:
    with pytest.raises(SpliceError) as refused:
        found(f'{{"model":"m",{fields}}}'.encode())
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "field",
    [
        '"tools":[' + ",".join(['{"model":1}'] * 10_001) + "]",
        '"tools":[{"model":"a"},' + ",".join("1" * 100_001) + "]",
        '"fallbacks":[' + ",".join(['"a"'] * 100_002) + "]",
        '"x":"' + r"\u0061" * 100_001 + '"',
        '"messages":[{"role":"system","content":[{"model":1},' + ",".join("1" * 100_001) + "]}]",
    ],
)
def test_what_is_looked_into_is_bounded(field: str) -> None:
    with pytest.raises(SpliceError, match="more than 1"):
        found(f'{{"model":"m",{field}}}'.encode())


def test_depth_is_bounded() -> None:
    raw = b'{"model":"m","x":' + b'{"a":' * 12 + b'{"model":"deep"}' + b"}" * 12 + b"}"
    assert found(raw) == {}
    assert len(found(raw.replace(b'{"a":' * 12, b'{"a":' * 9).replace(b"}" * 13, b"}" * 10))) == 1


def test_a_batch_is_searched_request_by_request() -> None:
    first = {"custom_id": "1", "params": body_of(tools=[ADVISOR], fallbacks=["m-1", "m-2"])}
    second = {
        "params": body_of(fallbacks="default", Fallbacks=["m-3"], MODEL="m-4"),
        "custom_id": "2",
        "model": "not a parameter",
    }
    raw = json.dumps({"x": [], "requests": [first, {"custom_id": "n", "params": {"model": "m"}}, second]}).encode()
    named = named_models.in_batch(raw)
    assert {where: name for where, name, _ in named} == {
        "requests.0.params.tools.0.model": "claude-adv",
        "requests.0.params.fallbacks.0": "m-1",
        "requests.0.params.fallbacks.1": "m-2",
        "requests.2.params.fallbacks": "default",
        "requests.2.params.Fallbacks.0": "m-3",
        "requests.2.params.MODEL": "m-4",
    }
    assert all(json.loads(raw[start:end]) == name for _, name, (start, end) in named)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_no_client_in_the_captures_names_another_model(path: Path) -> None:
    text = json.loads(path.read_bytes()).get("body_raw")
    if text and text.startswith("{") and '"requests"' not in text:
        assert found(text.encode()) == {}


values = st.recursive(
    st.sampled_from(["m-1", "model", "", 1, None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "a", "input", "é"]), inner),
    max_leaves=12,
)


def plain(value: object, where: str) -> dict[str, str]:
    """The oracle: every member ``model`` that is a string, outside of data."""
    if isinstance(value, list):
        return {k: v for index, item in enumerate(value) for k, v in plain(item, f"{where}.{index}").items()}
    names: dict[str, str] = {}
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "model" and isinstance(inner, str):
            names[f"{where}.model"] = inner
        elif key != "input":
            names |= plain(inner, f"{where}.{key}")
    return names


@given(values)
def test_as_a_plain_walk_finds_them(value: object) -> None:
    expected = plain(value, "x")
    try:
        assert found(body_of(x=value)) == expected
    except SpliceError as refused:
        assert "valid string" in str(refused) or "1 to 512" in str(refused)
