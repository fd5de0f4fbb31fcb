"""The answers of providers that speak other dialects: the same text as the Anthropic answer, in each dialect's shape.

Fields are those of real answers, those that nobody reads too: what they weigh is part of what reading them costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from asbru.dialects import eventstream
from bench.bodies import encode, texts

Json = dict[str, object]

TEXT = "The second transfer reads the balance before the first has settled. " * 8
EVENT_STREAM = "text/event-stream; charset=utf-8"
FRAMES = "application/vnd.amazon.eventstream"


class Answers(NamedTuple):
    """What an upstream says to everything under ``/`` and its dialect's name."""

    plain: bytes
    content_type: str
    """Of the stream."""
    stream: Callable[[int], list[bytes]]
    """An answer of exactly so many events, one entry each."""


# openai-chat

CHAT: Json = {
    "id": "chatcmpl-CbF5y1QGd0Zr1mPpNqY7XyJ3oX8aB",
    "created": 1767225600,
    "model": "gpt-5.1-2025-11-13",
    "service_tier": "default",
    "system_fingerprint": "fp_b1442291a8",
}
CHAT_USAGE: Json = {
    "prompt_tokens": 21004,
    "completion_tokens": 1800,
    "total_tokens": 22804,
    "prompt_tokens_details": {"cached_tokens": 20480, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def chat_plain() -> bytes:
    message: Json = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return encode({**CHAT, "object": "chat.completion", "choices": [choice], "usage": CHAT_USAGE})


def chat_stream(events: int) -> list[bytes]:
    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**CHAT, "object": "chat.completion.chunk", "choices": [choice], "usage": None}

    chunks = [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": text}) for text in texts(events - 4)),
        chunk({}, "stop"),
        {**CHAT, "object": "chat.completion.chunk", "choices": [], "usage": CHAT_USAGE},
    ]
    return [*(b"data: %s\n\n" % encode(chunk) for chunk in chunks), b"data: [DONE]\n\n"]


# openai-responses

ITEM = "msg_68f1a2b3c4d5819a8f0e1d2c3b4a59687f6e5d4c3b2a1908"


def response(status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": "resp_68f1a2b3c4d5819a8f0e1d2c3b4a59687f6e5d4c3b2a1908",
        "object": "response",
        "created_at": 1767225600,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": 32000,
        "model": "gpt-5.1-2025-11-13",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "metadata": {},
    }


def message(status: str, *texts: str) -> Json:
    content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": text} for text in texts]
    return {"id": ITEM, "type": "message", "status": status, "content": content, "role": "assistant"}


RESPONSES_USAGE: Json = {
    "input_tokens": 21004,
    "input_tokens_details": {"cached_tokens": 20480},
    "output_tokens": 1800,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 22804,
}


def responses_plain() -> bytes:
    return encode(response("completed", [message("completed", TEXT)], RESPONSES_USAGE))


def responses_stream(events: int) -> list[bytes]:
    deltas = list(texts(events - 8))
    whole = "".join(deltas)
    place: Json = {"item_id": ITEM, "output_index": 0, "content_index": 0}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    done = message("completed", whole)
    data: list[Json] = [
        {"type": "response.created", "response": response("in_progress", [], None)},
        {"type": "response.in_progress", "response": response("in_progress", [], None)},
        {"type": "response.output_item.added", "output_index": 0, "item": message("in_progress")},
        {"type": "response.content_part.added", **place, "part": part},
        *(
            {"type": "response.output_text.delta", **place, "delta": text, "logprobs": [], "obfuscation": "hQ3kd0"}
            for text in deltas
        ),
        {"type": "response.output_text.done", **place, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": whole}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": response("completed", [done], RESPONSES_USAGE)},
    ]
    return [
        b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), encode({**event, "sequence_number": n}))
        for n, event in enumerate(data)
    ]


# gemini


def gemini(text: str, finish: str | None, output_tokens: int) -> bytes:
    content: Json = {"parts": [{"text": text}], "role": "model"}
    candidate: Json = {"content": content, **({"finishReason": finish} if finish else {}), "index": 0}
    usage: Json = {
        "promptTokenCount": 21004,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": 21004 + output_tokens,
        "cachedContentTokenCount": 20480,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 21004}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 20480}],
    }
    names: Json = {"modelVersion": "gemini-2.5-flash", "responseId": "q2lWafWZNNCWvdIPnczvsAM"}
    return encode({"candidates": [candidate], "usageMetadata": usage, **names})


def gemini_plain() -> bytes:
    return gemini(TEXT, "STOP", 1800)


def gemini_stream(events: int) -> list[bytes]:
    chunks = [gemini(text, "STOP" if n == events else None, 18 * n) for n, text in enumerate(texts(events), 1)]
    return [b"data: %s\r\n\r\n" % chunk for chunk in chunks]


# bedrock-converse

CONVERSE_USAGE: Json = {
    "inputTokens": 524,
    "outputTokens": 1800,
    "totalTokens": 22804,
    "cacheReadInputTokens": 20480,
    "cacheWriteInputTokens": 0,
}


def converse_plain() -> bytes:
    output: Json = {"message": {"role": "assistant", "content": [{"text": TEXT}]}}
    return encode({"metrics": {"latencyMs": 1200}, "output": output, "stopReason": "end_turn", "usage": CONVERSE_USAGE})


def converse_stream(events: int) -> list[bytes]:
    data: list[tuple[str, Json]] = [
        ("messageStart", {"role": "assistant"}),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in texts(events - 4)),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": CONVERSE_USAGE, "metrics": {"latencyMs": 1200}}),
    ]
    return [frame(kind, {**payload, "p": "abcdefghijklmnopqrstuvwxyz"}) for kind, payload in data]


def frame(kind: str, payload: Json) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return eventstream.encode(headers, encode(payload))


ANSWERS: Mapping[str, Answers] = {
    "openai-chat": Answers(chat_plain(), EVENT_STREAM, chat_stream),
    "openai-responses": Answers(responses_plain(), EVENT_STREAM, responses_stream),
    "gemini": Answers(gemini_plain(), EVENT_STREAM, gemini_stream),
    "bedrock-converse": Answers(converse_plain(), FRAMES, converse_stream),
}
