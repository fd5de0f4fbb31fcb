"""The life of a request. Read `handle`, then `message` and `ask`; all they call is one decision or one transfer.

head      route by exact path, read the head once, find out who is asking
body      split its top level; model, stream, fallbacks; nothing else is parsed
plan      model name -> ordered targets; what else the body names is judged for virtual keys with lists of models
attempt   one after another until one answers (attempts.py), each as policy.retry decides
relay     upstream bytes -> client bytes (relay.py)
settle    the Record, exactly once
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec

from asbru import attempts, dryrun, models, relay, resources
from asbru.asked import MAX_MODEL_CHARS, Asked
from asbru.attempt import Answer, Failure, Request
from asbru.call import Call
from asbru.dialects import file_refs
from asbru.dialects.betas import LONG_CONTEXT as LONG_CONTEXT_BETA
from asbru.errors import GatewayError, internal_error
from asbru.gateway import Gateway
from asbru.policy import nested_models, threads
from asbru.policy.keys import OWN_KEY
from asbru.policy.router import Target, wants_long_context
from asbru.server import routes
from asbru.server.exchange import Exchange
from asbru.server.routes import Match

log = logging.getLogger("asbru.pipeline")

VERSION_LINE = b"anthropic-version: 2023-06-01\r\n"


async def handle(exchange: Exchange, gateway: Gateway) -> None:
    """One exchange, from its head to its Record."""
    call = Call(exchange, gateway)
    try:
        match = routes.match(exchange.method, exchange.path)
        call.record.route = match.route.name
        if match.route.name in OPEN:
            check_modes(call, match)
            await OPEN[match.route.name](call, match)
            return
        call.identify()
        check_modes(call, match)
        gateway.budget.enter()
        try:
            await HANDLERS[match.route.name](call, match)
        finally:
            gateway.budget.leave()
    except GatewayError as error:
        await relay.refuse(call, error)
    except Failure as failure:
        await relay.failure(call, failure)
    except asyncio.CancelledError:
        call.note_cancelled()
        raise
    except Exception:
        log.exception("request %s failed", call.request_id)
        await relay.refuse(call, internal_error(call.request_id))
    finally:
        call.settle()


def check_modes(call: Call, match: Match) -> None:
    """Refuse a dry run or a job where there is none: nothing that such a header is meant to prevent may happen."""
    head = call.head
    head.flag(b"x-asbru-strict")  # its value is checked where nothing is translated, too
    for name in (b"x-bf-async", b"x-bf-async-id"):
        if name in head.said and (name == b"x-bf-async-id" or head.flag(name)):
            message = f"{name.decode()}: Background jobs are not available in this version"
            raise GatewayError("invalid_request", message)
    if head.flag(b"x-asbru-dry-run") and match.route.name not in DRY_RUNS:
        raise GatewayError("invalid_request", "x-asbru-dry-run: There is no dry run of this route")


async def message(call: Call, match: Match) -> None:
    """A message, a token count or a legacy completion: anything with a model in its body."""
    answer = await ask(call, match)
    if answer is not None:  # the request's body is gone by now: a stream may last for minutes
        await relay.give(call, answer)


async def ask(call: Call, match: Match) -> Answer | None:
    """The answer of the first candidate that gives one; None when the client has been answered without asking any."""
    call.require_json()
    body = await call.body(call.gateway.config.server.max_body_bytes)
    asked = await call.gateway.workers.run(len(body), Asked, body, call.gateway.config.server.limits)
    record = call.record
    record.model, record.stream, record.request_bytes = asked.model, asked.stream, len(body)
    targets, names = await admit(call, asked, plan(call, asked))
    call.names_file = await names_file(call, body)
    if call.names_file and call.gateway.isolation.closed(call.principal):
        targets = call.unshared(targets)
    estimated = match.route.name == "count_tokens" and not counts(call, targets[0])
    if estimated:
        targets = targets[:1]  # nobody is called
    request = Request(
        method="POST",
        target=resources.target_of(call, match),
        body=lambda target, key: asked.relayed(
            target.model,
            nested_models.renamed(names, target.provider, key),
            foreign_reasoning=call.gateway.translating,
        ),
        size_bytes=len(body),
        asked=asked,
        stream=asked.stream,
        message=match.route.name == "messages",
    )
    if call.head.flag(b"x-asbru-dry-run"):
        await dryrun.respond(call, request, asked, targets, estimated=estimated)
        return None
    if estimated:
        await estimate(call, targets[0])
        return None
    try:
        answer = await attempts.run(call, request, targets)
    except (Failure, GatewayError) as error:
        if match.route.name != "count_tokens" or not cannot_count(error, asked.model):
            raise
        await estimate(call, targets[0])
        return None
    if asked.thread is not None and answer.message_id is not None:
        gateway = call.gateway  # before it is given: the client may go on, or away, at its last event
        gateway.affinity.put(
            answer.message_id, answer.target.provider, answer.target.model, answer.key.name, owner(call)
        )
    return answer


async def names_file(call: Call, body: bytes) -> bool:
    """Whether a request reads a file; the few in which it needs a closer look get it off the loop."""
    run = call.gateway.workers.run
    return await run(len(body), file_refs.may_name, body) and await run(len(body), file_refs.names, body)


def counts(call: Call, target: Target) -> bool:
    """Whether the target's provider can count tokens itself."""
    codec = call.gateway.upstreams[target.provider].codec
    return codec is None or codec.counts


def cannot_count(error: Failure | GatewayError, model: str) -> bool:
    """Whether a count failed because its provider cannot give it: it has no such endpoint, or is down.

    Errors about the request, the credential or the rate, and a model that does not exist, are the client's to see.
    """
    if isinstance(error, GatewayError):
        return error.kind in _NO_COUNT
    status = error.outcome.status
    if status == 404 and error.answer is not None and error.answer.body is not None:
        return model.rpartition("/")[2].encode() not in error.answer.body
    return status in (404, 405, 408) or status >= 500


_NO_COUNT = frozenset({"no_candidate", "upstream_invalid", "upstream_timeout", "upstream_unreachable"})


async def estimate(call: Call, target: Target) -> None:
    """A count of tokens made here, and marked as an estimate."""
    tokens = call.gateway.estimates.tokens(target.provider, target.model, call.record.request_bytes)
    call.record.provider, call.record.served_model = target
    headers = [(b"content-type", b"application/json"), (b"x-asbru-estimate", b"true"), *call.own_headers()]
    headers += [(b"x-asbru-attempts", tried) for tried in call.tried()]
    await call.respond(200, headers, msgspec.json.encode({"input_tokens": tokens}))


def plan(call: Call, asked: Asked) -> list[Target]:
    """The targets to try, in order; raises `GatewayError` when there is none the caller may use."""
    gateway = call.gateway
    targets = call.targets(asked.model, asked.fallbacks)
    if wants_long_context(asked.model):
        call.required_betas = (LONG_CONTEXT_BETA,)
    if asked.thread is None:
        return targets
    if asked.thread != "continue":
        return threads.begin(targets, gateway.relaying)
    place = gateway.affinity.get(asked.previous_message_id or "")
    if gateway.isolation.closed(call.principal) and (place is None or place.owner != owner(call)):
        raise threads.unsupported()  # perhaps another's: the whole conversation is known to who has it
    target, key = threads.resume(targets, place, gateway.table, gateway.relaying, own_key=call.own_key is not None)
    if key == OWN_KEY:
        call.pin = None
    else:  # it lives at a stored key: the caller's own has no business there, least of all at a fallback's provider
        call.pin, call.own_key = key, None
    return [target]


def owner(call: Call) -> str:
    return f"{call.principal.kind} {call.principal.name}"


async def admit(call: Call, asked: Asked, targets: list[Target]) -> tuple[list[Target], nested_models.Names]:
    """The targets at which the caller may use every model that the body names, and what those stand for."""
    gateway = call.gateway
    if not nested_models.is_limited(call.principal, targets):
        return targets, {}
    await gateway.workers.run(len(asked.body), asked.find_named)
    if not asked.named:
        return targets, {}
    admitted, names = nested_models.admit(
        asked.named, targets, call.principal, gateway.table, gateway.catalog.providers_of, gateway.relaying
    )
    if admitted[0] != targets[0]:
        call.own_key = None  # it goes with the first target alone
    return admitted, names


async def list_models(call: Call, match: Match) -> None:
    """The models the caller may use, from memory."""
    catalog, table = call.gateway.catalog, call.gateway.table
    ids = table.visible_models(call.principal, catalog.ids())
    await call.respond_json(200, models.page(ids, catalog.entry, call.exchange.query))


async def one_model(call: Call, match: Match) -> None:
    """One model: from memory, otherwise its provider is asked, or what is known of it told."""
    targets = call.targets(match.id)
    raw = call.gateway.catalog.entry(match.id)
    if raw is not None:
        await call.respond_json(200, raw)
        return
    if call.gateway.upstreams[targets[0].provider].codec is not None:
        raw = call.gateway.catalog.described(match.id, targets[0])
        if raw is None:
            raise GatewayError("not_found", f"model: nothing is known of {match.id[:MAX_MODEL_CHARS]!r}")
        await call.respond_json(200, raw)
        return
    request = Request(
        method="GET",
        target=b"/v1/models/" + quote(targets[0].model, safe="").encode("ascii"),
        body=lambda *_: None,
        whole=True,
        # The list needs no version, since it comes from memory; nor does a model that is not in it.
        extra=b"" if b"anthropic-version" in call.head.said else VERSION_LINE,
    )
    await relay.whole(call, await attempts.run(call, request, targets[:1]))


async def health(call: Call, match: Match) -> None:
    """Liveness and readiness; the latter is 503 from the first moment of a drain."""
    draining = match.route.name != "health_live" and call.gateway.draining()
    body = b'{"status":"draining"}' if draining else b'{"status":"ok"}'
    await call.respond_json(503 if draining else 200, body)


async def hello(call: Call, match: Match) -> None:
    """What Claude Code warms its connection up with."""
    await call.respond_json(200, b"{}")


DRY_RUNS = frozenset({"messages", "count_tokens", "complete"})
Step = Callable[[Call, Match], Awaitable[None]]

OPEN: dict[str, Step] = {
    "root": hello,
    "hello": hello,
    "health": health,
    "health_live": health,
    "health_ready": health,
}
HANDLERS: dict[str, Step] = {
    "messages": message,
    "count_tokens": message,
    "complete": message,
    "models": list_models,
    "model": one_model,
    "batches": resources.batches,
    "batch": resources.relay_resource,
    "batch_cancel": resources.relay_resource,
    "batch_results": resources.relay_resource,
    "files": resources.files,
    "file": resources.relay_resource,
    "file_content": resources.relay_resource,
}
