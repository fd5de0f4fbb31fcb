"""Google's Gemini (``generateContent``, ``streamGenerateContent``, ``countTokens``), from the provider's side: by API
key (`GEMINI`) and on Vertex AI (`VERTEX`).

The reference is ai.google.dev/api and the Python SDK ``google-genai`` 3.4. Requests are read by the tables of
`gemini_fields`, then checked by `gemini_rules`; `gemini_answer` words the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from asbru.errors import Headers
from asbru.sandbox import caller
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.failures import error_for
from asbru.sandbox.pages import parameters
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speech import Heard
from asbru.sandbox.speeches import gemini_answer, gemini_fields, gemini_rules
from asbru.sandbox.speeches.gemini_rules import Rules, Turn, answered, listed, table
from asbru.sandbox.stream import Event
from asbru.server.exchange import Exchange

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
WORDS: Mapping[int, str] = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    402: "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
    403: "The caller does not have permission",
    404: "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
    "ListModels to see the list of available models and their supported methods.",
    429: "You exceeded your current quota, please check your plan and billing details. Please retry in 1s.",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class GeminiReply(Reply):
    """How Google answers: a stream is a list in JSON unless ``alt=sse`` asks for events."""

    words = WORDS
    middle = 1

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.is_sse = parameters(exchange.query).get("alt") == "sse"
        self.stream_type = "text/event-stream" if self.is_sse else "application/json; charset=UTF-8"

    def headers(self, content_type: str, extra: Headers | None = None) -> Headers:
        if content_type == "application/json":
            content_type += "; charset=UTF-8"
        return [
            (b"content-type", content_type.encode()),
            (b"vary", b"Origin, X-Origin, Referer"),
            (b"server", b"scaffolding on HTTPServer2"),
            (b"x-xss-protection", b"0"),
            (b"x-frame-options", b"SAMEORIGIN"),
            (b"x-content-type-options", b"nosniff"),
            *(extra or []),
        ]

    def limits(self, remaining: bool = True) -> Headers:
        return []  # Google says nothing of limits until they are reached

    async def error(self, error: ApiError) -> None:
        await self.json(self.error_body(error), status=error.status)

    def error_body(self, error: ApiError) -> object:
        details = list(listed((error.details or {}).get("details")))
        # How long to wait stands in the body, never in a header.
        details += [
            {"@type": _RETRY_INFO, "retryDelay": f"{value.decode()}s"}
            for name, value in error.headers
            if name == b"retry-after"
        ]
        found: Json = {"code": error.status, "message": error.message}
        if error.status in _STATUSES:
            found["status"] = _STATUSES[error.status]
        return {"error": {**found, "details": details} if details else found}

    def error_event(self, error: ApiError) -> bytes:
        body = msgspec.json.encode(self.error_body(error))
        return b"data: %b\r\n\r\n" % body if self.is_sse else b",\r\n%b]" % body


class Gemini:
    def __init__(self, *, is_vertex: bool) -> None:
        self.is_vertex = is_vertex
        versions = ("v1beta1", "v1") if is_vertex else ("v1beta", "v1")
        folder = "projects/*/locations/*/publishers/google/models" if is_vertex else "models"
        methods = ("generateContent", "streamGenerateContent", "countTokens")
        self.routes: Sequence[str] = [f"{v}/{folder}/*:{method}" for v in versions for method in methods]
        self.listing = "" if is_vertex else "v1beta/models"

    def check(self, headers: Headers) -> None:
        keys = [] if self.is_vertex else caller.values(headers, b"x-goog-api-key")
        tokens = [text[7:] for text in caller.values(headers, b"authorization") if text[:7].lower() == "bearer "]
        key = next((key.strip() for key in [*keys, *tokens] if key.strip()), "")
        if not key and self.is_vertex:
            raise ApiError(401, WORDS[401], details=_reason("CREDENTIALS_MISSING"))
        if not key:
            text = (
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key"
            )
            raise ApiError(403, f"{text} or other form of API consumer identity to call this API.")
        status = caller.refused_with(key)
        if status == 401 and not self.is_vertex:
            raise ApiError(400, "API key not valid. Please pass a valid API key.", details=_reason("API_KEY_INVALID"))
        if status is not None:
            raise error_for(status, "", words=WORDS)

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        method = route.rpartition(":")[2]
        counts = method == "countTokens"
        asked = self._read(body, ids[-1], counts=counts)
        rules = gemini_rules.rules_of(ids[-1])
        gemini_rules.check_settings(asked, rules)
        gemini_rules.check_tools(asked, rules, is_vertex=self.is_vertex)
        turns = gemini_rules.check_conversation(asked, rules)
        messages = _messages(asked, ids[-1], turns, rules)
        if parameters(query).get("alt") == "sse":
            asked["alt"] = "sse"
        return Heard(messages=messages, stream=method.startswith("stream"), count=counts, asked=asked)

    def _read(self, body: object, model: str, *, counts: bool) -> Json:
        """The request as its table reads it; of one to count, what is to be counted."""
        if self.is_vertex:
            table_of = gemini_fields.COUNT_ON_VERTEX if counts else gemini_fields.GENERATE_ON_VERTEX
        else:
            table_of = gemini_fields.COUNT if counts else gemini_fields.GENERATE
        asked = table_of(body, "")
        assert isinstance(asked, dict)
        if "generateContentRequest" not in asked:
            return asked
        if "contents" in asked:
            raise gemini_rules.invalid("Only one of contents and generate_content_request may be set.")
        inner = asked["generateContentRequest"]
        assert isinstance(inner, dict)
        if inner.get("model") != f"models/{model}":
            raise gemini_rules.invalid(f"generate_content_request.model must be models/{model}.")
        return inner

    def whole(self, answer: Answer, heard: Heard) -> object:
        return gemini_answer.whole(answer, heard.asked, is_vertex=self.is_vertex)

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        found = gemini_answer.chunks(answer, heard.asked, chunks, is_vertex=self.is_vertex)
        if heard.asked.get("alt") == "sse":
            for value, is_delta in found:
                yield Event(b"data: %b\r\n\r\n" % msgspec.json.encode(value), is_delta)
            return
        before = b"["
        for value, is_delta in found:
            yield Event(before + msgspec.json.encode(value), is_delta)
            before = b",\r\n"
        yield Event(b"]")

    def count(self, tokens: int) -> object:
        return gemini_answer.count(tokens, is_vertex=self.is_vertex)

    def too_long(self, tokens: int, most: int) -> ApiError:
        return ApiError(400, f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({most}).")

    def models(self, ids: Sequence[str]) -> object:
        methods = ["generateContent", "countTokens"]
        limits = {"inputTokenLimit": 1_048_576, "outputTokenLimit": gemini_rules.MAX_OUTPUT_TOKENS}
        return {
            "models": [
                {
                    "name": f"models/{name}",
                    "version": "001",
                    "displayName": name,
                    **limits,
                    "supportedGenerationMethods": methods,
                }
                for name in ids
            ]
        }

    def reply(self, exchange: Exchange) -> Reply:
        return GeminiReply(exchange)


GEMINI = Gemini(is_vertex=False)
VERTEX = Gemini(is_vertex=True)


def _reason(reason: str) -> Json:
    return {"details": [{"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com"}]}


# The same as a Messages request


def _messages(asked: Json, model: str, turns: Sequence[Turn], rules: Rules) -> Json:
    config = table(asked.get("generationConfig"))
    messages: list[Json] = []
    calls: list[Json] = []
    ids: list[str] = []
    for turn in turns:
        responses = [table(part["functionResponse"]) for part in turn.parts if "functionResponse" in part]
        order = iter([ids[index] for index in answered(calls, responses)])
        blocks = [block for part in turn.parts for block in _blocks(part, order)]
        calls = [table(part["functionCall"]) for part in turn.parts if "functionCall" in part]
        ids = [f"call_{turn.number}_{index}" for index in range(len(calls))]
        uses = (
            {"type": "tool_use", "id": id, "name": call["name"], "input": call.get("args") or {}}
            for id, call in zip(ids, calls, strict=True)
        )
        messages.append({"role": "assistant" if turn.role == "model" else "user", "content": [*blocks, *uses]})
    system = listed(table(asked.get("systemInstruction")).get("parts"))
    found: Json = {
        "model": model,
        "system": [{"type": "text", "text": part["text"]} for part in system],
        "messages": messages,
        "max_tokens": config.get("maxOutputTokens", gemini_rules.MAX_OUTPUT_TOKENS),
        "stop_sequences": config.get("stopSequences", []),
        "tools": _tools(asked),
        "tool_choice": _choice(asked),
    }
    if rules.thinks(table(config.get("thinkingConfig"))):
        found["thinking"] = {"type": "adaptive", "display": "summarized"}
    if config.get("responseMimeType") == "application/json":
        schema = config.get("responseSchema") or config.get("responseJsonSchema") or {"type": "object"}
        found["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return found


def _blocks(part: Json, answers: Iterator[str]) -> list[Json]:
    """The blocks of a part; calls are the caller's to make, for they need ids."""
    if "functionResponse" in part:
        return [_result(table(part["functionResponse"]), next(answers))]
    if part.get("thought") or "functionCall" in part:
        return []  # Gemini takes no thoughts back
    for name in ("inlineData", "fileData"):
        if name in part:
            return [_media(table(part[name]))]
    if "text" in part:
        return [{"type": "text", "text": part["text"]}] if part["text"] else []
    return [{"type": "text", "text": msgspec.json.encode(part).decode()}]


def _media(media: Json) -> Json:
    kind = str(media.get("mimeType") or "image/jpeg")
    if "fileUri" in media:
        source: Json = {"type": "url", "url": media["fileUri"]}
    else:
        source = {"type": "base64", "media_type": kind, "data": media["data"]}
    return {"type": "image" if kind.startswith("image/") else "document", "source": source}


def _result(response: Json, id: str) -> Json:
    said = table(response["response"])
    is_error = "error" in said and "output" not in said
    value = said.get("error" if is_error else "output", said)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    content: list[Json] = [{"type": "text", "text": text}] if text else []
    for part in listed(response.get("parts")):
        content += [_media(table(part[name])) for name in ("inlineData", "fileData") if name in part]
    return {"type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error}


_OWN = {
    "googleSearch": {"type": "web_search_20250305", "name": "web_search"},
    "urlContext": {"type": "web_fetch_20250910", "name": "web_fetch"},
    "codeExecution": {"type": "code_execution_20250522", "name": "code_execution"},
}


def _tools(asked: Json) -> list[Json]:
    calling = table(table(asked.get("toolConfig")).get("functionCallingConfig"))
    allowed = calling.get("allowedFunctionNames") if calling.get("mode") in ("ANY", "VALIDATED") else None
    found: list[Json] = []
    for tool in listed(asked.get("tools")):
        for function in listed(tool.get("functionDeclarations")):
            if isinstance(allowed, list) and allowed and function["name"] not in allowed:
                continue
            schema = function.get("parameters") or function.get("parametersJsonSchema") or {"type": "object"}
            described = function.get("description", "")
            found.append({"name": function["name"], "description": described, "input_schema": schema})
        found += [dict(own) for name, own in _OWN.items() if name in tool]
        found += [
            {"type": "mcp_toolset", "mcp_server_name": str(server.get("name"))}
            for server in listed(tool.get("mcpServers"))
        ]
    return found


def _choice(asked: Json) -> Json | None:
    calling = table(table(asked.get("toolConfig")).get("functionCallingConfig"))
    kind = {"ANY": "any", "NONE": "none"}.get(str(calling.get("mode")))
    return {"type": kind} if kind else None
