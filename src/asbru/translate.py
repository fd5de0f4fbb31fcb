"""A request on its way to a provider that speaks another dialect, or the client's own in an envelope, and that
provider's answer on its way back.

One `Translation` belongs to one candidate of one exchange: the request as the codec encoded it or the envelope wrapped
it, what was lost, and what reads the answer. Relaying knows nothing of it. What cannot be carried, or under strict may
not be lost, is `CannotCarry`: a 400 that names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import ceil
from typing import NamedTuple

import msgspec

from asbru.asked import Asked
from asbru.call import Call, loss_text
from asbru.dialects import bounds, by_url, messages, splice, sse, whole
from asbru.dialects.able import refuse_unable, streams
from asbru.dialects.by_url import Wanted
from asbru.dialects.codec import Codec, Context, Decoder, Envelope, Fault, Sent, Unwrapper
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import StreamError
from asbru.errors import GatewayError, Headers
from asbru.upstream.providers import Upstream

_WAITS = frozenset({b"retry-after", b"retry-after-ms"})
_KEPT = _WAITS | {b"date"}


class CannotCarry(Exception):
    """The candidate's dialect has no words for something in the request. The attempt is noted as ``outcome``."""

    def __init__(self, error: GatewayError, outcome: str = "lossy") -> None:
        super().__init__(error.message)
        self.error = error
        self.outcome = outcome


class Unfetched(Exception):
    """The target could take the request, if what it names by URL were fetched into ``Asked.fetched`` first."""

    def __init__(self, wanted: list[Wanted]) -> None:
        super().__init__(f"{len(wanted)} URLs")
        self.wanted = wanted


class Refusal(NamedTuple):
    """A provider's error, in the client's dialect."""

    status: int
    headers: Headers
    body: bytes
    retry_after_s: float | None
    of_model: bool = False
    """What the model wrote is at fault, not the provider."""


class Translation(ABC):
    """One candidate's request and the way back: translated, or in an envelope.

    ``streams``: the provider was asked for a stream. ``names_model``: the Message's ``model`` is what the provider
    calls the model that answered, not the client's name.
    """

    names_model = False

    __slots__ = ("_request_id", "headers", "losses", "sent", "streams")

    def __init__(self, sent: Sent, losses: Losses, request_id: str, stream: bool) -> None:
        self._request_id = request_id
        self.sent = sent
        self.losses = losses
        self.streams = stream
        accept = sent.accept or (b"text/event-stream" if stream else b"application/json")
        self.headers = b"content-type: application/json\r\naccept: %b\r\n%b" % (accept, sent.headers)

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Bytes of a streamed answer -> Anthropic events; raises `StreamError` where they make no sense."""

    def fail(self, nonsense: StreamError) -> bytes:
        """The last events of a stream that has begun and then made no sense."""
        error = {"type": nonsense.type, "message": nonsense.message}
        return sse.encode(b"error", msgspec.json.encode({"type": "error", "error": error}))

    @abstractmethod
    def end(self) -> bytes:
        """The streamed answer has ended."""

    def message(self, body: bytes, *, streamed: bool = False) -> bytes:
        """A complete answer, whole or ``streamed``, -> a Message; raises `StreamError`."""
        if not streamed:
            return self._message(body)
        try:
            return whole.join(self.feed(body) + self.end())
        except whole.JoinError as error:
            raise StreamError(str(error)) from None

    @abstractmethod
    def _message(self, body: bytes) -> bytes:
        """A whole answer -> a Message."""

    @abstractmethod
    def count(self, body: bytes) -> bytes:
        """A count of tokens; raises `StreamError`."""

    @abstractmethod
    def fault(self, status: int, headers: Headers, body: bytes) -> Refusal:
        """An error answer -> an error of the Messages API."""

    @abstractmethod
    def headers_back(self, upstream: Headers, own: Headers) -> Headers:
        """The headers of an answer: the provider's as far as they mean the same to the client, and our own."""

    def _refusal(self, fault: Fault, upstream: Headers) -> Refusal:
        error = {
            "type": "error",
            "error": {"type": fault.type, "message": fault.message},
            "request_id": self._request_id,
        }
        own: Headers = [(b"content-type", b"application/json")]
        if fault.should_retry is not None:
            own.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
        if fault.retry_after_s is not None and not any(name in _WAITS for name, _ in upstream):
            # Said in the body, where no client looks: Google's RetryInfo.
            own.append((b"retry-after", b"%d" % max(1, ceil(fault.retry_after_s))))
        return Refusal(fault.status, own, msgspec.json.encode(error), fault.retry_after_s, fault.of_model)


class _Translated(Translation):
    """By a codec: nothing of the provider's own wire format comes through."""

    __slots__ = ("_codec", "_context", "_decoder")

    def __init__(
        self, codec: Codec, context: Context, sent: Sent, losses: Losses, request_id: str, stream: bool
    ) -> None:
        super().__init__(sent, losses, request_id, stream)
        self._codec = codec
        self._context = context
        self._decoder: Decoder | None = None

    def feed(self, data: bytes) -> bytes:
        if self._decoder is None:
            self._decoder = self._codec.decoder(self._context)
        return self._decoder.feed(data)

    def fail(self, nonsense: StreamError) -> bytes:
        assert self._decoder is not None
        stream = self._decoder.stream
        stream.fail(nonsense.type, nonsense.message)
        return stream.take()  # with what came before

    def end(self) -> bytes:
        if self._decoder is None:
            self._decoder = self._codec.decoder(self._context)
        return self._decoder.end()

    def _message(self, body: bytes) -> bytes:
        return self._codec.decode(body, self._context).message()

    def count(self, body: bytes) -> bytes:
        return msgspec.json.encode({"input_tokens": self._codec.decode_count(body)})

    def fault(self, status: int, headers: Headers, body: bytes) -> Refusal:
        return self._refusal(self._codec.fault(status, dict(headers), body), headers)

    def headers_back(self, upstream: Headers, own: Headers) -> Headers:
        return [header for header in upstream if header[0] in _KEPT] + own


class _Wrapped(Translation):
    """In an envelope: what the model said, and every header, comes through as it came."""

    names_model = True
    __slots__ = ("_envelope", "_unwrapper")

    def __init__(self, envelope: Envelope, sent: Sent, losses: Losses, request_id: str, stream: bool) -> None:
        super().__init__(sent, losses, request_id, stream)
        self._envelope = envelope
        self._unwrapper: Unwrapper | None = None

    def feed(self, data: bytes) -> bytes:
        if self._unwrapper is None:
            self._unwrapper = self._envelope.unwrapper()
        return self._unwrapper.feed(data)

    def end(self) -> bytes:
        return b""  # whether the message was complete is seen in its events

    def _message(self, body: bytes) -> bytes:
        return body

    def count(self, body: bytes) -> bytes:
        return self._envelope.unwrap_count(body)

    def fault(self, status: int, headers: Headers, body: bytes) -> Refusal:
        fault = self._envelope.fault(status, dict(headers), body)
        return Refusal(status, [], body, None) if fault is None else self._refusal(fault, headers)

    def headers_back(self, upstream: Headers, own: Headers) -> Headers:
        named = {name for name, _ in own}
        return [header for header in upstream if header[0] not in named] + own


def translation(call: Call, asked: Asked, upstream: Upstream, model: str, stream: bool) -> Translation:
    """The request in the upstream's dialect; raises `CannotCarry`, `Unfetched`, or `GatewayError` for no request.

    `Unfetched` comes last: whatever else keeps the request from going there is known before anything is fetched.
    """
    codec = upstream.codec
    assert codec is not None
    context = _context(call, asked, upstream, model)
    losses = Losses(codec.fidelity)
    sent, missing = _allowed(call, asked, upstream, codec, context, losses)
    if missing:
        raise Unfetched(missing)
    if isinstance(codec, Envelope):
        return _Wrapped(codec, sent, losses, call.request_id, stream)
    return _Translated(codec, context, sent, losses, call.request_id, context.streams)


def losses(call: Call, asked: Asked, upstream: Upstream, model: str) -> Losses:
    """What would be lost at this candidate, for a dry run. Raises as `translation` does, but fetches nothing."""
    codec = upstream.codec
    assert codec is not None
    found = Losses(codec.fidelity)
    _allowed(call, asked, upstream, codec, _context(call, asked, upstream, model), found)
    return found


def _allowed(
    call: Call, asked: Asked, upstream: Upstream, codec: Codec | Envelope, context: Context, losses: Losses
) -> tuple[Sent, list[Wanted]]:
    """As `_sent`, unless the route has no words there, or strictness forbids a loss."""
    if call.record.route == "complete":
        raise CannotCarry(GatewayError("invalid_request", f"{upstream.name} has no legacy text completions"))
    sent = _sent(call, codec, asked, context, losses, count=call.record.route == "count_tokens")
    if losses.found and (upstream.settings.strict or call.head.flag(b"x-asbru-strict")):
        header = (b"x-asbru-loss", loss_text(losses))
        message = f"{upstream.name} cannot carry this request without loss: {losses.header()}"
        call.record.losses = losses.named()
        raise CannotCarry(GatewayError("invalid_request", message, headers=[header]))
    return sent


def _context(call: Call, asked: Asked, upstream: Upstream, model: str) -> Context:
    return Context(
        provider=upstream.name,
        model=model,
        shown_model=asked.model,
        message_id="msg_" + call.request_id.removeprefix("req_"),
        quirks=upstream.quirks(model),
        facts=upstream.facts(model),
        version=call.head.text(b"anthropic-version") or "2023-06-01",
        betas=[*call.head.betas, *call.required_betas],
        session_id=call.record.session_id,
    )


def _sent(
    call: Call, codec: Codec | Envelope, asked: Asked, context: Context, losses: Losses, *, count: bool
) -> tuple[Sent, list[Wanted]]:
    """The request as it goes upstream, and what is to be fetched first; what of it is lost is in ``losses``."""
    try:
        if isinstance(codec, Envelope):
            wrap = codec.wrap_count if count else codec.wrap
            return wrap(asked.wrappable, context, losses), []
        encode = codec.encode_count if count else codec.encode
        request = messages.parse(asked.translatable, call.gateway.config.server.limits, counting=count)
        refuse_unable(request, context)
        if not count:
            request.stream = context.streams = streams(request, context)
        missing: list[Wanted] = []
        if call.gateway.fetcher is not None:
            missing = by_url.carry(request, codec.unfetched(context), asked.fetched, losses)
        return encode(request, context, losses), missing
    except bounds.BoundError as error:
        raise CannotCarry(GatewayError("too_large", str(error)), "too_large") from None
    except (messages.MessagesError, splice.SpliceError) as error:
        # Not the last word: another target may relay what the codec does not know.
        raise CannotCarry(GatewayError("invalid_request", str(error)), "invalid_request") from None
    except LossyError as error:
        raise CannotCarry(GatewayError("invalid_request", error.message, details=error.details)) from None
    except RecursionError:  # only where the operator allows more levels than the interpreter
        raise CannotCarry(GatewayError("invalid_request", "The request body is nested too deeply")) from None
