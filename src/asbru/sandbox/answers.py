"""The two ways a request can end: an `ApiError`, or an answer given through `Reply`.

`Reply` adds to every answer what the real API adds (``request-id``, ``anthropic-organization-id``, rate-limit
headers on answers of the models) and renders errors. Everything in it is constant or derived from the request, so
that the same request gets the same bytes.
"""

from __future__ import annotations

import msgspec

from asbru.errors import Headers
from asbru.sandbox.ids import EPOCH, identifier
from asbru.server.exchange import Exchange

ORGANIZATION = b"00000000-5a4d-4b0c-8000-000000000001"

ERROR_TYPES: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    501: "not_supported",
    504: "timeout_error",
    529: "overloaded_error",
}

LIMITS: tuple[tuple[str, int], ...] = (
    ("requests", 4_000),
    ("tokens", 2_400_000),
    ("input-tokens", 2_000_000),
    ("output-tokens", 400_000),
)


class ApiError(Exception):
    """A refusal or failure as the Messages API words it; becomes the whole answer, or the last event of a stream."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: dict[str, object] | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = ERROR_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
        self.message = message
        self.details = details
        self.headers = headers or []

    def error(self) -> dict[str, object]:
        """The ``error`` object of the body."""
        inner: dict[str, object] = {"type": self.type, "message": self.message}
        if self.details is not None:
            inner["details"] = self.details
        return inner

    def body(self, request_id: str) -> dict[str, object]:
        return {"type": "error", "error": self.error(), "request_id": request_id}


def invalid(message: str) -> ApiError:
    """The commonest one: 400 ``invalid_request_error``."""
    return ApiError(400, message)


def rate_limits(remaining: bool = True) -> Headers:
    """The ``anthropic-ratelimit-*`` headers: constant, and empty when a limit was asked for."""
    headers: Headers = []
    for name, limit in LIMITS:
        for suffix, value in (("limit", limit), ("remaining", limit - 1 if remaining else 0), ("reset", EPOCH)):
            headers.append((f"anthropic-ratelimit-{name}-{suffix}".encode(), str(value).encode()))
    return headers


class Reply:
    """Gives the answer to one exchange. ``identify`` makes the request id depend on the request's body too."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.request_id = ""
        self.identify(b"")

    def identify(self, fingerprint: bytes) -> None:
        exchange = self.exchange
        self.request_id = identifier("req", exchange.method.encode(), exchange.path, exchange.query, fingerprint)
        exchange.request_id = self.request_id

    def headers(self, content_type: str, extra: Headers | None = None) -> Headers:
        return [
            (b"content-type", content_type.encode()),
            (b"request-id", self.request_id.encode()),
            (b"anthropic-organization-id", ORGANIZATION),
            *(extra or []),
        ]

    async def json(self, value: object, *, status: int = 200, headers: Headers | None = None) -> None:
        body = msgspec.json.encode(value)
        await self.exchange.respond(status, self.headers("application/json", headers), body)

    async def error(self, error: ApiError) -> None:
        await self.json(error.body(self.request_id), status=error.status, headers=error.headers)

    async def start_stream(self, headers: Headers | None = None) -> None:
        extra = [(b"cache-control", b"no-cache"), *(headers or [])]
        await self.exchange.start(200, self.headers("text/event-stream; charset=utf-8", extra))

    def error_event(self, error: ApiError) -> bytes:
        return b"event: error\ndata: " + msgspec.json.encode(error.body(self.request_id)) + b"\n\n"
