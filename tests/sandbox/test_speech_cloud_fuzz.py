"""Whatever is sent in Gemini's and Bedrock's dialects, the sandbox answers it or refuses it in their shape; nothing
crashes it."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.sandbox.thinking import sign
from tests.dialects import bedrock_aws
from tests.sandbox.calling import Sandbox

Json = dict[str, Any]
Place = tuple[str | int, ...]

sandbox = Sandbox()
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = base64.b64encode(b"%PDF-1.4").decode()
CITY: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
GEMINI: Json = {
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "get_weather"},
                {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {
                    "functionCall": {"id": "c1", "name": "get_weather", "args": {"city": "Oslo"}},
                    "thoughtSignature": sign("thought_signature", b"x" * 16, "get_weather"),
                },
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "c1",
                        "name": "get_weather",
                        "response": {"output": "Rain."},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}],
                    }
                },
                {"text": "again"},
            ],
        },
    ],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "tools": [
        {"functionDeclarations": [{"name": "get_weather", "description": "x", "parametersJsonSchema": CITY}]},
        {"functionDeclarations": [{"name": "other", "parameters": CITY}]},
        {"googleSearch": {}},
        {"mcpServers": [{"name": "docs", "streamableHttpTransport": {"url": "https://example.com"}}]},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["get_weather"]},
        "includeServerSideToolInvocations": True,
    },
    "generationConfig": {
        "temperature": 1,
        "topK": 3,
        "maxOutputTokens": 400,
        "stopSequences": ["STOP"],
        "responseMimeType": "application/json",
        "responseJsonSchema": CITY,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    "serviceTier": "flex",
}
SCHEMA = json.dumps({**CITY, "additionalProperties": False})
CONVERSE: Json = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "get_weather"},
                {"image": {"format": "png", "source": {"bytes": PIXEL}}},
                {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}, "context": "c"}},
                {"document": {"name": "b", "source": {"content": [{"text": "It rains."}]}}},
                {
                    "searchResult": {
                        "source": "s",
                        "title": "t",
                        "content": [{"text": "x"}],
                        "citations": {"enabled": False},
                    }
                },
                {"cachePoint": {"type": "default"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": sign("thinking", b"x" * 16, "hm")}}},
                {"reasoningContent": {"redactedContent": sign("redacted_thinking", b"x" * 16, "")}},
                {"citationsContent": {"content": [{"text": "x"}], "citations": [{"location": {"web": {"url": "u"}}}]}},
                {"toolUse": {"toolUseId": "c1", "name": "get_weather", "input": {"city": "Oslo"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "c1",
                        "content": [
                            {"text": ""},
                            {"json": {"a": 1}},
                            {"image": {"format": "png", "source": {"bytes": PIXEL}}},
                        ],
                        "status": "success",
                    }
                },
                {"text": "again"},
            ],
        },
    ],
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "5m"}}],
    "inferenceConfig": {"maxTokens": 2_000, "temperature": 1, "stopSequences": ["STOP"]},
    "toolConfig": {
        "tools": [
            {"toolSpec": {"name": "get_weather", "description": "x", "inputSchema": {"json": CITY}, "strict": False}},
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"auto": {}},
    },
    "additionalModelRequestFields": {
        "thinking": {"type": "adaptive"},
        "tool_choice": {"disable_parallel_tool_use": True},
        "anthropic_beta": ["context-1m-2025-08-07"],
    },
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "requestMetadata": {"a": "b"},
    "serviceTier": {"type": "flex"},
    "performanceConfig": {"latency": "standard"},
    "outputConfig": {
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": SCHEMA, "name": "a"}}},
        "effort": "low",
    },
}
INVOKE: Json = {
    "anthropic_version": "bedrock-2023-05-31",
    "anthropic_beta": ["x"],
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"name": "one", "input_schema": CITY}],
}
MODEL = "us.anthropic.claude-opus-4-6-v1"
RICH = {
    "/v1beta/models/gemini-3-flash-preview:generateContent": GEMINI,
    f"/model/{MODEL}/converse": CONVERSE,
    "/model/some-model/converse": CONVERSE,
    f"/model/{MODEL}/invoke": INVOKE,
}
STREAMED = {
    "/v1beta/models/gemini-3-flash-preview:generateContent": (
        "/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse"
    ),
    f"/model/{MODEL}/converse": f"/model/{MODEL}/converse-stream",
    "/model/some-model/converse": "/model/some-model/converse-stream",
    f"/model/{MODEL}/invoke": f"/model/{MODEL}/invoke-with-response-stream",
}
VALUES: list[object] = [None, True, 0, 1, -1, 1.0, 2.5, 10**30, "", "x", "a" * 300, "AAAA"]
VALUES += [[], [None], [[]], {}, {"text": "x"}, {"text": None}, {"x": {}}]


def places(value: object, path: Place = ()) -> list[Place]:
    """The path of every value inside."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = [(path, place) for path, body in RICH.items() for place in places(body) if place]


def changed(body: Json, changes: list[tuple[Place, object]]) -> Json:
    """The body with these values at these places, as far as earlier changes have left them there."""
    made = copy.deepcopy(body)
    for place, value in changes:
        holder: Any = made
        try:
            for step in place[:-1]:
                holder = holder[step]
            holder[place[-1]] = value
        except (LookupError, TypeError):
            continue
    return made


def answered(path: str, body: Json, *, stream: bool = False) -> int:
    """The status of an answer, which must be a valid one."""
    headers = {"authorization": "Bearer any", "x-goog-api-key": "any"}
    asked = sandbox.ask("POST", STREAMED[path] if stream else path, body, headers=headers)
    assert asked.finished
    if asked.status != 200:
        assert asked.status in (400, 403)
        error = asked.json()
        fields: Any = error["error"] if "models" in path else error
        assert fields["message"] and isinstance(fields["message"], str)
        assert fields.keys() <= {"code", "message", "status", "details"}
    elif "models" in path:
        texts = [line[6:] for line in asked.response.split(b"\r\n") if line] if stream else [asked.response]
        for text in texts:
            value = json.loads(text)
            value["usageMetadata"].pop("serviceTier")  # on the wire, and not yet in the SDK's type
            types.GenerateContentResponse.model_validate(value)
    elif stream:
        operation = "ConverseStream" if path.endswith("converse") else "InvokeModelWithResponseStream"
        assert bedrock_aws.read_stream(operation, asked.response)
    elif path.endswith("converse"):
        assert bedrock_aws.read_answer("Converse", asked.response)["output"]["message"]["role"] == "assistant"
    return asked.status


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", RICH)
def test_the_rich_requests_are_answered(path: str, stream: bool) -> None:
    assert answered(path, RICH[path], stream=stream) == 200


@pytest.mark.parametrize("path", RICH)
def test_any_value_at_any_place_is_answered_or_refused(path: str) -> None:
    for place in places(RICH[path])[1:]:
        for value in VALUES:
            answered(path, changed(RICH[path], [(place, value)]))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=2, max_size=4), st.booleans())
def test_any_changes_are_answered_or_refused(changes: list[tuple[tuple[str, Place], object]], stream: bool) -> None:
    path = changes[0][0][0]
    answered(path, changed(RICH[path], [(at, value) for (where, at), value in changes if where == path]), stream=stream)
