"""What real clients sent (tests/captures), through the gateway to the sandbox in every dialect that is translated to.

Each request is answered with a valid Message, stream or count, or refused with a 400 that names what cannot be carried;
`REFUSED` says which, in our words. Nothing is refused that only loses something, and under strict all of that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

UNKNOWN = "some-tuned-model"
"""A model of which nothing is known."""
DIALECTS: dict[str, tuple[Json, str, str]] = {
    "openai-chat": ({"like": "openai", "dialect": "openai-chat"}, "/v1", "gpt-5.6"),
    "openai-responses": ({"like": "openai"}, "/v1", "gpt-5.6"),
    "gemini": ({"like": "gemini"}, "/v1beta", "gemini-3-flash-preview"),
}
"""Dialect -> the provider, where the sandbox speaks it, and a model that can do everything."""

NO_SEARCH = "Web search is not supported for this model"
NO_MCP = "mcp_servers: Remote MCP servers are not supported for this model"
CHAT_HAS_NONE = {
    "anthropic-py-tools": f"tools.1: {NO_SEARCH}",
    "claude-code-websearch-2": f"tools.0: {NO_SEARCH}",
    **dict.fromkeys(("anthropic-py-0.121-beta-mcp", "anthropic-py-beta-mcp", "anthropic-ts-beta-mcp"), NO_MCP),
}
REFUSED: dict[str, dict[str, str]] = {"openai-chat": CHAT_HAS_NONE}
"""Dialect -> capture -> the words with which it is refused; threads and safeguards are refused everywhere."""
BEGUN = "This model does not support message threads here; send the whole conversation"
CONTINUED = "This message thread cannot be continued here; send the whole conversation"
SAFEGUARDS = "safeguards: Safeguards are not supported for this model"


def refusal(dialect: str, name: str, body: Json) -> str | None:
    """The words with which this request must be refused."""
    thread = body.get("thread")
    if thread is not None:
        return BEGUN if thread["type"] == "create" else CONTINUED
    if "safeguards" in body:
        return SAFEGUARDS
    return REFUSED.get(dialect, {}).get(name)


@pytest.fixture(scope="module", params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def client(dialect: str) -> Iterator[httpx.Client]:
    """Of a gateway whose only provider speaks the dialect."""
    there, base_path, _ = DIALECTS[dialect]
    with translated(there, base_path) as via, httpx.Client(base_url=via.url, timeout=30) as made:
        yield made


def models(dialect: str) -> tuple[str, str]:
    return DIALECTS[dialect][2], UNKNOWN


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
    assert all(names.keys() <= set(MESSAGES) for names in REFUSED.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message(client: httpx.Client, dialect: str, name: str) -> None:
    for model in models(dialect):
        body, response = replay(client, name, model)
        words = refusal(dialect, name, body)
        if words is not None:
            assert response.status_code == 400, response.text
            error: dict[str, Any] = response.json()["error"]
            assert error["type"] == "invalid_request_error" and error["message"].startswith(words)
            code = "thread_unsupported_request" if "thread" in body else None
            assert error.get("details", {}).get("error_code") == code
            continue
        assert response.status_code == 200, response.text
        message = message_of(response, streamed=bool(body.get("stream")))
        assert message["model"] == model
        assert (message["stop_reason"] == "tool_use") == bool(called(message))
        assert set(called(message)) <= {tool.get("name") for tool in body.get("tools", [])}


@pytest.mark.parametrize("name", MESSAGES)
def test_under_strict_whatever_is_lost_is_a_refusal(client: httpx.Client, dialect: str, name: str) -> None:
    model, _ = models(dialect)
    body, response = replay(client, name, model)
    if refusal(dialect, name, body) is not None:
        return
    losses = response.headers["x-asbru-loss"]
    _, strict = replay(client, name, model, x_asbru_strict="true")
    if losses == "none":
        assert strict.status_code == 200
        return
    assert strict.status_code == 400
    assert strict.headers["x-asbru-loss"] == losses
    assert strict.json()["error"]["message"] == f"there cannot carry this request without loss: {losses}"


@pytest.mark.parametrize("name", COUNTS)
def test_a_count(client: httpx.Client, dialect: str, name: str) -> None:
    for model in models(dialect):
        _, response = replay(client, name, model)
        assert response.status_code == 200, response.text
        counted = response.json()
        assert counted.keys() == {"input_tokens"} and counted["input_tokens"] > 0
        assert response.headers.get("x-asbru-estimate") == (None if dialect != "openai-chat" else "true")
