"""What Bedrock's operations share: credentials, errors, frames of streams, names of models.

The reference is botocore 1.44.5 (``bedrock-runtime``: operations, exceptions and their statuses) and the Bedrock API
reference; the wording is that of answers of the real service that users have reported. A field that AWS does not know
is refused here, because botocore refuses it before it is sent: whoever sends one has mistaken something.

A signature (SigV4) is checked for its form, not for its secret: the sandbox has none. Access keys and bearers that fail
are those of `caller.refused_with`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import msgspec

from asbru.dialects import eventstream
from asbru.errors import Headers
from asbru.sandbox import caller
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.failures import error_for
from asbru.sandbox.ids import digest
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Misfit, Path, Shape, wrong
from asbru.sandbox.stream import Event

# Credentials

_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9-]{4,128})/(\d{8})/[a-z0-9-]+/bedrock/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}"
)


def check_credential(headers: Headers) -> None:
    """Raises `ApiError` for a missing, malformed or refused credential."""
    given = next(iter(caller.values(headers, b"authorization")), "")
    if not given:
        raise ApiError(403, "Missing Authentication Token", details={"kind": "MissingAuthenticationTokenException"})
    if given[:7].lower() == "bearer ":
        key = given[7:].strip()
    else:
        key = _signed_by(given, headers)
    status = caller.refused_with(key) if key else 401
    if status == 401:
        raise ApiError(403, WORDS[401], details={"kind": "UnrecognizedClientException"})
    if status is not None:
        raise error_for(status, "", words=WORDS)


def _signed_by(given: str, headers: Headers) -> str:
    """The access key of a signature."""
    found = _SIGNATURE.fullmatch(given)
    date = next(iter(caller.values(headers, b"x-amz-date")), "")
    if found is None or not date:
        message = "Authorization header requires 'Credential', 'Signature', 'SignedHeaders' and an X-Amz-Date header."
        raise ApiError(403, message, details={"kind": "IncompleteSignatureException"})
    signed = found[3].split(";")
    if signed != sorted(signed) or "host" not in signed or not re.fullmatch(rf"{found[2]}T\d{{6}}Z", date):
        message = "The request signature we calculated does not match the signature you provided."
        raise ApiError(403, message, details={"kind": "InvalidSignatureException"})
    return found[1]


# Errors

WORDS: Mapping[int, str] = {
    400: "The provided request is not valid",
    401: "The security token included in the request is invalid.",
    403: "You don't have access to the model with the specified model ID.",
    404: "Could not resolve the foundation model from the provided model identifier.",
    408: "Model has timed out in processing the request. Try your request again.",
    413: "Request size exceeds the limit.",
    424: "The model had an error while processing the request. Try your request again.",
    429: "Too many requests, please wait before trying again.",
    500: "The system encountered an unexpected error during processing. Try your request again.",
    503: "Bedrock is unable to process your request.",
}
_KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "RequestEntityTooLargeException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    529: "ServiceUnavailableException",
}
_IN_STREAM = {
    400: "validationException",
    429: "throttlingException",
    500: "internalServerException",
    503: "serviceUnavailableException",
    529: "serviceUnavailableException",
}
"""The others are a ``modelStreamErrorException``, which says their status."""


def refused(message: str) -> ApiError:
    """400 ``ValidationException``."""
    return ApiError(400, message)


def by_model(error: ApiError) -> ApiError:
    """An error of the Messages API as Bedrock passes it on."""
    return ApiError(error.status, f"The model returned the following errors: {error.message}")


def _place(path: Path) -> str:
    """``messages.1.member.content``, as AWS counts."""
    return ".".join(f"{step + 1}.member" if isinstance(step, int) else step for step in path)


_FOUND: dict[type, str] = {
    dict: "Start of structure or map found where not expected.",
    list: "Start of list found where not expected.",
}
_VALUES: dict[type, str] = {
    bool: "TRUE_VALUE",
    int: "NUMBER_VALUE",
    float: "DECIMAL_VALUE",
    str: "STRING_VALUE",
    type(None): "NULL",
}


def worded(misfit: Misfit) -> ApiError:
    """A misfit in AWS's words."""
    at, value, expected = _place(misfit.path), misfit.value, misfit.expected
    match misfit.what:
        case "missing":
            constraint = "Member must not be null"
        case "unknown":
            return ApiError(400, f"Unknown field: {at}", details={"kind": "SerializationException"})
        case "type":
            kind = str(expected).capitalize()
            text = _FOUND.get(type(value)) or f"{_VALUES.get(type(value), 'VALUE')} can not be converted to {kind}"
            return ApiError(400, text, details={"kind": "SerializationException"})
        case "choice" if isinstance(expected, tuple):
            constraint = f"Member must satisfy enum value set: [{', '.join(expected)}]"
        case "below" | "above":
            side = "greater" if misfit.what == "below" else "less"
            constraint = f"Member must have value {side} than or equal to {expected}"
        case "short" | "long":
            side = "greater" if misfit.what == "short" else "less"
            constraint = f"Member must have length {side} than or equal to {expected}"
        case "pattern":
            constraint = f"Member must satisfy regular expression pattern: {str(expected).removeprefix('^')[:-1]}"
        case _:
            return refused(misfit.message.partition(": ")[2] or misfit.message)
    shown = f"'{value}' " if isinstance(value, str | int | float) else ""
    return refused(f"1 validation error detected: Value {shown}at '{at}' failed to satisfy constraint: {constraint}")


def union(kind: str, members: Mapping[str, Shape]) -> Shape:
    """An object with exactly one of the members."""

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "expected an object", "type", "object", value)
        if len(value) != 1 or next(iter(value)) not in members:
            at = ".".join(str(step) for step in path)
            raise Misfit(
                (),
                f": {kind} object at {at} must set one of the following keys: {', '.join(members)}.",
                "other",
                None,
                None,
            )
        for name, each in value.items():
            members[name](each, (*path, name))

    return check


def blob(value: object, path: Path) -> None:
    """Bytes in base64, at least one."""
    if not isinstance(value, str):
        wrong(path, "expected bytes", "type", "blob", value)
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        wrong(path, "bytes are not in base64", "type", "blob", value)
    if not decoded:
        wrong(path, "too short", "short", 1, "")


# Answers


def frame(name: str, data: Json, kind: str = "event") -> bytes:
    """One frame of a stream; ``kind`` is ``event`` or ``exception``."""
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return eventstream.encode(headers, msgspec.json.encode(data))


def event(name: str, data: Json, *, is_delta: bool = False) -> Event:
    """An event, padded so that its length says nothing of its text, as Bedrock's are."""
    plain = msgspec.json.encode(data)
    padding = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[: 2 + digest(plain)[0] % 60]
    return Event(frame(name, {**data, "p": padding}), is_delta)


class BedrockReply(Reply):
    """How Bedrock answers. It says neither what its limits are nor how long to wait."""

    words = WORDS
    stream_type = "application/vnd.amazon.eventstream"
    middle = 2

    def headers(self, content_type: str, extra: Headers | None = None) -> Headers:
        number = digest(self.request_id.encode()).hex()
        parts = (number[:8], number[8:12], number[12:16], number[16:20], number[20:32])
        return [
            (b"content-type", content_type.encode()),
            (b"x-amzn-requestid", "-".join(parts).encode()),
            *(extra or []),
        ]

    def limits(self, remaining: bool = True) -> Headers:
        return []

    async def error(self, error: ApiError) -> None:
        kind = (error.details or {}).get("kind") or _KINDS.get(error.status)
        headers: Headers = [] if kind is None else [(b"x-amzn-errortype", str(kind).encode())]
        await self.json(self.error_body(error), status=error.status, headers=headers)

    def error_body(self, error: ApiError) -> object:
        return {"message": error.message}

    def error_event(self, error: ApiError) -> bytes:
        name = _IN_STREAM.get(error.status)
        if name is not None:
            return frame(name, {"message": error.message}, "exception")
        data: Json = {"message": error.message, "originalStatusCode": error.status, "originalMessage": error.message}
        return frame("modelStreamErrorException", data, "exception")


# Models

_CLAUDE = re.compile(r"(?:arn:[^/]*/)?(?:[a-z-]{2,6}\.)?(?:anthropic\.)?(claude-[a-z0-9-]*?)(?:-v\d+)?(:.*)?")
_REVISION = re.compile(r":\d+(?=:|$)")


def base_of(model: str) -> str:
    """A model's name without its revision (``:0``), so that options can follow; Claude's as Anthropic itself has it."""
    plain = _REVISION.sub("", model, count=1)
    found = _CLAUDE.fullmatch(plain)
    return plain if found is None else found[1] + (found[2] or "")


def family_of(model: str) -> str:
    """Whose fields a model takes: ``claude``, ``nova``, ``openai`` or nobody's that are known."""
    return next((family for family in ("claude", "nova", "openai") if family in model), "")
