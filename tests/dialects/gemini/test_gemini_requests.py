"""What a golden file shows badly: requests that are refused, and what is read from a model's name."""

from __future__ import annotations

import json

import pytest

from asbru.dialects import blobs, messages
from asbru.dialects.gemini import CODEC
from asbru.dialects.gemini.family import LATEST, generation
from asbru.dialects.losses import Losses, LossyError
from tests.dialects.gemini.goldens import Json, compact, context

HI: list[Json] = [{"role": "user", "content": "Hi"}]


def encode(request: Json, **of: object) -> Json:
    golden = {"context": {"model": "gemini-3-flash-preview", **of}}
    parsed = messages.parse(compact({"model": "gemini", "max_tokens": 16384, "messages": HI, **request}))
    body: Json = json.loads(CODEC.encode(parsed, context(golden), Losses(CODEC.fidelity)).body)
    return body


FILE: Json = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
IMAGE_URL: Json = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
SERVER: Json = {"type": "url", "name": "a", "url": "https://example.com/mcp"}


@pytest.mark.parametrize(
    ("request_", "of", "path"),
    [
        ({"thread": {"type": "create"}}, {}, "thread"),
        ({"safeguards": [{"type": "dangerous_tool_use"}]}, {}, "safeguards"),
        ({"container": "c_1"}, {}, "container"),
        ({"compaction": {"type": "summarize"}}, {}, "compaction"),
        ({"max_tokens": 0}, {}, "max_tokens"),
        ({"tools": [{"type": "computer_toolset_20260801"}]}, {}, "tools.0"),
        ({"messages": [{"role": "user", "content": [FILE]}]}, {}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, {}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [IMAGE_URL]}]},
            {"quirks": {"image_url": False}},
            "messages.0.content.0.source.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
            {},
            "messages.0.content.0.source.media_type",
        ),
        ({"mcp_servers": [SERVER]}, {"quirks": {"vertex": True}}, "mcp_servers.0"),
        ({"mcp_servers": [{**SERVER, "tool_configuration": {"allowed_tools": ["x"]}}]}, {}, "mcp_servers.0"),
        (
            {"mcp_servers": [SERVER], "tools": [{"type": "mcp_toolset", "mcp_server_name": "a", "configs": {"x": {}}}]},
            {},
            "tools.0",
        ),
        (
            {"mcp_servers": [SERVER], "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
            {"model": "gemini-2.5-pro"},
            "mcp_servers",
        ),
    ],
)
def test_refused(request_: Json, of: Json, path: str) -> None:
    with pytest.raises(LossyError) as raised:
        encode(request_, **of)
    assert raised.value.path == path


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", 2.5),
        ("gemini-3-pro-preview", 3.0),
        ("models/gemini-3.7-flash", 3.7),
        ("gemini-4-hydrogen", 4.0),
        ("gemini-2.0-flash-001", 2.0),
        ("gemini-flash-latest", LATEST),
        ("gemma-3-27b-it", 0.0),
        ("1234567890", LATEST),
    ],
)
def test_generation(model: str, expected: float) -> None:
    assert generation(model) == expected


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "expected"),
    [
        ("gemini-2.5-flash-lite", {"type": "enabled", "budget_tokens": 100}, None, 512),
        ("gemini-2.5-pro", {"type": "enabled", "budget_tokens": 40000}, None, 32768),
        ("gemini-2.5-pro", {"type": "disabled"}, "high", 128),
        ("gemini-2.5-flash", None, "low", 1024),
        ("gemini-2.5-flash", {"type": "enabled", "budget_tokens": 3000}, "low", 3000),
        ("gemini-3.8-flash", {"type": "enabled", "budget_tokens": 1024}, None, "LOW"),
        ("gemini-3.8-flash", {"type": "enabled", "budget_tokens": 1024}, "high", "HIGH"),
        ("gemini-3.8-flash", {"type": "enabled", "budget_tokens": -5}, None, "LOW"),
        ("gemini-3.8-flash", {"type": "between_tools"}, None, "LOW"),
        ("gemini-3.8-flash", {"type": "adaptive"}, "unheard-of", None),
        ("gemini-flash-latest", None, "medium", "MEDIUM"),
    ],
)
def test_how_hard_to_think(model: str, thinking: Json | None, effort: str | None, expected: int | str | None) -> None:
    asked: Json = {"max_tokens": 64000}
    if thinking is not None:
        asked["thinking"] = thinking
    if effort is not None:
        asked["output_config"] = {"effort": effort}
    config = encode(asked, model=model)["generationConfig"].get("thinkingConfig", {})
    assert config.get("thinkingBudget", config.get("thinkingLevel")) == expected
    assert not {"thinkingBudget", "thinkingLevel"} <= set(config), "never both: Gemini refuses that"


def test_the_highest_level_is_asked_for_where_the_model_is_known_to_have_it() -> None:
    of = {"facts": {"efforts": ["low", "medium", "high", "xhigh"]}}
    body = encode({"output_config": {"effort": "max"}}, **of)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "XHIGH"}


def test_room_for_thinking_ends_where_the_model_does() -> None:
    body = encode({"max_tokens": 4000}, facts={"max_output_tokens": 8000})
    assert body["generationConfig"]["maxOutputTokens"] == 8000


def test_numbers_of_any_size() -> None:
    big = 2**70
    turns: list[Json] = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"n": big}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "ok"}]},
    ]
    body = encode(
        {"messages": turns, "tools": [{"name": "f", "input_schema": {"properties": {"n": {"maximum": big}}}}]}
    )
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"n": big}
    declared = body["tools"][0]["functionDeclarations"][0]
    assert declared["parametersJsonSchema"]["properties"]["n"]["maximum"] == big


def test_a_conversation_that_begins_with_the_model() -> None:
    body = encode({"messages": [{"role": "assistant", "content": "Hello."}, *HI]})
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]


def test_only_the_text_that_stands_for_code_is_left_out() -> None:
    code: Json = {"executableCode": {"language": "PYTHON", "code": "1"}}
    shown = "```python\n1\n```\n"
    sealed = blobs.seal("gemini", "gemini-3-flash-preview", {"parts": [code]})
    thinking: Json = {"type": "thinking", "thinking": "", "signature": sealed}
    call: Json = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    for blocks, expected in (
        ([thinking, {"type": "text", "text": shown}], [code]),
        ([thinking, {"type": "text", "text": "Changed."}], [code, {"text": "Changed."}]),
        ([thinking, call, {"type": "text", "text": shown}], [code, "call", {"text": shown}]),
    ):
        turns = [*HI, {"role": "assistant", "content": blocks}, {"role": "user", "content": "Go on."}]
        parts = encode({"messages": turns})["contents"][1]["parts"]
        assert ["call" if "functionCall" in part else part for part in parts] == expected
