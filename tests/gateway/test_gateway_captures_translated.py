"""What real clients sent (tests/captures), through the gateway to the sandbox in every dialect that is translated to.

Each request is answered with a valid Message, stream or count, or refused with a 400 that names what cannot be carried;
`TARGETS` says which, and how. Nothing is refused that only loses something, and under strict all of that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest
from anthropic.types.beta import BetaMessage

from tests import grammar
from tests.gateway.translated import Json, translated

FILES = (Path(__file__).parents[1] / "captures").glob("*.json")
CAPTURES: dict[str, Json] = {file.stem: json.loads(file.read_text("utf-8")) for file in FILES}
OURS = {"accept-encoding", "authorization", "connection", "content-length", "host", "x-api-key"}
"""Headers of the capture's own connection."""


def of(path: str) -> list[str]:
    return sorted(name for name, capture in CAPTURES.items() if capture["path"].partition("?")[0] == path)


MESSAGES, COUNTS = of("/v1/messages"), of("/v1/messages/count_tokens")

BEGUN = "This model does not support message threads here; send the whole conversation"
CONTINUED = "This message thread cannot be continued here; send the whole conversation"
SAFEGUARDS = "safeguards: Safeguards are not supported for this model"
"""What is refused by every dialect."""
NO_MCP = dict.fromkeys(
    ("anthropic-py-0.121-beta-mcp", "anthropic-py-beta-mcp", "anthropic-ts-beta-mcp"),
    "mcp_servers: Remote MCP servers are not supported for this model",
)
NO_SEARCH = {
    "anthropic-py-tools": "tools.1: Web search is not supported for this model",
    "claude-code-websearch-2": "tools.0: Web search is not supported for this model",
}
NO_URLS = {"anthropic-py-create-full": "messages.0.content.2: Images by URL are not supported for this model"}
ADAPTIVE = '"thinking.type.enabled" is not supported for this model.'
AS_CLAUDE = {
    "anthropic-py-stream-thinking": ADAPTIVE,
    "claude-code-haiku45": ADAPTIVE,
    "anthropic-py-system-role": "messages.2: role 'system' must follow a 'user' message",
}
"""What Claude itself refuses of a request that was for another Claude."""


class Target(NamedTuple):
    """A provider, where the sandbox is it, one of its models, and the words with which that refuses a capture."""

    provider: Json
    base_path: str
    model: str
    refused: Mapping[str, str] = MappingProxyType({})


CHAT: tuple[Json, str] = ({"like": "openai", "dialect": "openai-chat"}, "/v1")
RESPONSES: tuple[Json, str] = ({"like": "openai"}, "/v1")
GEMINI: tuple[Json, str] = ({"like": "gemini"}, "/v1beta")
CONVERSE: tuple[Json, str] = ({"like": "bedrock", "region": "us-east-1"}, "")
UNKNOWN = "some-tuned-model"
"""A model of which nothing is known."""
TARGETS = {
    "openai-chat": Target(*CHAT, "gpt-5.6", NO_SEARCH | NO_MCP),
    "openai-chat-unknown": Target(*CHAT, UNKNOWN, NO_SEARCH | NO_MCP),
    "openai-responses": Target(*RESPONSES, "gpt-5.6"),
    "openai-responses-unknown": Target(*RESPONSES, UNKNOWN),
    "gemini": Target(*GEMINI, "gemini-3-flash-preview"),
    "gemini-unknown": Target(*GEMINI, UNKNOWN),
    "converse-claude": Target(*CONVERSE, "us.anthropic.claude-opus-4-8", NO_SEARCH | NO_MCP | NO_URLS | AS_CLAUDE),
    "converse-nova": Target(*CONVERSE, "us.amazon.nova-pro-v1:0", NO_MCP | NO_URLS),
    "converse-unknown": Target(*CONVERSE, UNKNOWN, NO_SEARCH | NO_MCP | NO_URLS),
}


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def client(target: Target) -> Iterator[httpx.Client]:
    """Of a gateway that has this provider alone."""
    with translated(target.provider, target.base_path) as via, httpx.Client(base_url=via.url, timeout=30) as made:
        yield made


def refusal(target: Target, name: str) -> str | None:
    """The words with which this request must be refused."""
    body = json.loads(CAPTURES[name]["body_raw"])
    if body.get("thread") is not None:
        return BEGUN if body["thread"]["type"] == "create" else CONTINUED
    return SAFEGUARDS if "safeguards" in body else target.refused.get(name)


def replay(client: httpx.Client, name: str, model: str, **headers: str) -> tuple[Json, httpx.Response]:
    """The request, for another model; its body and the whole response."""
    capture = CAPTURES[name]
    body: Json = {**json.loads(capture["body_raw"]), "model": model}
    sent = {key.lower(): value for key, value in capture["headers"] if key.lower() not in OURS}
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    return body, client.post(capture["path"], json=body, headers={**sent, **more})


def message_of(response: httpx.Response, *, streamed: bool) -> Json:
    """The message of an answer, when that is valid in the form that was asked for."""
    if streamed:
        assert response.headers["content-type"].startswith("text/event-stream")
        message: Json = grammar.check(response.content).message
    else:
        assert response.headers["content-type"] == "application/json"
        message = response.json()
    assert {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"} <= message.keys()
    BetaMessage.model_validate(message, strict=True)
    return message


def called(message: Json) -> list[str]:
    return [block["name"] for block in message["content"] if block["type"] == "tool_use"]


def test_there_are_captures_of_every_client() -> None:
    assert len(MESSAGES) > 60 and len(COUNTS) >= 3
    assert {name.split("-")[0] for name in MESSAGES} == {"anthropic", "claude", "litellm"}
    assert all(target.refused.keys() <= set(MESSAGES) for target in TARGETS.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message(client: httpx.Client, target: Target, name: str) -> None:
    body, response = replay(client, name, target.model)
    words = refusal(target, name)
    if words is not None:
        assert response.status_code == 400, response.text
        error: dict[str, Any] = response.json()["error"]
        assert error["type"] == "invalid_request_error" and error["message"].startswith(words)
        code = "thread_unsupported_request" if "thread" in body else None
        assert error.get("details", {}).get("error_code") == code
        return
    assert response.status_code == 200, response.text
    message = message_of(response, streamed=bool(body.get("stream")))
    assert message["model"] == target.model
    assert (message["stop_reason"] == "tool_use") == bool(called(message))
    assert set(called(message)) <= {tool.get("name") for tool in body.get("tools", [])}


@pytest.mark.parametrize("name", MESSAGES)
def test_under_strict_whatever_is_lost_is_a_refusal(client: httpx.Client, target: Target, name: str) -> None:
    _, response = replay(client, name, target.model)
    if refusal(target, name) is not None:
        return
    losses = response.headers["x-asbru-loss"]
    _, strict = replay(client, name, target.model, x_asbru_strict="true")
    if losses == "none":
        assert strict.status_code == 200
        return
    assert strict.status_code == 400
    assert strict.headers["x-asbru-loss"] == losses
    assert strict.json()["error"]["message"] == f"there cannot carry this request without loss: {losses}"


@pytest.mark.parametrize("name", COUNTS)
def test_a_count(client: httpx.Client, target: Target, name: str) -> None:
    _, response = replay(client, name, target.model)
    assert response.status_code == 200, response.text
    counted = response.json()
    assert counted.keys() == {"input_tokens"} and counted["input_tokens"] > 0
    is_estimate = target.provider.get("dialect") == "openai-chat"  # the one that has no count of its own
    assert response.headers.get("x-asbru-estimate") == ("true" if is_estimate else None)
