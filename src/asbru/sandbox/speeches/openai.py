"""What OpenAI's two dialects share: keys, errors, headers, and what its models take.

The reference is OpenAI's own: the types of its Python SDK (``openai`` 3.52) and its API reference; the wording of
errors is that of answers of the real API that users have reported. A request's first mistake is the one reported:

    raise refused("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter")

Names of OpenAI's models behave as those do about reasoning and sampling; all other names take everything.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from asbru.errors import Headers
from asbru.sandbox import caller
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.failures import error_for
from asbru.sandbox.models import parse
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Misfit, Path

CREATED_S = 1_767_225_600
"""When everything in the sandbox was made: 2026-01-01."""
MAX_OUTPUT_TOKENS = 128_000
MAX_BREAKPOINTS = 4

# Errors


def refused(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400 ``invalid_request_error``, the commonest."""
    return ApiError(400, message, details={"param": param, "code": code})


def place(path: Path) -> str:
    """``messages[0].content``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


_A = {
    "boolean": "a boolean",
    "string": "a string",
    "integer": "an integer",
    "number": "a decimal",
    "array": "an array",
    "object": "an object",
}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"))
    return _A[next((name for kind, name in kinds if isinstance(value, kind)), "object")]


def listed(values: Sequence[str]) -> str:
    """``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def _size(misfit: Misfit, at: str) -> ApiError:
    """Too long or too short, text or list."""
    assert isinstance(misfit.value, str | list)
    kind = "string" if isinstance(misfit.value, str) else "array"
    found = f"{_A[kind]} with length {len(misfit.value)}" if misfit.value else f"an empty {kind}"
    is_long = misfit.what == "long"
    wrong = "too long" if is_long else "too short" if misfit.value else "empty"
    what = f"{kind} {wrong}" if misfit.value else f"empty {kind}"
    code = f"{kind}_above_max_length" if is_long else f"{kind}_below_min_length" if misfit.value else f"empty_{kind}"
    bound = f"{_A[kind]} with {'maximum' if is_long else 'minimum'} length {misfit.expected}"
    return refused(f"Invalid '{at}': {what}. Expected {bound}, but got {found} instead.", at, code)


def worded(misfit: Misfit) -> ApiError:
    """A misfit in OpenAI's words."""
    at, expected, value = place(misfit.path), misfit.expected, misfit.value
    match misfit.what:
        case "missing":
            return refused(f"Missing required parameter: '{at}'.", at, "missing_required_parameter")
        case "unknown":
            return refused(f"Unknown parameter: '{at}'.", at, "unknown_parameter")
        case "type" if isinstance(expected, str):
            message = f"Invalid type for '{at}': expected {_A[expected]}, but got {_kind(value)} instead."
            return refused(message, at, "invalid_type")
        case "choice" | "tag" if isinstance(expected, tuple):
            at = f"{at}.type" if misfit.what == "tag" else at
            if not isinstance(value, str):
                message = (
                    f"Invalid type for '{at}': expected one of {listed(expected)}, but got {_kind(value)} instead."
                )
                return refused(message, at, "invalid_type")
            return refused(f"Invalid value: '{value}'. Supported values are: {listed(expected)}.", at, "invalid_value")
        case "below" | "above" if isinstance(expected, int | float):
            kind = "decimal" if isinstance(expected, float) else "integer"
            bound, sign, code = (
                ("minimum", ">=", "below_min") if misfit.what == "below" else ("maximum", "<=", "above_max")
            )
            side = "below" if misfit.what == "below" else "above"
            message = f"Invalid '{at}': {kind} {side} {bound} value. Expected a value {sign} {expected:g}"
            return refused(f"{message}, but got {value} instead.", at, f"{kind}_{code}_value")
        case "short" | "long":
            return _size(misfit, at)
        case "pattern":
            message = f"Invalid '{at}': string does not match pattern. Expected a string that matches the pattern"
            return refused(f"{message} '{expected}'.", at, "invalid_value")
        case _:
            return refused(misfit.said, at or None)


WORDS: Mapping[int, str] = {
    400: "The sandbox was asked for an invalid request.",
    401: "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    402: "You exceeded your current quota, please check your plan and billing details.",
    403: "Project `proj_sandbox` does not have access to model `{model}`.",
    404: "The model `{model}` does not exist or you do not have access to it.",
    408: "Request timed out.",
    413: "Request body is too large.",
    429: "Rate limit reached for {model} in organization org-sandbox on requests per min (RPM): Limit 4000, Used 4000, "
    "Requested 1. Please try again in 1s.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "Our servers are currently overloaded. Please try again later.",
}
_KINDS: Mapping[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "model_not_found"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "server_is_overloaded"),
}
"""``type`` and ``code`` of errors that say nothing about them themselves."""
_LIMITS = (("requests", 4_000, "15ms"), ("tokens", 2_000_000, "0s"))


def error_object(error: ApiError) -> Json:
    """``{message, type, param, code}``."""
    kind, code = _KINDS.get(error.status, ("invalid_request_error" if error.status < 500 else "server_error", None))
    known = error.details or {}
    return {
        "message": error.message,
        "type": known.get("type", kind),
        "param": known.get("param"),
        "code": known.get("code") if error.details is not None else code,
    }


class OpenAIReply(Reply):
    """How OpenAI answers."""

    words = WORDS
    middle = 2

    def headers(self, content_type: str, extra: Headers | None = None) -> Headers:
        return [
            (b"content-type", content_type.encode()),
            (b"x-request-id", self.request_id.encode()),
            (b"openai-organization", b"org-sandbox"),
            (b"openai-processing-ms", b"1"),
            (b"openai-version", b"2020-10-01"),
            *(extra or []),
        ]

    def limits(self, remaining: bool = True) -> Headers:
        headers: Headers = []
        for name, limit, reset in _LIMITS:
            left = limit - 1 if remaining else 0
            for part, value in (("limit", limit), ("remaining", left), ("reset", reset if remaining else "1s")):
                headers.append((f"x-ratelimit-{part}-{name}".encode(), str(value).encode()))
        return headers

    def error_body(self, error: ApiError) -> object:
        return {"error": error_object(error)}

    def error_event(self, error: ApiError) -> bytes:
        return b"data: " + msgspec.json.encode(self.error_body(error)) + b"\n\n"


def check_key(headers: Headers) -> None:
    """Raises `ApiError` for a missing or refused key: a bearer, or Azure's ``api-key``."""
    bearers = [text[7:].strip() for text in caller.values(headers, b"authorization") if text[:7].lower() == "bearer "]
    key = next((key for key in [*bearers, *caller.values(headers, b"api-key")] if key), "")
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
        raise ApiError(401, message, details={})
    status = caller.refused_with(key)
    if status is not None:
        raise error_for(status, "", words=WORDS)


def too_long(tokens: int, most: int) -> ApiError:
    message = (
        f"This model's maximum context length is {most} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages."
    )
    return refused(message, "messages", "context_length_exceeded")


def model_list(ids: Sequence[str]) -> Json:
    """The list of models."""
    data = [{"id": name, "object": "model", "created": CREATED_S, "owned_by": "sandbox"} for name in ids]
    return {"object": "list", "data": data}


# Models

_VERSION = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_O_SERIES = re.compile(r"o[134](-|$)")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Rules(NamedTuple):
    """What a model takes."""

    is_known: bool = True
    """It is OpenAI's own; other names take everything."""
    efforts: tuple[str, ...] = ()
    """Lowest first; none for a model that does not reason."""
    caches: bool = False
    """It takes breakpoints of the prompt cache."""

    def effort(self, asked: str | None) -> str:
        """The effort it makes when asked for this one."""
        if asked is not None:
            return asked
        return "medium" if self.efforts and "none" not in self.efforts else "none"


def rules_of(model: str) -> Rules:
    """What the model of this name takes, options and label left out."""
    name = parse(model).model
    if _O_SERIES.match(name):
        return Rules(efforts=("low", "medium", "high"))
    version = _VERSION.match(name)
    if version is None:
        return Rules(is_known=False, efforts=EFFORTS, caches=True)
    number = (int(version[1]), int(version[2] or 0))
    if number < (5, 0) or "-chat" in name:
        return Rules()
    if number == (5, 0):
        return Rules(efforts=("minimal", "low", "medium", "high"))
    efforts = ["none", "low", "medium", "high"]
    efforts += ["xhigh"] if number >= (5, 2) else []
    efforts += ["max"] if number >= (5, 6) else []
    return Rules(efforts=tuple(efforts), caches=number >= (5, 6))


def check_model(body: Json, rules: Rules, effort: str | None, at: str, unsampled: Mapping[str, object]) -> None:
    """Refuse what the model does not take; ``unsampled``: fields only models that do not reason take, with defaults.

    ``at`` is where the effort stands: with a dot in it it is the Responses API's, whose words differ.
    """
    if not rules.is_known:
        return
    if effort is not None and not rules.efforts:
        if "." in at:
            raise unsupported(at)
        raise refused(f"Unrecognized request argument supplied: {at}")
    if effort is not None and effort not in rules.efforts:
        message = f"Unsupported value: '{effort}' is not supported with the '{body['model']}' model."
        raise refused(f"{message} Supported values are: {listed(rules.efforts)}.", at, "unsupported_value")
    if rules.efforts and rules.effort(effort) != "none":
        for field, default in unsampled.items():
            value = body.get(field)
            if value is None or value == default:
                continue
            if field != "temperature" or "." in at:
                raise unsupported(field)
            message = f"Unsupported value: 'temperature' does not support {value} with this model."
            raise refused(f"{message} Only the default (1) value is supported.", field, "unsupported_value")


def unsupported(param: str) -> ApiError:
    message = f"Unsupported parameter: '{param}' is not supported with this model."
    return refused(message, param, "unsupported_parameter")


def _list(value: object) -> list[Json]:
    return value if isinstance(value, list) else []


def check_breakpoints(turns: Iterable[Json], body: Json, rules: Rules) -> None:
    """Breakpoints of the prompt cache: not for every model, and not too many."""
    blocks = [block for turn in turns for block in _list(turn["content"])]
    blocks += [part for block in blocks for part in _list(block.get("content"))]
    count = sum("cache_control" in block for block in blocks)
    if not rules.caches and (count or body.get("prompt_cache_options") is not None):
        raise unsupported("prompt_cache_options")
    if count > MAX_BREAKPOINTS:
        message = f"A maximum of {MAX_BREAKPOINTS} explicit prompt cache breakpoints may be provided. Found {count}."
        raise refused(message, "prompt_cache_options", "invalid_value")


# Content

_DATA_URL = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_EXAMPLES = {"image": "image/png;base64,aW1nIGJ5dGVzIGhlcmU=", "application/pdf": "application/pdf;base64,JVBERi0xLjQK"}


def marked(part: Mapping[str, object], block: Json) -> Json:
    """The block, with the part's breakpoint if it has one."""
    return block if part.get("prompt_cache_breakpoint") is None else {**block, "cache_control": {"type": "ephemeral"}}


def image(url: str, at: Path) -> Json:
    """An image's block from its URL; raises `ApiError` for what is no image."""
    if url.startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = _data(url, at, "image")
    if media_type not in _IMAGES:
        raise _no_data_url(at, "image", f"unsupported MIME type '{media_type}'")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def document(url: str, title: str | None, at: Path) -> Json:
    """A file's block from its data URL."""
    media_type, data = _data(url, at, "application/pdf")
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "document", "source": source, "title": title}


def _data(url: str, at: Path, kind: str) -> tuple[str, str]:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise _no_data_url(at, kind, "a value without the 'data:' prefix" if url[:5] != "data:" else "an invalid one")
    try:
        decoded = base64.b64decode(found[2], validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise _no_data_url(at, kind, "an invalid base64-encoded value")
    return found[1], found[2]


def _no_data_url(at: Path, kind: str, got: str) -> ApiError:
    wanted = "an image MIME type" if kind == "image" else f"an {kind} MIME type"
    message = f"Invalid '{place(at)}'. Expected a base64-encoded data URL with {wanted} "
    return refused(f"{message}(e.g. 'data:{_EXAMPLES[kind]}'), but got {got}.", place(at), "invalid_value")


def arguments(text: str) -> Json:
    """A call's arguments as the input of a tool; those that are no JSON object are none."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def add(messages: list[Json], role: str, blocks: list[Json]) -> None:
    """Say this after what was said before; turns of the same role are one."""
    if messages and messages[-1]["role"] == role and role != "system":
        before = messages[-1]["content"]
        assert isinstance(before, list)
        before += blocks
    elif blocks:
        messages.append({"role": role, "content": blocks})
