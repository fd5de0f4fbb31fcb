"""A request on its way to a provider that speaks another dialect, and that provider's answer on its way back.

One `Translation` belongs to one candidate of one exchange: the request as the codec encoded it, what was lost, and the
decoder of the answer. Relaying knows nothing of it. What cannot be carried, or under strict may not be lost, is
`CannotCarry`: a 400 that names it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from asbru.asked import Asked
from asbru.call import Call, header_text
from asbru.dialects import messages, whole
from asbru.dialects.codec import Codec, Context, Decoder, Sent
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import StreamError
from asbru.errors import GatewayError, Headers
from asbru.upstream.providers import Upstream

_JSON_LINES = b"content-type: application/json\r\naccept: application/json\r\n"
_STREAM_LINES = b"content-type: application/json\r\naccept: text/event-stream\r\n"
_KEPT = frozenset({b"retry-after", b"retry-after-ms", b"date"})


class CannotCarry(Exception):
    """The candidate's dialect has no words for something in the request."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(error.message)
        self.error = error


class Refusal(NamedTuple):
    """A provider's error, in the client's dialect."""

    status: int
    headers: Headers
    body: bytes
    retry_after_s: float | None


class Translation:
    """One candidate's request and the way back."""

    __slots__ = ("_codec", "_context", "_decoder", "_request_id", "headers", "losses", "sent")

    def __init__(
        self, codec: Codec, context: Context, sent: Sent, losses: Losses, request_id: str, stream: bool
    ) -> None:
        self._codec = codec
        self._context = context
        self._decoder: Decoder | None = None
        self._request_id = request_id
        self.sent = sent
        self.losses = losses
        self.headers = (_STREAM_LINES if stream else _JSON_LINES) + sent.headers

    def feed(self, data: bytes) -> bytes:
        """Bytes of a streamed answer -> Anthropic events; ends with an error event where they make no sense."""
        if self._decoder is None:
            self._decoder = self._codec.decoder(self._context)
        decoder = self._decoder
        try:
            return decoder.feed(data)
        except StreamError as error:
            decoder.stream.fail(error.type, error.message)
            return decoder.stream.take()

    @property
    def ended(self) -> bool:
        """Whether the stream has had its last event, whatever the upstream still sends."""
        return self._decoder is not None and self._decoder.stream.ended

    def end(self) -> bytes:
        """The streamed answer has ended."""
        if self._decoder is None:
            self._decoder = self._codec.decoder(self._context)
        return self._decoder.end()

    def message(self, body: bytes) -> bytes:
        """A whole answer -> a Message; raises `StreamError`."""
        try:
            return whole.join(self._codec.decode(body, self._context).take())
        except whole.JoinError as error:
            raise StreamError(str(error)) from None

    def count(self, body: bytes) -> bytes:
        """A count of tokens; raises `StreamError`."""
        return msgspec.json.encode({"input_tokens": self._codec.decode_count(body)})

    def fault(self, status: int, headers: Headers, body: bytes) -> Refusal:
        """An error answer -> an error of the Messages API."""
        fault = self._codec.fault(status, dict(headers), body)
        error = {
            "type": "error",
            "error": {"type": fault.type, "message": fault.message},
            "request_id": self._request_id,
        }
        own: Headers = [(b"content-type", b"application/json")]
        if fault.should_retry is not None:
            own.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
        return Refusal(fault.status, own, msgspec.json.encode(error), fault.retry_after_s)


def translation(call: Call, asked: Asked, upstream: Upstream, model: str, stream: bool) -> Translation:
    """The request in the upstream's dialect; raises `CannotCarry`, or `GatewayError` for a body that is no request."""
    context, sent, losses = _translate(call, asked, upstream, model, count=call.record.route == "count_tokens")
    if losses.found and (upstream.settings.strict or call.ingress.flag(b"x-asbru-strict")):
        header = (b"x-asbru-loss", header_text(losses.header()))
        message = f"{upstream.name} cannot carry this request without loss: {losses.header()}"
        raise CannotCarry(GatewayError("invalid_request", message, headers=[header]))
    assert upstream.codec is not None
    return Translation(upstream.codec, context, sent, losses, call.request_id, stream)


def _translate(
    call: Call, asked: Asked, upstream: Upstream, model: str, *, count: bool
) -> tuple[Context, Sent, Losses]:
    codec = upstream.codec
    assert codec is not None
    context = Context(
        provider=upstream.name,
        model=model,
        shown_model=asked.model,
        message_id="msg_" + call.request_id.removeprefix("req_"),
        quirks=upstream.quirks,
        facts=upstream.facts(model),
        version=call.ingress.text(b"anthropic-version") or "2023-06-01",
        betas=call.ingress.betas,
        session_id=call.record.session_id,
    )
    losses = Losses(codec.fidelity)
    try:
        request = messages.parse(asked.translatable, counting=count)
        sent = codec.encode_count(request, context, losses) if count else codec.encode(request, context, losses)
    except messages.MessagesError as error:
        raise GatewayError("invalid_request", str(error)) from None
    except LossyError as error:
        raise CannotCarry(GatewayError("invalid_request", error.message, details=error.details)) from None
    return context, sent, losses


def losses(call: Call, asked: Asked, upstream: Upstream, model: str) -> Losses | None:
    """What would be lost at this candidate, for a dry run; None when it is relayed. Raises as `translation` does."""
    return None if upstream.codec is None else _translate(call, asked, upstream, model, count=False)[2]


def own_headers(upstream: Headers, own: Headers) -> Headers:
    """The headers of a translated answer: of the provider's own only those that mean the same in both dialects."""
    return [header for header in upstream if header[0] in _KEPT] + own
