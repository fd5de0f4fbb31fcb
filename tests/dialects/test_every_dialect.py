"""What holds for answers in every translating dialect: broken characters, empty frames, ids that go back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.codec import Context, Model
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import ProviderError
from asbru.dialects.registry import codec
from tests import grammar
from tests.dialects import golden
from tests.dialects.bedrock_aws import frame

Json = dict[str, Any]


def context() -> Context:
    return Context(provider="p", model="gemini-3-flash", shown_model="m", message_id="msg_1")


def text_stream(dialect: str, *pieces: str) -> list[bytes]:
    """A stream of these pieces of text, in JSON as a provider writes halves."""
    if dialect == "bedrock-converse":
        frames: list[tuple[str, Json]] = [("messageStart", {"role": "assistant"})]
        frames += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}) for piece in pieces]
        frames += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"})]
        frames += [("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1}})]
        return [frame(kind, value) for kind, value in frames]
    events: list[Json]
    if dialect == "gemini":
        events = [{"candidates": [{"content": {"parts": [{"text": piece}]}}]} for piece in pieces]
        events.append({"candidates": [{"finishReason": "STOP"}]})
    elif dialect == "openai-chat":
        events = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    else:
        kind = "response.output_text.delta"
        events = [{"type": kind, "output_index": 0, "delta": piece} for piece in pieces]
        events.append({"type": "response.completed", "response": {"status": "completed", "output": []}})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]


def call_answer(dialect: str, id: str, text: str, argument: str) -> bytes:
    """A whole answer with some text and a call with this id."""
    given = {"a": argument}
    if dialect == "gemini":
        parts = [{"text": text}, {"functionCall": {"id": id, "name": "f", "args": given}}]
        return json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()
    if dialect == "bedrock-converse":
        content = [{"text": text}, {"toolUse": {"toolUseId": id, "name": "f", "input": given}}]
        usage = {"inputTokens": 1, "outputTokens": 1}
        output = {"message": {"role": "assistant", "content": content}}
        return json.dumps({"output": output, "stopReason": "tool_use", "usage": usage}).encode()
    arguments = json.dumps(given)
    if dialect == "openai-chat":
        call = {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}
        message = {"content": text, "tool_calls": [call]}
        return json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()
    said = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    call = {"type": "function_call", "call_id": id, "name": "f", "arguments": arguments}
    return json.dumps({"status": "completed", "output": [said, call]}).encode()


DIALECTS = ["openai-chat", "openai-responses", "gemini", "bedrock-converse"]
every = pytest.mark.parametrize("dialect", DIALECTS)


@every
def test_half_an_emoji_is_joined_or_replaced(dialect: str) -> None:
    stream = text_stream(dialect, "a\ud83d", "\ude00b", "\ud83d")
    read = grammar.check(golden.streamed(codec(dialect), context(), stream), error=False)
    assert read.message["content"] == [{"type": "text", "text": "a😀b\ufffd"}]
    message = json.loads(codec(dialect).decode(call_answer(dialect, "c", "x\ud83d", "y\ud83d"), context()).message())
    assert message["content"][0]["text"] == "x\ufffd"
    assert message["content"][1]["input"] == {"a": "y\ufffd"}


@pytest.mark.parametrize("dialect", DIALECTS[:3])
@pytest.mark.parametrize("filler", [b"data:\n\n", b"data: null\n\n", b"event: heartbeat\ndata: alive\n\n"])
def test_frames_without_meaning_are_passed_over(dialect: str, filler: bytes) -> None:
    stream = [piece for each in text_stream(dialect, "a", "b") for piece in (filler, each)]
    read = grammar.check(golden.streamed(codec(dialect), context(), [*stream, filler]), error=False)
    assert read.message["content"] == [{"type": "text", "text": "ab"}]


@every
@pytest.mark.parametrize("id", ["call_1", "functions.f:0", "tooluse_" + "x" * 80])
def test_an_id_goes_back_as_it_came(dialect: str, id: str) -> None:
    speaks = codec(dialect)
    content = json.loads(speaks.decode(call_answer(dialect, id, "t", "y"), context()).message())["content"]
    result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": "r"}
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "f", "input_schema": {"type": "object"}}
    request = messages.parse(json.dumps({"model": "m", "max_tokens": 9, "messages": turns, "tools": [tool]}).encode())
    sent = speaks.encode(request, context(), Losses(speaks.fidelity)).body.decode()
    assert sent.count(json.dumps(id)) == 2


def test_what_geminis_model_wrote_is_not_the_clients_fault() -> None:
    body = json.dumps({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}).encode()
    with pytest.raises(ProviderError) as caught:
        codec("gemini").decode(body, context())
    assert (caught.value.type, caught.value.of_model) == ("api_error", True)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-flash", "gemma-3-27b-it"])
def test_gemini_gets_ids_where_it_takes_them_and_results_in_the_order_of_their_calls(model: str) -> None:
    calls = [{"type": "tool_use", "id": f"c{at}", "name": "f", "input": {"at": at}} for at in range(3)]
    results = [{"type": "tool_result", "tool_use_id": f"c{at}", "content": f"r{at}"} for at in (2, 0, 1)]
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    tool = {"name": "f", "input_schema": {"type": "object"}}
    request = messages.parse(json.dumps({"model": "m", "max_tokens": 9, "messages": turns, "tools": [tool]}).encode())
    speaks = codec("gemini")
    given = Context(provider="p", model=model, shown_model="m", message_id="msg_1")
    sent = json.loads(speaks.encode(request, given, Losses(speaks.fidelity)).body)["contents"]
    called = [part["functionCall"] for part in sent[1]["parts"]]
    told = [part["functionResponse"] for part in sent[2]["parts"]]
    assert [each["response"]["output"] for each in told] == ["r0", "r1", "r2"]
    ids = ["c0", "c1", "c2"] if model == "gemini-3-flash" else [None] * 3
    assert [each.get("id") for each in called] == [each.get("id") for each in told] == ids


@pytest.mark.parametrize("dialect", ["gemini", "bedrock-converse"])
def test_an_image_of_an_old_turn_is_text_for_a_model_without_vision(dialect: str) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    turns = [
        {"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A dot."},
        {"role": "user", "content": "Sure?"},
    ]
    request = messages.parse(json.dumps({"model": "m", "max_tokens": 9000, "messages": turns}).encode())
    speaks = codec(dialect)
    given = Context(provider="p", model="x", shown_model="m", message_id="msg_1", facts=Model(images=False))
    losses = Losses(speaks.fidelity)
    sent = speaks.encode(request, given, losses).body.decode()
    assert "iVBORw0KGgo" not in sent
    assert "[An image, left out: the model takes none.]" in sent
    assert losses.header() == "dropped: image.base64"
