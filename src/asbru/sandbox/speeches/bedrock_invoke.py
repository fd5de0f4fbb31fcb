"""Bedrock's InvokeModel and InvokeModelWithResponseStream with the bodies of Claude, from the provider's side.

The body is a Messages request whose model stands in the path and whose version and betas stand in the body; it is held
against the Messages API's own tables and rules. A stream is frames of one event each, without pings, the last with
figures of Bedrock's own. Reference: botocore 1.44.5; the official SDK ``anthropic`` 2.11, lib/bedrock.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Sequence

import msgspec

from asbru.errors import Headers
from asbru.sandbox import models, request_fields, stream, validate
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speech import Heard
from asbru.sandbox.speeches import bedrock
from asbru.sandbox.stream import Event
from asbru.server.exchange import Exchange

VERSIONS = ("bedrock-2023-05-31", *validate.VERSIONS)
_IN_ENVELOPE = ("model", "stream")
_NOT_HERE = ("inference_geo", "speed", "service_tier", "diagnostics", "thread", "mcp_servers", "container", "fallbacks")
_TOOLS_NOT_HERE = ("web_search", "web_fetch", "code_execution", "advisor", "mcp_toolset")


class Invoke:
    routes: Sequence[str] = ("model/*/invoke", "model/*/invoke-with-response-stream")
    listing = ""

    def check(self, headers: Headers) -> None:
        bedrock.check_credential(headers)

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        messages = _messages(bedrock.base_of(urllib.parse.unquote(ids[0])), body)
        return Heard(messages=messages, stream=route.endswith("-stream"), asked=messages)

    def whole(self, answer: Answer, heard: Heard) -> object:
        return answer.message()

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        for event in stream.events(answer, models.Options(chunks=chunks)):
            data = event.data.partition(b"\ndata: ")[2].rstrip()
            if data == b'{"type":"ping"}':
                continue
            if data.startswith(b'{"type":"message_stop"'):
                metrics = {
                    "inputTokenCount": answer.usage["input_tokens"],
                    "outputTokenCount": answer.usage["output_tokens"],
                    "invocationLatency": 1,
                    "firstByteLatency": 1,
                }
                data = msgspec.json.encode({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
            chunk: Json = {"bytes": base64.b64encode(data).decode()}
            yield bedrock.event("chunk", chunk, is_delta=event.is_delta)

    def count(self, tokens: int) -> object:
        raise NotImplementedError  # counting is an operation of `Converse`

    def too_long(self, tokens: int, most: int) -> ApiError:
        return bedrock.refused(f"prompt is too long: {tokens} tokens > {most} maximum")

    def models(self, ids: Sequence[str]) -> object:
        raise NotImplementedError  # there is no list on this host

    def reply(self, exchange: Exchange) -> Reply:
        return bedrock.BedrockReply(exchange)


def counted(model: str, body: bytes) -> Heard:
    """What CountTokens is to count in the body of an InvokeModel."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _malformed("the body is not valid JSON") from None
    messages = _messages(model, value)
    return Heard(messages=messages, count=True, asked=messages)


def _messages(model: str, body: object) -> Json:
    """The Messages request; raises `ApiError` for what Claude on Bedrock does not take."""
    if not isinstance(body, dict):
        raise _malformed("#: expected type: JSONObject")
    for name in (*_IN_ENVELOPE, *_NOT_HERE):
        if name in body:
            raise bedrock.refused(f"{name}: Extra inputs are not permitted")
    version, betas = body.get("anthropic_version"), body.get("anthropic_beta", [])
    if version is None:
        raise bedrock.refused("anthropic_version: Field required")
    if version not in VERSIONS:
        raise bedrock.refused(f"Invalid API version: {version}")
    if not isinstance(betas, list) or not all(isinstance(beta, str) for beta in betas):
        raise bedrock.refused("anthropic_beta: Input should be a valid list")
    unknown = next((beta for beta in betas if beta.startswith("unsupported-")), None)
    if unknown is not None:
        raise bedrock.refused("invalid beta flag")
    own = {name: value for name, value in body.items() if name not in ("anthropic_version", "anthropic_beta")}
    caller = validate.Caller(version if version in validate.VERSIONS else validate.VERSIONS[0], frozenset(betas))
    _tools(own)
    checked = validate.shaped({"model": model, **own}, request_fields.MESSAGE, caller)
    if "cache_control" in checked:
        raise bedrock.refused("cache_control: Extra inputs are not permitted")
    validate.message(checked, models.profile_of(models.parse(model).model), caller, ())
    return checked


def _tools(body: Json) -> None:
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind.startswith(_TOOLS_NOT_HERE):
            text = f"tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            raise bedrock.refused(text)


def _malformed(what: str) -> ApiError:
    return bedrock.refused(f"Malformed input request: {what}, please reformat your input and try again.")
