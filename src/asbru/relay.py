"""Upstream -> client, once an answer has been chosen: whole, as an event stream, or as bytes of any kind.

Nothing of a body is changed. An event stream is relayed as whole events, one write per read, so that after a broken
upstream one valid `error` event can always follow. What goes by is watched on the side for usage and stop reason.
After the first byte has gone to the client nothing here looks for another candidate: that was decided before.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache

from asbru.attempt import Answer, Failure
from asbru.call import EVENT_STREAM, Call, header_text, loss_text, mask_keys
from asbru.dialects import sse
from asbru.dialects.message_stream import StreamError
from asbru.dialects.watch import DEFAULT_HOLD_LIMIT_BYTES, MessageFacts, Watch, error_facts
from asbru.errors import GatewayError, event
from asbru.headers import lines
from asbru.redaction import Redactor
from asbru.upstream.http1 import UpstreamError


def answer_lines(call: Call, answer: Answer, cost_usd: float | None = None) -> bytes:
    """The upstream's end-to-end header lines as they came, then what the gateway says about the exchange."""
    attempt, head = answer.attempt, answer.head
    identity = call.request_id.encode("ascii")
    upstream_ms = round(attempt.duration_ms)  # as `call.attempt_text` rounds it
    tried = call.tried()  # in one header, or in one for each attempt when all of them failed
    attempts = b"; ".join(tried) if answer.status < 300 else b"\r\nx-asbru-attempts: ".join(tried)
    served_by = _served_by(answer.target.provider, answer.served_model)
    own = _OWN % (served_by, identity, upstream_ms, call.overhead_us(), identity, upstream_ms, attempts)
    lines = head.relayed + own
    if head.said.get(b"content-type", b"").startswith(b"text/event-stream"):
        lines += _unbuffered(head.relayed.lower())
    if b"request-id" not in head.said:
        theirs = attempt.upstream_request_id  # by another name, such as AWS's
        lines += b"request-id: %b\r\n" % (identity if theirs is None else theirs.encode("latin-1"))
    if answer.index:
        lines += b"x-bifrost-fallback-index: %d\r\n" % answer.index
    if answer.losses is not None:
        lines += b"x-asbru-loss: %b\r\n" % loss_text(answer.losses)
    if cost_usd is not None:
        lines += b"x-asbru-cost-usd: %.9f\r\n" % cost_usd
    return lines


_OWN = (
    b"%b"
    b"x-asbru-request-id: %b\r\n"
    b"x-asbru-upstream-ms: %d\r\n"
    b"x-asbru-overhead-us: %d\r\n"
    b"x-bifrost-request-id: %b\r\n"
    b"x-bifrost-upstream-latency-ms: %d\r\n"
    b"x-asbru-attempts: %b\r\n"
)


def _unbuffered(relayed: bytes) -> bytes:
    """What an event stream tells the proxies before us, where the provider did not: hold nothing back, keep nothing."""
    missing = [(name, value) for name, value in EVENT_STREAM[1:] if b"%b:" % name not in relayed]
    return lines(missing)


def _note_served(call: Call, answer: Answer) -> None:
    """Whose answer it is, in the Record; there too when a ping has already opened the stream without saying so."""
    record = call.record
    record.provider = answer.target.provider
    record.served_model = answer.served_model
    record.upstream_ms = answer.attempt.duration_ms
    record.losses = [] if answer.losses is None else answer.losses.named()


@lru_cache(maxsize=1024)
def _served_by(provider: str, model: str) -> bytes:
    name, shown = provider.encode("ascii"), header_text(model)
    if not model:  # a batch, a file
        return lines([(b"x-asbru-provider", name), (b"x-bifrost-provider", name)])
    return lines(
        [
            (b"x-asbru-provider", name),
            (b"x-asbru-model", shown),
            (b"x-bifrost-provider", name),
            (b"x-bifrost-resolved-model", shown),
        ]
    )


async def refuse(call: Call, error: GatewayError) -> None:
    """An error of the gateway's own: a response, or the last event of a stream that has begun."""
    if call.exchange.started:
        await end_with_error(call, error, torn=not call.streaming)
    else:
        await call.refuse(error)


async def failure(call: Call, failed: Failure) -> None:
    """The answer of an upstream that refused, as it came; an event of that content when the stream has begun."""
    answer = failed.answer
    assert answer is not None and answer.body is not None
    if not call.exchange.started:
        await whole(call, answer)
        return
    _note_served(call, answer)
    kind = error_facts(answer.body).type
    if kind is not None:
        call.record.error_kind = kind
        await _end(call, sse.encode(b"error", answer.body))
    else:
        await end_with_error(
            call, GatewayError("upstream_invalid", "The upstream sent an invalid response"), torn=False
        )


def give(call: Call, answer: Answer) -> Awaitable[None]:
    """An answer to the client, in whichever of the three ways it comes."""
    if answer.body is not None:
        return whole(call, answer)
    if answer.watch is not None:
        return stream(call, answer, answer.watch)
    return raw(call, answer)


async def whole(call: Call, answer: Answer) -> None:
    """An answer that has been read completely."""
    assert answer.body is not None
    facts, record = answer.facts, call.record
    _note_served(call, answer)
    if facts is not None:
        record.stop_reason = facts.stop_reason
        note_usage(call, answer, facts, complete=True)
    if call.exchange.started:  # a ping went out while another candidate was silent; then this is a stream's events
        await _end(call, _corrected(call, answer, answer.body))
        return
    await call.respond(answer.status, answer_lines(call, answer, record.cost_usd), answer.body)


_END_MARKS = (b"", b"data: [DONE]", b"data:[DONE]")
"""What providers send behind a stream's last event, to no effect."""


async def stream(call: Call, answer: Answer, watch: Watch) -> None:
    """An event stream, from its first content event on."""
    exchange = call.exchange
    call.record.status = answer.status
    _note_served(call, answer)
    if exchange.started:
        answer.pending = _corrected(call, answer, answer.pending)
    else:
        await exchange.start(answer.status, answer_lines(call, answer))
    heartbeat = call.begin_heartbeat()
    call.streaming = True
    record = call.record
    error: GatewayError | None = None

    def pass_on(events: bytes) -> bool:
        """Whole events to the client; whether it has room for more."""
        exchange.tail_open = watch.torn  # before the write: while that waits for room, nothing may be put behind it
        if watch.ended:
            heartbeat.stop()  # nothing follows either
        if not events:
            return True
        if watch.error is not None:
            events = redacted(events, answer.redactor)
        heartbeat.beat()
        record.response_bytes += len(events)
        return exchange.put(events)

    def take(data: bytes) -> bool:
        if watch.ended and data and answer.translation is not None:
            if data.strip() not in _END_MARKS:
                answer.response.close()
            return True
        try:
            events = answer.feed(data) if data else answer.end()
        except StreamError as nonsense:
            events = answer.fail(nonsense)
            answer.response.close()
        relayed = watch.feed(events)
        if watch.excess:
            answer.response.close()  # not to be used again: what is said behind the end is no answer to anything
        return pass_on(relayed)

    try:
        if watch.excess:
            answer.response.close()
        if not pass_on(answer.pending):
            await exchange.room()
        while not await answer.response.pour(take):
            await exchange.room()
        take(b"")
        if watch.complete:
            pass_on(watch.flush())
        elif watch.error is None:
            error = GatewayError("upstream_invalid", "The upstream's stream ended before the message was complete")
    except UpstreamError as broken:
        if not watch.complete and watch.error is None:
            error = stream_error(broken)
    finally:
        heartbeat.stop()
        answer.response.close()
        call.record.stop_reason = watch.stop_reason
        if watch.error is not None:
            call.record.error_kind = answer.redactor.clean_text(watch.error_type or "upstream_invalid")
        note_usage(call, answer, watch, complete=watch.complete)
    if error is not None:
        await end_with_error(call, error, torn=watch.torn)
    else:
        await exchange.finish()


def _corrected(call: Call, answer: Answer, events: bytes) -> bytes:
    """The first events behind a ping that opened the stream while another candidate was asked.

    When the request lost something else on its way to this one, a comment says so: a line that every reader of
    server-sent events passes over.
    """
    loss = None if answer.losses is None else loss_text(answer.losses)
    return events if loss == call.told_loss else b": x-asbru-loss: %b\n%b" % (loss or b"none", events)


def redacted(events: bytes, redactor: Redactor) -> bytes:
    """Whole events, those that are errors without the credential that was sent."""
    blocks = sse.Blocks()
    made = [redactor.clean(block) if _is_error(block) else block for block in blocks.feed(events)]
    return b"".join((*made, redactor.clean(bytes(blocks.held))))


def _is_error(block: bytes) -> bool:
    """Whether an event is an error by its name, or by its data where it has none."""
    if b"error" not in block:
        return False
    event = sse.parse(sse.without_bom(block))
    return event is not None and (event.name == b"error" or (event.name == b"message" and b'"error"' in event.data))


async def _write(call: Call, data: bytes) -> None:
    call.record.response_bytes += len(data)
    await call.exchange.write(data)


async def _end(call: Call, data: bytes) -> None:
    """The last of a started event stream: no ping comes behind it."""
    call.end_heartbeat()
    await _write(call, data)
    await call.exchange.finish()


def stream_error(broken: UpstreamError) -> GatewayError:
    """What a stream's last event says when its upstream broke."""
    if broken.kind in ("idle_timeout", "deadline"):
        return GatewayError("upstream_timeout", "The upstream sent nothing for too long")
    return GatewayError("upstream_invalid", "The connection to the upstream was lost in the middle of the answer")


async def end_with_error(call: Call, error: GatewayError, *, torn: bool) -> None:
    """End a started event stream with one valid error event; a torn one can only be cut."""
    call.record.error_kind, call.record.error_message = error.kind, mask_keys(error.message)
    if torn:
        call.exchange.abort()
        return
    await _end(call, event(error, call.request_id))


def note_usage(call: Call, answer: Answer, seen: MessageFacts | Watch, *, complete: bool) -> None:
    """Put what the provider counted, for which models, and what that costs, into the Record."""
    record, usage = call.record, seen.usage
    served = record.served_model = answer.served_model
    record.iterations = seen.iterations
    record.usage = usage
    record.usage_complete = complete and usage is not None
    if usage is not None:
        if answer.translation is not None:
            counted = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
            call.gateway.estimates.learn(answer.target.provider, answer.target.model, record.request_bytes, counted)
        parts = [(each.model or served, each.usage) for each in seen.iterations] or [(served, usage)]
        record.cost_usd = call.gateway.prices.cost_usd(answer.target.provider, answer.attempt.model, parts)


async def raw(call: Call, answer: Answer) -> None:
    """Bytes of any kind and length, such as a file or a batch's results."""
    exchange = call.exchange
    call.record.status = answer.status
    _note_served(call, answer)
    head = answer_lines(call, answer)
    if b"content-length" in answer.head.said:
        head += b"content-length: %b\r\n" % answer.head.said[b"content-length"]
    await exchange.start(answer.status, head)
    events = sse.Blocks() if answer.head.said.get(b"content-type", b"").startswith(b"text/event-stream") else None
    try:
        while data := await answer.response.read():
            if events is not None:  # a legacy completion's
                data = b"".join(events.feed(data))
                if len(events.held) > DEFAULT_HOLD_LIMIT_BYTES:
                    raise UpstreamError("too_large", "an event is larger than may be held back", responded=True)
                data = redacted(data, answer.redactor)
            if data:
                await _write(call, data)
        if events is not None and events.held:
            await _write(call, redacted(bytes(events.held), answer.redactor))
    except UpstreamError as broken:
        call.record.error_kind = stream_error(broken).kind
        exchange.abort()  # the only way to say that these bytes are not all
        return
    finally:
        answer.response.close()
    await exchange.finish()
