"""The attempt loop: candidates in order, each tried as `policy.retry` decides, until one answers.

`run` returns an `Answer` that may be given to the client, or raises `Failed` with what the client is told instead. An
answer to a stream is returned at its first content event and not before, so that until then the next candidate can
still take over. This file does the calls and keeps the notes; every decision is made in `policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from time import monotonic, time

import msgspec

from asbru.call import EVENT_STREAM, Call
from asbru.dialects import whole
from asbru.dialects.watch import MessageFacts, Watch, message_facts
from asbru.errors import GatewayError, Headers
from asbru.policy import retry
from asbru.policy.keys import OWN_KEY, Key
from asbru.policy.retry import Outcome, Tried
from asbru.policy.router import Target
from asbru.record import Attempt
from asbru.upstream.http1 import Response, UpstreamError
from asbru.upstream.providers import credential_line

MAX_ERROR_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 1 << 26
MAX_UNCOMMITTED_BYTES = 1 << 18
SKIPPED = "skipped"

Body = Callable[[str], bytes | AsyncIterator[bytes] | None]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What every candidate is sent, but for its model and credential."""

    method: str
    target: bytes
    """Path and query."""
    body: Body
    """The body for a model; an iterator can be sent only once."""
    length: int | None = None
    """The length of an iterator's body, when it is known."""
    once: bool = False
    """The body can be sent only once: no second attempt."""
    stream: bool = False
    """The client asked for server-sent events."""
    message: bool = False
    """The answer must be a Message: anything else with a 200 is nonsense."""
    raw: bool = False
    """The answer's body is relayed as it arrives, whatever it is."""


class Answer:
    """An upstream's answer, ready to be given to the client.

    Either ``body`` holds all of it, or ``response`` is still being read: then ``pending`` is what has been read and may
    be relayed, and ``watch`` (for an event stream) has seen it.
    """

    __slots__ = (
        "attempt",
        "body",
        "facts",
        "headers",
        "index",
        "key",
        "pending",
        "response",
        "status",
        "target",
        "watch",
    )

    def __init__(self, response: Response, target: Target, key: Key, index: int, attempt: Attempt) -> None:
        self.response = response
        self.status = response.status
        self.headers: Headers = response.headers
        self.target = target
        self.key = key
        self.index = index
        self.attempt = attempt
        self.body: bytes | None = None
        self.facts: MessageFacts | None = None
        """What a whole Message says of itself."""
        self.pending = b""
        self.watch: Watch | None = None

    @property
    def message_id(self) -> str | None:
        """The Message's id, as far as it has been seen."""
        seen = self.watch or self.facts
        return seen.message_id if seen is not None else None


class Failure(Exception):
    """One attempt that did not serve.

    It holds the upstream's own ``answer``, read completely, or how the connection ``broke``, or, when the candidate was
    passed over (outcome ``skipped``), when to ask again. ``final``: no other candidate would do better.
    """

    def __init__(
        self,
        target: Target,
        index: int,
        outcome: Outcome,
        *,
        answer: Answer | None = None,
        broke: UpstreamError | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(outcome.kind)
        self.target = target
        self.index = index
        self.outcome = outcome
        self.answer = answer
        self.broke = broke
        self.retry_after_s = retry_after_s
        self.final = False


async def run(call: Call, request: Request, targets: Sequence[Target]) -> Answer:
    """The first answer that may be given to the client; raises the `Failure` it is told of when there is none."""
    failures: list[Failure] = []
    for index, target in enumerate(targets):
        try:
            return await _candidate(call, request, target, index, index + 1 < len(targets), failures)
        except Failure as failure:
            if failure.final:
                break
    raise _told(failures)


async def _candidate(
    call: Call, request: Request, target: Target, index: int, more: bool, failures: list[Failure]
) -> Answer:
    """Try one provider and model, on as many keys and as often as `policy.retry` allows.

    Every `Failure` is noted in ``failures``; the last one is raised.
    """
    gateway, loop = call.gateway, call.loop
    policy = gateway.table.providers[target.provider]
    breakers = gateway.breakers
    pause_s = breakers.check(target.provider, target.model, loop.time())
    if pause_s is not None:
        failures.append(_skipped(target, index, pause_s))
        raise failures[-1]
    tried: set[str] = set()
    retries = 0
    retrying = False
    settled = False
    try:
        key = _key(call, target, index, tried)
        if key is None:
            failures.append(_skipped(target, index, gateway.cooldowns.soonest(target.provider, loop.time())))
            raise failures[-1]
        while True:
            try:
                answer = await _attempt(call, request, target, key, index)
            except Failure as failure:
                failures.append(failure)
                if retrying:
                    gateway.budget.release()
                    retrying = False
                tried.add(key.name)
                other = None if request.once else _key(call, target, index, tried)
                decision = retry.decide(
                    failure.outcome,
                    retries_used=retries,
                    max_retries=0 if request.once else policy.max_retries,
                    other_key=other is not None,
                    next_candidate=more and not request.once,
                    rand=gateway.rand(),
                    time_left_s=_deadline(call, target) - loop.time(),
                    budget=gateway.budget.allow(),
                )
                if decision.cool_s is not None and failure.outcome.own_key is False:
                    gateway.cooldowns.cool(target.provider, key.name, loop.time(), decision.cool_s)
                if decision.counts:
                    settled = True
                    breakers.failure(target.provider, target.model, loop.time(), policy.breaker)
                if decision.action in ("stop", "next_candidate"):
                    failure.final = decision.action == "stop"
                    raise
                if decision.action == "other_key" and other is not None:
                    key = other
                    continue
                retries += 1
                gateway.budget.acquire()
                retrying = True
                if decision.delay_s:
                    await asyncio.sleep(decision.delay_s)
            else:
                settled = True
                breakers.success(target.provider, target.model)
                return answer
    finally:
        if retrying:
            gateway.budget.release()
        if not settled:
            breakers.abandon(target.provider, target.model)


def _deadline(call: Call, target: Target) -> float:
    return call.started + call.gateway.config.providers[target.provider].timeouts.deadline_s


def _key(call: Call, target: Target, index: int, tried: Collection[str]) -> Key | None:
    """The key to try next: the caller's own for the first target, otherwise one of the pool."""
    if index == 0 and call.own_key is not None:
        return None if OWN_KEY in tried else call.own_key
    gateway = call.gateway
    choose = partial(
        gateway.table.choose_key,
        target.provider,
        target.model,
        now=call.loop.time(),
        rand=gateway.rand() if target.model else 0.0,  # what lives at a provider is always looked for with the same key
        tried=tried,
        cooling=gateway.cooldowns,
        pin=call.pin,
        session=call.record.session_id if target.model else None,
    )
    return choose() or (choose(even_cooling=True) if not tried else None)


async def _attempt(call: Call, request: Request, target: Target, key: Key, index: int) -> Answer:
    """One try: send, and read as much as it takes to know whether it serves; raises `Failure` when it does not."""
    upstream = call.gateway.upstreams[target.provider]
    model = key.upstream_model(target.model)
    attempt = Attempt(provider=target.provider, model=model, key=key.name)
    call.record.attempts.append(attempt)
    own = key is call.own_key
    credential = credential_line(key.secret, call.principal.direct_header) if own else upstream.credentials[key.name]
    body = request.body(model)
    length = len(body) if isinstance(body, bytes) else -1 if body is None else request.length
    method = request.method.encode("ascii")
    head = upstream.head(method, request.target, credential, call.ingress.forwarded, length)
    response: Response | None = None
    began = monotonic()
    try:
        response = await upstream.pool.request(head, body, deadline=_deadline(call, target), method=method)
        answer = Answer(response, target, key, index, attempt)
        await _judge(call, request, answer, own)
        return answer
    except UpstreamError as broken:
        attempt.outcome = broken.kind
        raise Failure(target, index, Outcome(broken.kind, own_key=own), broke=broken) from None
    except BaseException:
        if response is not None:
            response.close()
        attempt.outcome = attempt.outcome or "cancelled"
        raise
    finally:
        attempt.duration_ms = (monotonic() - began) * 1e3


async def _judge(call: Call, request: Request, answer: Answer, own: bool) -> None:
    """Read an answer until it is clear whether it serves: an error not, a stream at its first content, others whole."""
    response, attempt = answer.response, answer.attempt
    attempt.outcome = str(answer.status)
    content_type = b""
    for name, value in answer.headers:
        if name == b"content-type":
            content_type = value
        elif name == b"request-id":
            attempt.upstream_request_id = value.decode("latin-1")
    if request.raw and answer.status < 300:
        return
    if not response.inflate():
        raise UpstreamError("protocol", "the answer has a content coding that was not asked for", responded=True)
    answer.headers = response.headers
    if answer.status >= 300:
        answer.body = await response.read_all(MAX_ERROR_BYTES)
        retry_after_s = retry.parse_retry_after(answer.headers, time())
        outcome = Outcome("status", answer.status, retry_after_s, own)
        raise Failure(answer.target, answer.index, outcome, answer=answer)
    streamed = content_type.startswith(b"text/event-stream")
    if streamed and not request.message:
        return  # a legacy completion's events: relayed unseen
    if streamed and request.stream:
        await _until_content(call, answer, own)
        return
    answer.body = await response.read_all(MAX_MESSAGE_BYTES)
    if request.message:
        _as_asked(answer, streamed=streamed, stream=request.stream)


def _as_asked(answer: Answer, *, streamed: bool, stream: bool) -> None:
    """Take the facts of a whole Message, and give it the form the client asked for when the provider cannot."""
    assert answer.body is not None
    try:
        if streamed:
            answer.body = whole.join(answer.body)
        answer.facts = message_facts(answer.body)
        if answer.facts is None:
            raise whole.JoinError("the answer is not a Message")
        if stream:
            answer.body = whole.events(answer.body)
    except whole.JoinError as error:
        raise UpstreamError("protocol", str(error), responded=True) from None
    if streamed or stream:
        form = EVENT_STREAM if stream else [(b"content-type", b"application/json")]
        named = {name for name, _ in form}
        answer.headers = [header for header in answer.headers if header[0] not in named] + form


async def _until_content(call: Call, answer: Answer, own: bool) -> None:
    """Read a stream up to its first content event; raises `Failure` for an error event, `UpstreamError` for an end."""
    call.begin_heartbeat()
    answer.watch = watch = Watch()
    pending: list[bytes] = []
    size_bytes = 0
    while not watch.content and size_bytes <= MAX_UNCOMMITTED_BYTES:
        data = await answer.response.read()
        if not data:
            raise UpstreamError("protocol", "the stream ended before any content", responded=True)
        pending.append(watch.feed(data))
        size_bytes += len(data)
        if watch.early_error and watch.error is not None:
            answer.status = watch.error_status
            answer.body = watch.error
            answer.headers = [(name, value) for name, value in answer.headers if name != b"content-type"]
            answer.headers.append((b"content-type", b"application/json"))
            answer.attempt.outcome = f"{answer.status}"
            outcome = Outcome("stream_error", answer.status, None, own)
            answer.response.close()
            raise Failure(answer.target, answer.index, outcome, answer=answer)
    answer.pending = b"".join(pending)


def _skipped(target: Target, index: int, retry_after_s: float | None) -> Failure:
    """A candidate that was not tried at all."""
    return Failure(target, index, Outcome(SKIPPED), retry_after_s=retry_after_s)


def _told(failures: Sequence[Failure]) -> Failure | GatewayError:
    """What the client is told when all failed: an upstream's answer as it came, or an error of ours."""
    attempted = [failure for failure in failures if failure.outcome.kind != SKIPPED]
    final = retry.final_error([Tried(failure.index, failure.outcome) for failure in attempted])
    if final is None:
        waits_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
        message = "No provider that may serve this request can take it now"
        return GatewayError("no_candidate", message, retry_after_s=min(waits_s, default=1.0))
    failure = attempted[final.attempt]
    if final.error is None:
        return failure
    provider = failure.target.provider
    if failure.broke is not None:
        message = f"{provider}: {failure.broke.message}"
    elif final.error == "upstream_credentials":
        message = f"{provider} refused the credentials that the gateway holds for it"
    else:
        message = f"{provider} answered with the status {failure.outcome.status}, which makes no sense here"
    return GatewayError(final.error, message, retry_after_s=1.0 if final.error == "shed" else None)
