"""The sandbox's answer as a chat completion, whole (`whole`) or in chunks (`events`): put together, the same."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speeches.openai import CREATED_S, rules_of
from asbru.sandbox.stream import Event, pieces

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
    "model_context_window_exceeded": "length",
}
_TIERS = {"priority": "priority", "fast": "priority", "flex": "flex"}


def whole(answer: Answer, asked: Json) -> Json:
    text, annotations = _text(answer)
    calls = [_call(block) for block in answer.content if block["type"] == "tool_use"]
    reasoned = _reasoning(answer)
    refusal = _is_refusal(answer, asked)
    message: Json = {
        "role": "assistant",
        "content": None if refusal else text or (None if calls else ""),
        "refusal": text if refusal else None,
        "annotations": annotations,
    }
    if reasoned is not None:
        message["reasoning_content"] = reasoned
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer, asked)}
    return {**_head(answer, asked, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def events(answer: Answer, asked: Json, chunks: int | None) -> Iterator[Event]:
    options = asked.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    head = _head(answer, asked, "chat.completion.chunk")
    if with_usage:
        head["usage"] = None

    def chunk(delta: Json, finish: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "choices": [choice]}, is_delta=bool(delta) and "role" not in delta)

    refusal = _is_refusal(answer, asked)
    yield chunk({"role": "assistant", "content": None if refusal else "", "refusal": "" if refusal else None})
    for piece in pieces(_reasoning(answer) or "", None):
        yield chunk({"reasoning_content": piece})
    for block in answer.content:
        if block["type"] == "text":
            for piece in pieces(str(block["text"]), chunks):
                yield chunk({"refusal" if refusal else "content": piece})
    annotations = _text(answer)[1]
    if annotations:
        yield chunk({"annotations": annotations})
    calls = [_call(block) for block in answer.content if block["type"] == "tool_use"]
    for index, call in enumerate(calls):
        function = call["function"]
        assert isinstance(function, dict)
        yield chunk({"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"], None):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish(answer, asked))
    if with_usage:
        yield _event({**head, "choices": [], "usage": _usage(answer)})
    yield Event(b"data: [DONE]\n\n")


def _event(value: Json, *, is_delta: bool = False) -> Event:
    return Event(b"data: " + msgspec.json.encode(value) + b"\n\n", is_delta)


def _head(answer: Answer, asked: Json, kind: str) -> Json:
    return {
        "id": "chatcmpl-" + answer.id.removeprefix("msg_"),
        "object": kind,
        "created": CREATED_S,
        "model": answer.model,
        "service_tier": _TIERS.get(str(asked.get("service_tier")), "default"),
        "system_fingerprint": "fp_sandbox",
    }


def _text(answer: Answer) -> tuple[str, list[Json]]:
    """All of the text, and what is cited in it."""
    text = ""
    annotations: list[Json] = []
    for block in answer.content:
        if block["type"] != "text":
            continue
        cited = block.get("citations")
        said = str(block["text"])
        for citation in cited if isinstance(cited, list) else []:
            if "url" in citation:
                place = {"start_index": len(text), "end_index": len(text) + len(said)}
                place |= {"title": citation["title"], "url": citation["url"]}
                annotations.append({"type": "url_citation", "url_citation": place})
        text += said
    return text, annotations


def _reasoning(answer: Answer) -> str | None:
    """What is shown of the reasoning: nothing by OpenAI's own models."""
    thoughts = [str(block["thinking"]) for block in answer.content if block["type"] == "thinking"]
    return "".join(thoughts) if thoughts and not rules_of(answer.model).is_known else None


def _call(block: Json) -> Json:
    function = {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()}
    return {"id": call_id(block), "type": "function", "function": function}


def call_id(block: Json) -> str:
    return "call_" + str(block["id"]).removeprefix("toolu_")


def _is_refusal(answer: Answer, asked: Json) -> bool:
    """A refusal where an answer in a form was asked for: that has a field of its own."""
    form = asked.get("response_format")
    return answer.stop_reason == "refusal" and isinstance(form, dict) and form["type"] == "json_schema"


def _finish(answer: Answer, asked: Json) -> str:
    choice = asked.get("tool_choice")
    if answer.stop_reason == "tool_use" and isinstance(choice, dict) and "function" in choice:
        return "stop"  # "If the model is forced to call a specific function": the function calling guide
    return "stop" if _is_refusal(answer, asked) else _FINISH[answer.stop_reason]


def _usage(answer: Answer) -> Json:
    said = answer.usage
    read, written = said["cache_read_input_tokens"], said["cache_creation_input_tokens"]
    plain, output = said["input_tokens"], said["output_tokens"]
    assert isinstance(read, int) and isinstance(written, int) and isinstance(plain, int) and isinstance(output, int)
    details = said.get("output_tokens_details")
    reasoning = details["thinking_tokens"] if isinstance(details, dict) else 0
    prompt = plain + read + written
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
