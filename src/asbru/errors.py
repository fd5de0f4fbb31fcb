"""Errors that the gateway itself makes, and how an Anthropic client sees them.

Every refusal or failure of our own is a `GatewayError` with a kind from `KINDS`. It is rendered once, at
the edge, by `render` (a whole response) or `event` (the last event of a stream that has begun). Errors of an
upstream that speaks the client's dialect never come through here: they are relayed as they came.

The rows are contract/gateway.md §7 and §3; types and statuses are those of the Messages API.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Headers = list[tuple[bytes, bytes]]
Source = Literal["client", "gateway", "upstream"]


class Kind(NamedTuple):
    """One row of the table: HTTP status, ``error.type``, who is at fault, and what the client's retry loop is told."""

    status: int
    type: str
    source: Source
    reason: bool = False
    """The kind's name is sent as ``x-asbru-reason``."""
    should_retry: bool | None = None
    """Sent as ``x-should-retry`` where the status alone would mislead the SDKs' retry loops."""


KINDS: dict[str, Kind] = {
    # credentials and permissions; Claude Code retries a 401 for three minutes unless it is told not to
    "virtual_key_required": Kind(401, "authentication_error", "client", True, False),
    "virtual_key_not_found": Kind(401, "authentication_error", "client", True, False),
    "virtual_key_blocked": Kind(403, "permission_error", "client", True),
    "model_blocked": Kind(403, "permission_error", "client", True),
    "provider_blocked": Kind(403, "permission_error", "client", True),
    "origin_blocked": Kind(403, "permission_error", "client", True),
    "files_and_batches_blocked": Kind(403, "permission_error", "client", True),
    # the request itself
    "invalid_request": Kind(400, "invalid_request_error", "client"),
    "not_found": Kind(404, "not_found_error", "client"),
    "method_not_allowed": Kind(405, "invalid_request_error", "client"),
    "request_timeout": Kind(408, "timeout_error", "client"),
    "too_large": Kind(413, "request_too_large", "client"),
    "unsupported_media_type": Kind(415, "invalid_request_error", "client"),
    "headers_too_large": Kind(431, "invalid_request_error", "client"),
    # the gateway
    "internal": Kind(500, "api_error", "gateway"),
    "shed": Kind(503, "overloaded_error", "gateway", True),
    "no_candidate": Kind(503, "overloaded_error", "gateway", True),
    "draining": Kind(503, "overloaded_error", "gateway", True),
    # upstream
    "upstream_credentials": Kind(502, "api_error", "upstream", True, False),
    "upstream_invalid": Kind(502, "api_error", "upstream"),
    "upstream_unreachable": Kind(504, "timeout_error", "upstream"),
    "upstream_timeout": Kind(504, "timeout_error", "upstream"),
}


class GatewayError(Exception):
    """A refusal or failure of the gateway's own.

    ``message`` is shown to the client: it must never contain a credential, a prompt or an upstream's text.
    ``details`` becomes ``error.details`` (for example ``{"error_code": "thread_unsupported_request"}``).
    ``retry_after_s`` is sent as ``retry-after``, rounded up to whole seconds, at least 1.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        details: dict[str, object] | None = None,
        retry_after_s: float | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.row = KINDS[kind]
        self.message = message
        self.details = details
        self.retry_after_s = retry_after_s
        self.headers = headers or []


def internal_error(request_id: str) -> GatewayError:
    """A defect of the gateway; the log has its traceback under this id."""
    return GatewayError("internal", f"Internal error in the gateway; search its log for {request_id}")


def body(error: GatewayError, request_id: str) -> bytes:
    """The error as a JSON object of the Messages API."""
    inner: dict[str, object] = {"type": error.row.type, "message": error.message}
    if error.details is not None:
        inner["details"] = error.details
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})


def identity(request_id: str) -> Headers:
    """The request's id as every answer carries it, whoever made it."""
    value = request_id.encode("ascii")
    return [(b"request-id", value), (b"x-asbru-request-id", value), (b"x-bifrost-request-id", value)]


def render(error: GatewayError, request_id: str) -> tuple[int, Headers, bytes]:
    """The error as a whole response: status, headers (without content-length) and body."""
    row = error.row
    headers: Headers = [(b"content-type", b"application/json"), *identity(request_id), *error.headers]
    if row.reason:
        headers.append((b"x-asbru-reason", error.kind.encode("ascii")))
    if row.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if row.should_retry else b"false"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after_s // 1))))
    return row.status, headers, body(error, request_id)


def event(error: GatewayError, request_id: str) -> bytes:
    """The error as the last server-sent event of a stream that has begun."""
    return b"event: error\ndata: " + body(error, request_id) + b"\n\n"
