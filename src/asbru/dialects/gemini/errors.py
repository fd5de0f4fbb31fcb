"""Google's errors in the terms of the Messages API.

``{"error": {code, message, status, details}}``, where ``status`` is one of `google.rpc.Code` and ``details`` may hold
`RetryInfo`, `QuotaFailure` and `ErrorInfo` (cloud.google.com/apis/design/errors; ai.google.dev/gemini-api/docs/
troubleshooting). Without ``alt=sse`` a streamed error is a list of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from asbru.dialects import faults
from asbru.dialects.codec import Fault
from asbru.dialects.gemini.wire import Error
from asbru.dialects.message_stream import ProviderError


class _Body(msgspec.Struct):
    error: Error | None = None


_body = msgspec.json.Decoder(_Body | list[_Body]).decode

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "FAILED_PRECONDITION": 403,  # billing is not enabled, or not for this place: the operator's, not the caller's
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 500,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 400,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_BAD_KEYS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
"""Reasons of an `ErrorInfo`: the status says INVALID_ARGUMENT, as if the request were wrong."""
_NO_CREDIT = re.compile(
    r"credits? (?:are|is) depleted|spend(?:ing)? cap|billing account .*(?:closed|disabled)", re.IGNORECASE
)
_TOO_LONG = re.compile(r"token count is (\d+) but (?:the )?model only supports up to (\d+)")  # Vertex AI's words
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


def fault(status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
    """An error answer in the terms of the Messages API, whatever its body holds."""
    try:
        found = _body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Body(Error(message=body[: faults.MAX_MESSAGE_CHARS].decode("utf-8", "replace")))
    if isinstance(found, list):
        found = found[0] if found else _Body()
    return _fault(found.error or Error(), status, headers)


def stream_error(error: Error) -> ProviderError:
    """An error that came within a stream, or with status 200."""
    found = _fault(error, error.code if error.code is not None and 400 <= error.code <= 599 else 500, {})
    return ProviderError(found.message, found.type, of_model=found.of_model)


def _fault(error: Error, status: int, headers: Mapping[bytes, bytes]) -> Fault:
    message = error.message or ""
    reasons = {detail.get("reason") for detail in error.details or () if isinstance(detail.get("reason"), str)}
    if reasons & _BAD_KEYS or message.startswith("API key"):
        status = 401
    else:
        status = _STATUSES.get(error.status or "", status)
    counts = _TOO_LONG.search(message[: faults.MAX_MESSAGE_CHARS])
    if counts is not None:
        return faults.too_long(message, int(counts.group(1)), int(counts.group(2)))
    if status == 400 and "payload size exceeds" in message:
        status = 413
    if status == 400 and faults.says_too_long(message):
        return faults.too_long(message)
    if status == 400 and (numbers := faults.shaped_too_long(message)) is not None:
        return faults.too_long(message, *numbers)
    if status in (402, 429) and (status == 402 or _NO_CREDIT.search(message[: faults.MAX_MESSAGE_CHARS])):
        return faults.billing(message)
    found = faults.fault(status, message, headers)
    return found if found.retry_after_s is not None else found._replace(retry_after_s=_retry_delay_s(error))


def _retry_delay_s(error: Error) -> float | None:
    for detail in error.details or ():
        match = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if match is not None:
            return min(float(match.group(1)), faults.MAX_RETRY_AFTER_S)
    return None
