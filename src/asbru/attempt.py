"""One attempt: a request to one candidate, read until it is clear whether its answer serves.

An answer to a stream serves at its first content event and not before, so that until then the next candidate can still
take over. What an attempt that did not serve means for the next one is `policy.retry`'s to say; this only tells what
happened, as a `Failure`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic, time

import msgspec

from asbru import translate, whole_answer
from asbru.asked import Asked
from asbru.call import EVENT_STREAM, Call, recorded
from asbru.dialects import faults
from asbru.dialects.by_url import Media
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import ProviderError, StreamError
from asbru.dialects.watch import STATUS_BY_ERROR_TYPE, MessageFacts, Watch, error_facts
from asbru.edge_headers import FieldRules
from asbru.errors import GatewayError, Headers
from asbru.headers import REQUEST_IDS, ResponseHead
from asbru.outgoing import outgoing
from asbru.policy import retry
from asbru.policy.keys import Key
from asbru.policy.retry import Outcome
from asbru.policy.router import Target
from asbru.record import Attempt
from asbru.redaction import NOTHING, Redactor
from asbru.translate import Translation
from asbru.upstream.credentials import CredentialError
from asbru.upstream.http1 import Response, UpstreamError
from asbru.upstream.providers import Upstream

MAX_ERROR_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 1 << 26
MAX_UNCOMMITTED_BYTES = 1 << 18

Body = Callable[[Target, Key], bytes | AsyncIterator[bytes] | None]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What every candidate is sent, but for its model and credential."""

    method: str
    target: bytes
    """Path and query."""
    body: Body
    """The body for a provider, the model as it is asked for there, and the key; an iterator can be sent only once."""
    asked: Asked | None = None
    """The body as it was read, for targets that speak another dialect; without it only relaying is possible."""
    size_bytes: int = 0
    """How much there is to work on when the body is made, for `Workers`."""
    length: int | None = None
    """The length of an iterator's body, when it is known."""
    once: bool = False
    """The body can be sent only once: no second attempt."""
    stream: bool = False
    """The client asked for server-sent events."""
    message: bool = False
    """The answer must be a Message: anything else with a 200 is nonsense."""
    lookup: bool = False
    """It asks for what lives at one of the targets: that the others do not know it says nothing of that one."""
    raw: bool = False
    """The answer's body is relayed as it arrives, whatever it is."""
    whole: bool = False
    """The answer is one JSON object: a stream of events is nonsense."""
    extra: bytes = b""  # header lines besides the client's, where its own dialect is spoken


class Answer:
    """An upstream's answer, ready to be given to the client.

    Either ``body`` holds all of it, or ``response`` is still being read: then ``pending`` is what has been read and may
    be relayed, and ``watch`` (for an event stream) has seen it. With a ``translation``, `feed` and `end` make Anthropic
    events of what is read.
    """

    __slots__ = (
        "_rules",
        "attempt",
        "body",
        "facts",
        "head",
        "index",
        "key",
        "losses",
        "pending",
        "redactor",
        "response",
        "status",
        "target",
        "translation",
        "watch",
    )

    def __init__(
        self,
        response: Response,
        target: Target,
        key: Key,
        index: int,
        attempt: Attempt,
        redactor: Redactor,
        rules: FieldRules | None,
    ) -> None:
        self.response = response
        self.status = response.status
        self.redactor = redactor
        """Finds the credential that was sent: errors and headers do not show it."""
        self._rules = rules
        self.take_head()
        self.target = target
        self.key = key
        self.index = index
        self.attempt = attempt
        self.body: bytes | None = None
        self.facts: MessageFacts | None = None
        """What a whole Message says of itself."""
        self.pending = b""
        self.watch: Watch | None = None
        self.translation: Translation | None = None
        self.losses: Losses | None = None
        """What of the request was not sent to this provider; None: it was relayed with nothing left out."""

    def take_head(self) -> None:
        """Have the response's head as it goes to the client."""
        self.head = self.response.head
        raw = self.redactor.clean(self.head.raw)
        if raw is not self.head.raw:
            self.head = ResponseHead(raw)
        if self._rules is not None:
            self.head.apply(self._rules)

    @property
    def message_id(self) -> str | None:
        """The Message's id, as far as it has been seen."""
        seen = self.watch or self.facts
        return seen.message_id if seen is not None else None

    @property
    def served_model(self) -> str:
        """The model that answered, as the provider names it; as it was asked for where that is not known."""
        seen = self.watch or self.facts
        if seen is None or (self.translation is not None and not self.translation.names_model):
            return self.attempt.model
        return recorded(seen.model) or self.attempt.model

    def say(self, own: Headers) -> None:
        """Have a translated answer's head be one of the client's dialect, with these of our own."""
        assert self.translation is not None
        self.head = ResponseHead.of(self.translation.headers_back(self.head.headers, own))

    def feed(self, data: bytes) -> bytes:
        """Bytes of an upstream's stream, as the client's dialect has them."""
        return data if self.translation is None else self.translation.feed(data)

    def fail(self, nonsense: StreamError) -> bytes:
        """The last events of a stream that makes no sense any more."""
        assert self.translation is not None
        return self.translation.fail(nonsense)

    def end(self) -> bytes:
        """What the end of the upstream's stream makes of events."""
        return b"" if self.translation is None else self.translation.end()


class Failure(Exception):
    """One attempt that did not serve.

    It holds the upstream's own ``answer``, read completely, or how the connection ``broke``, or the gateway's own
    ``error``, or why the candidate was ``skipped`` (outcome ``skipped``) and when it is tried next. ``final``: no
    other candidate would do better. ``foreign_thinking``: it refused reasoning that another provider signed.
    """

    def __init__(
        self,
        target: Target,
        index: int,
        outcome: Outcome,
        *,
        answer: Answer | None = None,
        broke: UpstreamError | None = None,
        error: GatewayError | None = None,
        skipped: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(outcome.kind)
        self.target = target
        self.index = index
        self.outcome = outcome
        self.answer = answer
        self.broke = broke
        self.error = error
        self.skipped = skipped
        self.retry_after_s = retry_after_s
        self.final = False
        self.foreign_thinking = False


async def attempt(call: Call, request: Request, target: Target, key: Key, index: int) -> Answer:
    """Send, and read as much as it takes to know whether it serves; raises `Failure` when it does not."""
    upstream = call.gateway.upstreams[target.provider]
    model = key.upstream_model(target.model)
    noted = Attempt(provider=target.provider, model=model, key=key.name)
    call.record.attempts.append(noted)
    own = key is call.own_key
    response: Response | None = None
    redactor = NOTHING
    began = monotonic()
    deadline = call.started + upstream.settings.timeouts.deadline_s
    try:
        translation = None
        if upstream.codec is not None and request.asked is not None:
            try:
                translation = await _translated(call, request, request.asked, upstream, model)
            except translate.Unfetched as unfetched:
                assert call.gateway.fetcher is not None
                await call.gateway.fetcher.fetch(unfetched.wanted, request.asked.fetched)
                translation = await _translated(call, request, request.asked, upstream, model)
        if upstream.signs and not own:
            await _ready(upstream, key, deadline)
        method = request.method.encode("ascii")
        head, body, redactor = await call.gateway.workers.run(
            request.size_bytes, outgoing, call, request, upstream, model, key, translation, method
        )
        response = await upstream.pool.request(head, body, deadline=deadline, method=method)
        del head, body
        answer = Answer(response, target, key, index, noted, redactor, upstream.response_rules)
        if translation is not None:
            translation.sent = translation.sent._replace(body=b"")  # the answer may last for minutes
            answer.translation = translation
            answer.losses = translation.losses
        if request.asked is not None and request.asked.strip_thinking:
            answer.losses = answer.losses or Losses({})
            answer.losses.note("dropped", "thinking.foreign", "the provider refused its signature", "messages")
        call.losses = answer.losses
        await _judge(call, request, answer, own)
        return answer
    except UpstreamError as broken:
        _close(response)
        noted.outcome = broken.kind
        noted.error = _noted(redactor.clean_text(broken.message))
        outcome = Outcome(broken.kind, own_key=own, responded=broken.responded)
        raise Failure(target, index, outcome, broke=broken) from None
    except StreamError as nonsense:
        _close(response)
        noted.outcome = "protocol"
        noted.error = _noted(redactor.clean_text(nonsense.message))
        broke = UpstreamError("protocol", nonsense.message, responded=True)
        raise Failure(target, index, Outcome("protocol", own_key=own), broke=broke) from None
    except CredentialError:
        noted.outcome = "no_credential"
        refusal = GatewayError("upstream_credentials", f"{target.provider}: no credential can be had for it now")
        raise Failure(target, index, Outcome("status", 401), error=refusal) from None
    except translate.CannotCarry as error:
        noted.outcome = error.outcome
        raise Failure(target, index, Outcome("lossy", own_key=own), error=error.error) from None
    except BaseException as error:
        _close(response)
        noted.outcome = noted.outcome or (error.kind if isinstance(error, GatewayError) else "cancelled")
        raise
    finally:
        took_s = monotonic() - began
        noted.duration_ms = took_s * 1e3
        call.attempted(noted, took_s)


def _translated(call: Call, request: Request, asked: Asked, upstream: Upstream, model: str) -> Awaitable[Translation]:
    fetched = sum(len(media.data) for media in asked.fetched.values() if isinstance(media, Media))
    size_bytes = request.size_bytes + fetched
    return call.gateway.workers.run(size_bytes, translate.translation, call, asked, upstream, model, request.stream)


async def _ready(upstream: Upstream, key: Key, deadline: float) -> None:
    """Have the key's credential, as long as the request's time allows."""
    try:
        async with asyncio.timeout(deadline - monotonic()):
            await upstream.ready(key.name)
    except TimeoutError:
        raise UpstreamError("deadline", "the request's deadline passed while it waited for a credential") from None


def _close(response: Response | None) -> None:
    if response is not None:
        response.close()


async def _judge(call: Call, request: Request, answer: Answer, own: bool) -> None:
    """Read an answer until it is clear whether it serves: an error not, a stream at its first content, others whole."""
    response, noted, run = answer.response, answer.attempt, call.gateway.workers.run
    noted.outcome = str(answer.status)
    said = answer.head.said
    content_type = said.get(b"content-type", b"")
    for name in REQUEST_IDS:
        if name in said:
            noted.upstream_request_id = recorded(said[name].decode("latin-1"))
            break
    if request.raw and answer.status < 300:
        return
    if not response.inflate():
        raise UpstreamError("protocol", "the answer has a content coding that was not asked for", responded=True)
    if b"content-encoding" in said:  # it may be gone
        answer.take_head()
    if answer.status >= 300:
        await _refused(call, answer, own)
    if answer.translation is not None and request.message:
        is_json = content_type.startswith(b"application/json")
        streamed = not is_json and (answer.translation.streams or content_type.startswith(b"text/event-stream"))
        if request.stream and streamed:
            answer.say(EVENT_STREAM)
            await _until_content(call, answer, own)
        else:
            if request.stream:
                call.begin_heartbeat()
            answer.body = await response.read_all(MAX_MESSAGE_BYTES)
            answer.say([])
            try:
                await _take_message(call, answer, streamed=streamed, stream=request.stream)
            except ProviderError as error:
                raise _provider_error(answer, error, own) from None
        return
    streamed = content_type.startswith(b"text/event-stream")
    if streamed and request.whole:
        raise UpstreamError("protocol", "the answer is a stream of events", responded=True)
    if streamed and not request.message:
        return  # a legacy completion's events: relayed unseen
    if streamed and request.stream:
        await _until_content(call, answer, own)
        return
    answer.body = await response.read_all(MAX_MESSAGE_BYTES)
    if answer.translation is not None:
        answer.body = await run(len(answer.body), whole_answer.count, answer.body, answer.translation)
        answer.say(JSON)
    if request.message:
        if streamed:
            watch = Watch()
            await run(len(answer.body), watch.feed, answer.body)
            if watch.error is not None:
                raise _error_event(answer, watch.error_status, watch.error or b"", own)
        await _take_message(call, answer, streamed=streamed, stream=request.stream)


JSON: Headers = [(b"content-type", b"application/json")]


async def _take_message(call: Call, answer: Answer, *, streamed: bool, stream: bool) -> None:
    """A Message that has been read whole, in the form the client asked for."""
    assert answer.body is not None
    answer.body, answer.facts = await call.gateway.workers.run(
        len(answer.body), whole_answer.message, answer.body, answer.translation, streamed=streamed, stream=stream
    )
    if streamed or stream or answer.translation is not None:
        answer.head.say(EVENT_STREAM if stream else JSON)


async def _refused(call: Call, answer: Answer, own: bool) -> None:
    """An error answer, read whole; raises `Failure`."""
    read = await answer.response.read_all(MAX_ERROR_BYTES)
    answer.body = await call.gateway.workers.run(len(read), answer.redactor.clean, read)
    about_model = answer.attempt.model.encode() in answer.body if answer.attempt.model else False
    headers = answer.head.headers
    retry_after_s = retry.parse_retry_after(headers, time())
    of_model = False
    if answer.translation is not None:
        run, fault_of = call.gateway.workers.run, answer.translation.fault
        fault = await run(len(answer.body), fault_of, answer.status, headers, answer.body)
        of_model = fault.of_model
        answer.status, answer.body = fault.status, fault.body
        answer.say(fault.headers)
        retry_after_s = fault.retry_after_s if fault.retry_after_s is not None else retry_after_s
    outcome = Outcome(
        "status",
        answer.status,
        retry_after_s,
        own,
        about_model=about_model,
        of_model=of_model,
        should_retry=(b"x-should-retry", b"false") not in headers,
    )
    raise _failure(answer, outcome, error_facts(answer.body).message)


_ACCOUNT_STATUSES = frozenset({400, 403, 429})


def _failure(answer: Answer, outcome: Outcome, message: str | None) -> Failure:
    """An error answer, judged by its status and, where it speaks of the account behind the key, by its message."""
    if message is not None:
        if outcome.status in _ACCOUNT_STATUSES and faults.says_account(message):
            outcome = outcome._replace(status=402, about_model=False)
        if not retry.is_callers_fault(outcome):  # the client's fault may quote the prompt
            answer.attempt.error = _noted(message)
    failure = Failure(answer.target, answer.index, outcome, answer=answer)
    failure.foreign_thinking = outcome.status == 400 and message is not None and faults.says_foreign_thinking(message)
    return failure


_MAX_NOTED_CHARS = 300


def _noted(message: str) -> str:
    """Words from outside for the log and the Record: on one line, cut, and without what may be a credential."""
    return " ".join(faults.clean(message).split())[:_MAX_NOTED_CHARS]


def _error_event(answer: Answer, status: int, body: bytes, own: bool, *, of_model: bool = False) -> Failure:
    """An error in an answer with a 200 that no content went before: as an error answer with its status."""
    answer.status, answer.body = status, answer.redactor.clean(body)
    answer.head.say(JSON)
    answer.attempt.outcome = str(status)
    answer.response.close()
    outcome = Outcome("stream_error", status, None, own, of_model=of_model)
    return _failure(answer, outcome, error_facts(answer.body).message)


def _provider_error(answer: Answer, error: ProviderError, own: bool) -> Failure:
    body = msgspec.json.encode({"type": "error", "error": {"type": error.type, "message": error.message}})
    return _error_event(answer, STATUS_BY_ERROR_TYPE.get(error.type, 500), body, own, of_model=error.of_model)


async def _until_content(call: Call, answer: Answer, own: bool) -> None:
    """Read a stream up to its first content event; raises `Failure` for an error event, `UpstreamError` for an end."""
    call.begin_heartbeat()
    answer.watch = watch = Watch()
    pending: list[bytes] = []
    size_bytes = 0
    ended = False
    while not (watch.content or ended) and size_bytes <= MAX_UNCOMMITTED_BYTES:
        data = await answer.response.piece()
        ended = not data
        size_bytes += len(data)
        try:
            pending.append(watch.feed(answer.feed(data) if data else answer.end()))
        except StreamError as nonsense:
            pending.append(watch.feed(answer.fail(nonsense)))
            answer.response.close()
            if not watch.content:
                raise (
                    _provider_error(answer, nonsense, own) if isinstance(nonsense, ProviderError) else nonsense
                ) from None
        if watch.early_error and not ended:
            raise _error_event(answer, watch.error_status, watch.error or b"", own)
    if ended and not watch.content:  # an error that only the end brought is what we made of that
        raise UpstreamError("protocol", "the stream ended before any content", responded=True)
    answer.pending = b"".join(pending)
