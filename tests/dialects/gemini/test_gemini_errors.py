"""Google's errors, as recorded or documented, in the terms of the Messages API."""

from __future__ import annotations

import pytest

from asbru.dialects.codec import Fault
from asbru.dialects.gemini import CODEC
from tests.dialects.gemini.goldens import Json, compact


def google(code: int, status: str, message: str, *details: Json) -> bytes:
    error: Json = {"code": code, "message": message, "status": status}
    return compact({"error": {**error, "details": list(details)} if details else error})


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
QUOTA = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "PerMinute-FreeTier"}]}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # vercel/ai packages/google/src/__fixtures__/google-429-retry-info.json (recorded)
        (
            429,
            google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan.", QUOTA, RETRY),
            Fault(429, "rate_limit_error", "You exceeded your current quota, please check your plan.", 34.4),
        ),
        # vercel/ai packages/google/src/__fixtures__/google-thinking-level-minimal-unsupported.json (recorded)
        (
            400,
            google(400, "INVALID_ARGUMENT", "Thinking level MINIMAL is not supported for this model."),
            Fault(400, "invalid_request_error", "Thinking level MINIMAL is not supported for this model."),
        ),
        # ai.google.dev/gemini-api/docs/troubleshooting: the status blames the request, the reason the key
        (
            400,
            google(400, "INVALID_ARGUMENT", "The credential is not valid.", BAD_KEY),
            Fault(401, "authentication_error", "The credential is not valid."),
        ),
        (
            400,
            google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
            Fault(401, "authentication_error", "API key expired. Please renew the API key."),
        ),
        (
            400,
            google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            Fault(403, "permission_error", "User location is not supported for the API use."),
        ),
        (
            403,
            google(403, "PERMISSION_DENIED", "Permission denied on resource project p."),
            Fault(403, "permission_error", "Permission denied on resource project p."),
        ),
        (
            401,
            google(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            Fault(401, "authentication_error", "Request had invalid authentication credentials."),
        ),
        (
            404,
            google(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta."),
            Fault(404, "not_found_error", "models/gemini-9 is not found for API version v1beta."),
        ),
        (
            503,
            google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
            Fault(529, "overloaded_error", "The model is overloaded. Please try again later."),
        ),
        (
            504,
            google(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
            Fault(504, "timeout_error", "Deadline expired before operation could complete."),
        ),
        (
            500,
            google(500, "INTERNAL", "An internal error has occurred."),
            Fault(500, "api_error", "An internal error has occurred."),
        ),
        # The two back ends' words for a prompt that does not fit, in Anthropic's, which Claude Code reads
        (
            400,
            google(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            ),
            Fault(400, "invalid_request_error", "prompt is too long: 1200000 tokens > 1048576 maximum"),
        ),
        (
            400,
            google(
                400,
                "INVALID_ARGUMENT",
                "Unable to submit request because the input token count is 1200000 but model only supports up to "
                "1048576. Reduce the input token count and try again.",
            ),
            Fault(400, "invalid_request_error", "prompt is too long: 1200000 tokens > 1048576 maximum"),
        ),
        (
            429,
            google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio."),
            Fault(402, "billing_error", "Your prepayment credits are depleted. Please go to AI Studio.", None, False),
        ),
        (
            400,
            google(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
            Fault(413, "request_too_large", "Request payload size exceeds the limit: 20971520 bytes."),
        ),
        # Without `alt=sse` a streamed error is a list of one
        (
            503,
            b"[" + google(503, "UNAVAILABLE", "Try again.") + b"]",
            Fault(529, "overloaded_error", "Try again."),
        ),
        (
            500,
            b"<html>Bad Gateway</html>",
            Fault(500, "api_error", "The provider answered with status 500 and no reason"),
        ),
        (400, b"[]", Fault(400, "invalid_request_error", "The provider answered with status 400 and no reason")),
        (
            400,
            b'{"error": null}',
            Fault(400, "invalid_request_error", "The provider answered with status 400 and no reason"),
        ),
    ],
)
def test_errors(status: int, body: bytes, expected: Fault) -> None:
    assert CODEC.fault(status, {}, body) == expected


def test_the_header_says_how_long_before_the_body_does() -> None:
    found = CODEC.fault(429, {b"retry-after": b"7"}, google(429, "RESOURCE_EXHAUSTED", "Slow down.", RETRY))
    assert found.retry_after_s == 7


def test_a_key_is_not_repeated() -> None:
    key = "AIza" + "SyD" * 12
    found = CODEC.fault(400, {}, google(400, "INVALID_ARGUMENT", f"API Key not found: {key}. Please pass a valid one."))
    assert key not in found.message
