"""What both ways to Amazon Bedrock share: paths, families of models, errors.

Facts: botocore 1.44.5, ``bedrock-runtime`` (operations, exceptions and their statuses); the Bedrock user guide
(inference profiles, CountTokens); contract/translation.md §8.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import msgspec

from asbru.dialects import faults
from asbru.dialects.codec import Context, Fault
from asbru.dialects.eventstream import Frame
from asbru.dialects.losses import LossyError

EVENT_STREAM = b"application/vnd.amazon.eventstream"

# Paths


def target(model: str, operation: str) -> bytes:
    """The path of an operation; ``model`` is an id or an ARN, encoded as one segment. Raises `LossyError`."""
    if not model.strip("."):
        raise LossyError("model", "This is no model's name")  # as a path it would lead elsewhere
    return f"/model/{quote(model, safe='')}/{operation}".encode("ascii")


_PROFILE = re.compile(r"^(?:arn:[^/]*:(?:inference-profile|foundation-model)/)?(?:(?:global|apac|us-gov|[a-z]{2})\.)?")


def base_model(model: str) -> str:
    """The foundation model of an inference profile (``us.anthropic.…``): CountTokens takes no other name.

    An application inference profile's ARN does not say which model it is for, and stays as it is.
    """
    return _PROFILE.sub("", model, count=1)


def maker(context: Context) -> str:
    """The model whose reasoning this is, by whichever inference profile it was called."""
    return base_model(context.model)


# Models

Family = Literal["claude", "nova", "openai", "gpt-oss", "other"]

_FAMILIES: tuple[tuple[str, Family], ...] = (
    ("claude", "claude"),
    ("nova", "nova"),
    ("gpt-oss", "gpt-oss"),
    ("kimi", "gpt-oss"),  # the same reasoning_effort
    ("openai.", "openai"),
)


def family(context: Context) -> Family:
    """Whose additional fields a model takes. Where it is an ARN that says nothing, the client's name for it decides."""
    names = (context.model, context.shown_model) if context.model.startswith("arn:") else (context.model,)
    return next((found for name in names for part, found in _FAMILIES if part in name), "other")


# Errors

_STATUS_BY_EXCEPTION: dict[str, int] = {
    "accessdenied": 403,
    "internalserver": 500,
    "internalfailure": 500,
    "modelerror": 500,
    "modelnotready": 429,
    "modelstreamerror": 500,
    "modeltimeout": 504,
    "resourcenotfound": 404,
    "servicequotaexceeded": 429,
    "serviceunavailable": 503,
    "throttling": 429,
    "validation": 400,
}
"""Name of an exception, in lower case and without ``Exception`` -> the status that stands for it."""

_MODEL_PREFIX = "The model returned the following errors: "
_NO_SUCH_MODEL = re.compile(
    r"model identifier is invalid|on-demand throughput isn.t supported|model isn.t supported|end of its life",
    re.IGNORECASE,
)
_OF_MODEL = re.compile(
    r"invalid sequence as part of|(?:produced|generated) (?:an )?(?:invalid|malformed)", re.IGNORECASE
)
"""Nova's words, whole and in a stream, for a call that it wrote badly (langchain-aws 567, strands-agents 649)."""
_TOO_LONG = re.compile(r"\d+ tokens > \d+ maximum|input tokens? exceed|number of input tokens exceeds", re.IGNORECASE)
"""Besides `faults.says_too_long`: Claude's words, and Nova's (``Input Tokens Exceeded: Number of input tokens exceeds
maximum length``)."""


class _Error(msgspec.Struct):
    message: str | None = None
    Message: str | None = None
    kind: str | None = msgspec.field(name="__type", default=None)
    original_status: int | None = msgspec.field(name="originalStatusCode", default=None)
    original_message: str | None = msgspec.field(name="originalMessage", default=None)


_error = msgspec.json.Decoder(_Error).decode


def fault(status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
    """An error answer in the terms of the Messages API, whatever its body holds."""
    error = _read(body)
    kind = headers.get(b"x-amzn-errortype", b"").decode("latin-1") or error.kind or ""
    return _fault(kind, status, error, headers)


def exception(frame: Frame) -> Fault | None:
    """The error that a frame of a stream is; None when it is none."""
    if frame.headers.get(":message-type") == "event":
        return None
    kind = str(frame.headers.get(":exception-type") or frame.headers.get(":error-code") or "")
    error = _read(frame.payload)
    if not error.message:
        error.message = str(frame.headers.get(":error-message") or "")
    return _fault(kind, error.original_status or 500, error, {})


def _read(body: bytes) -> _Error:
    try:
        return _error(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error(message=body[: faults.MAX_MESSAGE_CHARS].decode("utf-8", "replace"))


def _fault(kind: str, status: int, error: _Error, headers: Mapping[bytes, bytes]) -> Fault:
    """``kind`` is the exception's name as AWS writes it, perhaps with ``…#`` before it or ``:http…`` behind it."""
    name = kind.partition(":")[0].rpartition("#")[2].lower().removesuffix("exception")
    status = _STATUS_BY_EXCEPTION.get(name, status)
    if name == "modelstreamerror" and error.original_status in (408, 429, 503, 529):
        status = error.original_status
    message = (error.original_message or error.message or error.Message or "").removeprefix(_MODEL_PREFIX)
    if status == 400 and _NO_SUCH_MODEL.search(message[: faults.MAX_MESSAGE_CHARS]):
        status = 404  # another candidate may have it
    if status in (400, 413) or error.original_status in (400, 413):
        if faults.says_too_long(message) or _TOO_LONG.search(message[: faults.MAX_MESSAGE_CHARS]):
            return faults.too_long(message)
        if (numbers := faults.shaped_too_long(message)) is not None:
            return faults.too_long(message, *numbers)
    if name in ("modelerror", "modelstreamerror") and _OF_MODEL.search(message[: faults.MAX_MESSAGE_CHARS]):
        return faults.of_model(message)
    if not message and name:
        message = f"Bedrock stopped with {kind.partition(':')[0].rpartition('#')[2][:64]}"
    return faults.fault(status, message, headers)
