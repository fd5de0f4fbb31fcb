"""Google's own SDK takes our requests as its own, and the answers in the golden files as Gemini's.

A body of ours is read into the SDK's types, which refuse fields they do not know, and written again by the SDK's own
converter for the Gemini API or for Vertex AI: what comes out must be what went in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.genai import Client, models, types

from asbru.dialects import messages, sse
from asbru.dialects.gemini import CODEC
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import MessagesError
from tests.dialects.gemini.goldens import FILES, Json, compact, context, load

CLIENT = Client(api_key="test")
PLAIN: Json = {"context": {"model": "gemini-3-flash-preview"}}
CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.json"))


def as_the_sdk_writes_it(body: Json, *, vertex: bool) -> Json:
    config = dict(body.get("generationConfig", {}))
    for name in ("systemInstruction", "tools", "toolConfig", "serviceTier"):
        if name in body:
            config[name] = body[name]
    parameters = types._GenerateContentParameters(
        model="m",
        contents=[types.Content.model_validate(content) for content in body["contents"]],
        config=types.GenerateContentConfig.model_validate(config),
    )
    if vertex:
        written = models._GenerateContentParameters_to_vertex(CLIENT._api_client, parameters, None, parameters)
    else:
        written = models._GenerateContentParameters_to_mldev(CLIENT._api_client, parameters, None, parameters)
    del written["_url"]
    written.pop("config", None)
    found: Json = json.loads(json.dumps(plain(written), default=str))
    return found


def plain(value: Any) -> Any:
    """The SDK's values as JSON ones: models by their wire names, bytes as base64."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(by_alias=True, exclude_none=True))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return getattr(value, "value", value)


def normal(value: Any) -> Any:
    """Base64 in one alphabet, and the role of a system instruction left out, which the SDK fills in."""
    if isinstance(value, list):
        return [normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: normal(each) for name, each in value.items()}
    if isinstance(found.get("thoughtSignature"), str):
        found["thoughtSignature"] = found["thoughtSignature"].replace("-", "+").replace("_", "/")
    return found


@pytest.mark.parametrize(
    "path", [path for path in FILES if "upstream_count" not in load(path)], ids=lambda path: path.stem
)
def test_requests_are_the_sdks_own(path: Path) -> None:
    golden = load(path)
    of = context(golden)
    body = json.loads(
        CODEC.encode(messages.parse(compact(golden["messages_request"])), of, Losses(CODEC.fidelity)).body
    )
    written = as_the_sdk_writes_it(body, vertex=of.quirks.vertex)
    written.get("systemInstruction", {}).pop("role", None)
    assert normal(written) == normal(body)


@pytest.mark.parametrize(
    "path", [path for path in FILES if "upstream_stream" in load(path)], ids=lambda path: path.stem
)
def test_the_files_answers_are_geminis(path: Path) -> None:
    golden = load(path)
    answers = [event.data for event in sse.Reader().feed(golden["upstream_stream"].encode())]
    answers += [compact(golden["upstream_response"])] if "upstream_response" in golden else []
    for answer in answers:
        found = json.loads(answer)
        if "error" in found:
            continue
        # The type of the SDK that both back ends answer with lacks `serviceTier`, which only the Gemini API sends.
        found["usageMetadata"].pop("serviceTier", None)
        read = types.GenerateContentResponse.model_validate(found)
        for candidate in read.candidates or []:
            reason = candidate.finish_reason
            assert reason is None or reason in set(types.FinishReason), "a reason that the SDK does not know"


def test_counts_are_the_sdks_own() -> None:
    for path in FILES:
        golden = load(path)
        if "upstream_count" not in golden:
            continue
        answer = types.CountTokensResponse.model_validate(
            {name: value for name, value in golden["upstream_count"].items() if name == "totalTokens"}
        )
        assert answer.total_tokens == golden["input_tokens"]


def captured() -> Iterator[tuple[str, bytes]]:
    """The Messages requests that real clients made."""
    for path in CAPTURES:
        body = str(json.loads(path.read_text(encoding="utf-8")).get("body_raw") or "").encode()
        try:
            messages.parse(body, counting=True)
        except MessagesError:
            continue
        yield path.stem, body


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in captured()])
def test_captured_requests(body: bytes) -> None:
    try:
        sent = CODEC.encode(messages.parse(body, counting=True), context(PLAIN), Losses(CODEC.fidelity))
    except LossyError as error:
        assert error.path in ("thread", "safeguards")
        return
    ours = json.loads(sent.body)
    written = as_the_sdk_writes_it(ours, vertex=False)
    written.get("systemInstruction", {}).pop("role", None)
    assert normal(written) == normal(ours)
