"""Tool calls of hosts that do not number them as OpenAI does, and what hosts want back beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.codec import Context, Quirks
from asbru.dialects.losses import Losses
from asbru.dialects.openai_chat import CODEC
from tests.dialects.openai_chat.test_openai_chat_answer import STOP, content, context, delta, streamed

Json = dict[str, Any]

OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'


def pieces(*calls: Json) -> list[Any]:
    """The calls that a stream of these pieces makes, each as name and input."""
    read = streamed(*(delta(tool_calls=[call]) for call in calls), STOP)
    return [[block["name"], block["input"]] for block in content(read)]


def piece(name: str | None, arguments: str | None, **more: Any) -> Json:
    return {"index": 0, "id": "", **more, "function": {"name": name, "arguments": arguments}}


WEATHER, TIME = ["get_weather", {"city": "Oslo"}], ["get_time", {"city": "Rome"}]


@pytest.mark.parametrize("ids", [("", ""), (None, None), ("a", "b"), ("a", "")])
def test_two_names_on_one_index_are_two_calls(ids: tuple[str | None, str | None]) -> None:
    one, other = piece("get_weather", OSLO, id=ids[0]), piece("get_time", ROME, id=ids[1])
    assert pieces(one, other) == [WEATHER, TIME]


def test_two_inputs_of_one_name_are_two_calls() -> None:
    both = [WEATHER, ["get_weather", {"city": "Rome"}]]
    assert pieces(piece("get_weather", OSLO), piece("get_weather", ROME)) == both
    assert pieces(piece("get_weather", OSLO), piece(None, ROME)) == both
    assert pieces(piece("get_weather", '{"city":'), piece("get_weather", '"Oslo"}'), piece("get_weather", ROME)) == both


def test_a_call_without_input_is_one_too() -> None:
    assert pieces(piece("get_weather", ""), piece("get_time", ROME)) == [["get_weather", {}], TIME]


def test_a_name_or_an_id_with_every_piece_is_one_call() -> None:
    for more in ({"id": "a"}, {"id": None}, {"id": "a", "index": None}):
        cut = [piece("get_weather", fragment, **more) for fragment in ('{"ci', 'ty":"Os', 'lo"}')]
        assert pieces(*cut) == [WEATHER]


def test_an_id_counts_for_more_than_an_index() -> None:
    cut = [piece("get_weather", '{"city":', id="a", index=0), piece(None, '"Oslo"}', id="a", index=1)]
    assert pieces(*cut) == [WEATHER]
    interleaved = [
        piece("get_weather", '{"city":', id="a"),
        piece("get_time", '{"city":', id="b"),
        piece(None, '"Oslo"}', id="a"),
        piece(None, '"Rome"}', id="b"),
    ]
    assert pieces(*interleaved) == [WEATHER, TIME]


def test_an_input_that_is_said_twice_is_said_once() -> None:
    assert pieces(piece("get_weather", OSLO, id="a"), piece("get_weather", OSLO, id="a")) == [WEATHER]
    assert pieces(piece("get_weather", OSLO), piece(None, OSLO)) == [WEATHER]


def test_braces_within_an_input_begin_no_other_call() -> None:
    cut = [piece("f", '{"a":'), piece(None, "{}"), piece(None, ","), piece(None, '"b":'), piece(None, "{}}")]
    assert pieces(*cut) == [["f", {"a": {}, "b": {}}]]


# Beside a call


SIGNED: Json = {"google": {"thought_signature": "c2lnbmF0dXJl"}}


def _back(blocks: list[Json], where: Context) -> list[Json]:
    results = [
        {"type": "tool_result", "tool_use_id": b["id"], "content": "r"} for b in blocks if b["type"] == "tool_use"
    ]
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": results},
    ]
    body = json.dumps({"model": "m", "max_tokens": 100, "messages": turns}).encode()
    sent = CODEC.encode(messages.parse(body), where, Losses(CODEC.fidelity))
    calls: list[Json] = json.loads(sent.body)["messages"][1]["tool_calls"]
    return calls


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("field", ["extra_content", "provider_specific_fields"])
@pytest.mark.parametrize("id", ["call_1", "", "functions.f:0"])
def test_a_thought_signature_comes_back_beside_its_call(field: str, id: str, asked: bool) -> None:
    spoken = context(wants_thinking=asked, show_thinking=asked)
    first = piece("f", "{}", id=id, index=0, **{field: SIGNED})
    read = streamed(
        delta(content="So."),
        delta(tool_calls=[first]),
        delta(tool_calls=[piece("g", "{}", index=1)]),
        STOP,
        spoken=spoken,
    )
    one, other = _back(content(read), context())
    assert (one["function"]["name"], one[field]) == ("f", SIGNED)
    assert "extra_content" not in other
    foreign = Context(provider="another", model="m", shown_model="m", message_id="msg_2")
    assert all(field not in call for call in _back(content(read), foreign))


def test_a_thought_signature_of_a_whole_answer_comes_back() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": SIGNED}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    blocks = json.loads(CODEC.decode(json.dumps(body).encode(), context()).message())["content"]
    assert _back(blocks, context())[0]["extra_content"] == SIGNED


# Think tags


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
def test_think_tags_become_a_thinking_block(step: int) -> None:
    said = "\n<think>\nHm <b>, </thin.\n</think>\n\nYes <think>no</think>."
    spoken = context(quirks=Quirks(think_tags=True))
    chunks = [delta(content=said[at : at + step]) for at in range(0, len(said), step)]
    thought, text = content(streamed(*chunks, STOP, spoken=spoken))
    assert thought["thinking"] == "\nHm <b>, </thin.\n"
    assert text["text"] == "Yes <think>no</think>."
    unasked = context(quirks=Quirks(think_tags=True), wants_thinking=False, show_thinking=False)
    assert content(streamed(*chunks, STOP, spoken=unasked)) == [text]


@pytest.mark.parametrize("said", ["Yes.", "<thin", "  ", "a <think>b</think>", "<b>"])
def test_text_without_a_tag_at_its_head_is_text(said: str) -> None:
    spoken = context(quirks=Quirks(think_tags=True))
    found = content(streamed(*(delta(content=each) for each in said), STOP, spoken=spoken))
    assert [block["text"] for block in found] == [said]


def test_tags_elsewhere_are_the_models_words() -> None:
    found = content(streamed(delta(content="<think>a</think>b"), STOP))
    assert [block["type"] for block in found] == ["text"]


def test_thinking_that_never_ends_is_thinking() -> None:
    spoken = context(quirks=Quirks(think_tags=True))
    cut = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    (thought,) = content(streamed(delta(content="<think>on and on</"), cut, spoken=spoken))
    assert thought["thinking"] == "on and on</"
