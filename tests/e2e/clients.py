"""The official Python SDK, pointed at a server of ours, and what its tests ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from anthropic import Anthropic, AsyncAnthropic, DefaultHttpxClient
from anthropic.types import Message, MessageParam, ToolParam

PREFIXES = (
    "",
    "/anthropic",
    "/litellm/anthropic",
    "/litellm",
    "/pydanticai/anthropic",
    "/pydanticai",
    "/langchain/anthropic",
    "/langchain",
    "/cursor",
)
"""contract/gateway.md §1, spelled out: if the gateway loses one, a test must notice."""

MODEL = "claude-sandbox"
TIMEOUT_S = 30.0
VERSION = {"anthropic-version": "2026-10-21"}
"""What a request without an SDK must say."""
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def connect(url: str, *, key: str = "test", retries: int = 0, headers: Mapping[str, str] | None = None) -> Anthropic:
    return Anthropic(base_url=url, api_key=key, max_retries=retries, timeout=TIMEOUT_S, default_headers=headers)


def connect_async(url: str, *, key: str = "test", retries: int = 0) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key=key, max_retries=retries, timeout=TIMEOUT_S)


def overheard(url: str) -> tuple[Anthropic, list[dict[str, object]]]:
    """A client, and the bodies of what it sends, one for each request."""
    sent: list[dict[str, object]] = []
    http = DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(json.loads(request.read()))]})
    return Anthropic(base_url=url, api_key="test", max_retries=0, timeout=TIMEOUT_S, http_client=http), sent


def user(text: str) -> MessageParam:
    return {"role": "user", "content": text}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")
