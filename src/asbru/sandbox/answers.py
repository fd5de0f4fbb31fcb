"""The two ways a request can end: an `ApiError`, or an answer given through `Reply`.

`Reply` adds to every answer what the real API adds (``request-id``, ``anthropic-organization-id``, rate-limit
headers on answers of the models) and renders errors. Everything in it is constant or derived from the request, so
that the same request gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from asbru.errors import Headers
from asbru.sandbox.ids import EPOCH, identifier
from asbru.server.exchange import Exchange

if TYPE_CHECKING:
    from asbru.sandbox.request_log import Entry

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

WORDS: dict[int, str] = {
    400: "The sandbox was asked for an invalid request.",
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
    "purchase credits.",
    403: "Your API key does not have permission to use the specified resource.",
    404: "model: {model}",
    408: "Request timed out.",
    413: "Request exceeds the maximum size.",
    429: "This request would exceed your organization's rate limit. Please try again later.",
    500: "Internal server error",
    503: "Service is temporarily unavailable.",
    504: "The request timed out while it was being processed.",
    529: "Overloaded",
}
"""What the errors say that are asked for by a model's or a key's name; ``{model}`` is the model's name."""

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
    """Gives the answer to one exchange. ``identify`` makes the request id depend on the request's body too.

    This is how Anthropic answers; another dialect has a `Reply` of its own that overrides what differs.
    """

    words: Mapping[int, str] = WORDS
    stream_type = "text/event-stream; charset=utf-8"
    middle = 4
    """Events before the middle of a stream: message_start, content_block_start, ping and the first delta."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.entry: Entry | None = None
        """Where the request is logged."""
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

    def limits(self, remaining: bool = True) -> Headers:
        """The headers that answers of models have, of the limits of their rate."""
        return rate_limits(remaining)

    async def json(self, value: object, *, status: int = 200, headers: Headers | None = None) -> None:
        body = msgspec.json.encode(value)
        await self.exchange.respond(status, self.headers("application/json", headers), body)

    def note(self, model: str, is_stream: bool) -> None:
        """Log what was asked for."""
        if self.entry is not None:
            self.entry.model, self.entry.stream = model, is_stream

    def note_answer(self, content: Sequence[Mapping[str, object]], stop_reason: str) -> None:
        """Log what is answered, in a few words."""
        if self.entry is not None:
            blocks = (f"{block['type']} {block['name']}" if "name" in block else block["type"] for block in content)
            self.entry.outcome = f"{', '.join(map(str, blocks)) or 'no content'} ({stop_reason})"

    async def refuse(self, error: ApiError) -> None:
        """Log the error and answer with it."""
        if self.entry is not None:
            self.entry.outcome = f"{error.type}: {error.message}"
        await self.error(error)

    async def error(self, error: ApiError) -> None:
        headers = [*self.limits(remaining=False), *error.headers] if error.status == 429 else error.headers
        await self.json(self.error_body(error), status=error.status, headers=headers)

    def error_body(self, error: ApiError) -> object:
        return error.body(self.request_id)

    async def start_stream(self, headers: Headers | None = None) -> None:
        extra = [(b"cache-control", b"no-cache"), *(headers or [])]
        await self.exchange.start(200, self.headers(self.stream_type, extra))

    def error_event(self, error: ApiError) -> bytes:
        return b"event: error\ndata: " + msgspec.json.encode(self.error_body(error)) + b"\n\n"
