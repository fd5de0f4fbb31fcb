"""Batches, files and legacy completions: relayed to an Anthropic-dialect provider under the same policy as messages.

They live at one provider, in the workspace of one key. Each provider's first key is the one that creates and finds
them (``x-bf-api-key`` chooses another), so nothing has to be remembered; only a batch whose models that key may not
serve is created with the first one that may. An id that the default provider does not know is looked for at the others
the caller may use, as a model would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from asbru import attempts, relay, whole_answer
from asbru.asked import MAX_MODEL_CHARS
from asbru.attempt import Answer, Request
from asbru.call import Call
from asbru.dialects import bounds, named_models, splice
from asbru.dialects.named_models import NamedModel
from asbru.errors import GatewayError
from asbru.limits import Limits
from asbru.policy import nested_models
from asbru.policy.keys import Key
from asbru.policy.router import Target
from asbru.server.routes import Match

MAX_BATCH_MODELS = 100
_STREAMED_BACK = frozenset({"batch_results", "file_content"})


async def batches(call: Call, match: Match) -> None:
    await (create_batch if call.exchange.method == "POST" else relay_resource)(call, match)


async def files(call: Call, match: Match) -> None:
    await (upload_file if call.exchange.method == "POST" else relay_resource)(call, match)


async def relay_resource(call: Call, match: Match) -> None:
    """Any of the batch and file routes but for the creation of either."""
    exchange = call.exchange
    if exchange.method not in ("GET", "HEAD"):
        call.refuse_cross_origin()
    body = await exchange.body(call.gateway.config.server.max_body_bytes)
    request = Request(
        method=exchange.method,
        target=target_of(call, match),
        body=lambda *_: body if body or exchange.method == "POST" else None,  # an empty one has a length too
        lookup=bool(match.id),
        raw=match.route.name in _STREAMED_BACK,
    )
    found = providers(call)
    # A list is one provider's; an id is looked for at each.
    await give(call, match, await attempts.run(call, request, found if match.id else found[:1]))


def providers(call: Call) -> list[Target]:
    """The providers whose batches and files the caller may use, the default one first; raises when there is none."""
    table = call.gateway.table
    relaying = call.gateway.relaying
    found = [target for target in table.resource_targets(call.principal) if target.provider in relaying]
    if not found:
        raise GatewayError("not_found", "No provider that has batches and files is configured")
    return call.unshared(call.pinned(found))


async def create_batch(call: Call, match: Match) -> None:
    """A batch: every request's model is allowed and renamed as a message's would be; all must go to one provider."""
    call.require_json()
    if call.own_key is None:
        call.unshared([])  # before the body is read
    body = await call.body(call.gateway.config.server.max_batch_body_bytes)
    try:
        models = await call.gateway.workers.run(len(body), _batch_models, body, call.gateway.config.server.limits)
    except bounds.BoundError as error:
        raise GatewayError("too_large", str(error)) from None
    except splice.SpliceError as error:
        raise GatewayError("invalid_request", str(error)) from None
    if not models:
        raise GatewayError("invalid_request", "requests: List should have at least 1 item")
    asked = dict.fromkeys(model for model, _ in models)
    if len(asked) > MAX_BATCH_MODELS:
        raise GatewayError("too_large", f"requests: at most {MAX_BATCH_MODELS} different models are allowed")
    targets = _together(call, {model: call.targets(model) for model in asked})
    place = call.unshared([Target(next(iter(targets.values())).provider, "")])
    provider = place[0].provider
    named, names = await _named(call, body, provider)

    def renamed(_: Target, key: Key) -> bytes:
        others = nested_models.renamed(names, provider, key)
        return splice.replace_models(
            body,
            [(model, key.upstream_model(targets[model].model), span) for model, span in models],
            [(name, others[name], span) for _, name, span in named if name in others],
        )

    request = Request(method="POST", target=target_of(call, match), body=renamed, size_bytes=len(body))
    await give(call, match, await attempts.run(call, request, place))


def _together(call: Call, candidates: Mapping[str, Sequence[Target]]) -> dict[str, Target]:
    """Model -> its target, all at the first provider of the first model's that can serve all; raises when none can.

    The key is chosen too: pinned, unless it is pinned already or the caller's own.
    """
    first = next(iter(candidates.values()))
    shared = [each.provider for each in first if all(_at(each.provider, others) for others in candidates.values())]
    if not shared:
        raise GatewayError("invalid_request", "requests: the models of one batch must be of one provider")
    usable = [provider for provider in dict.fromkeys(shared) if provider in call.gateway.relaying]
    if not usable:
        raise GatewayError("invalid_request", f"requests: {shared[0]} does not take message batches")
    refusals: list[GatewayError] = []
    for provider in usable:
        targets = {model: _at(provider, others)[0] for model, others in candidates.items()}
        if provider != first[0].provider:
            call.own_key = None
        if call.own_key is None and call.pin is None:
            try:
                call.pin = _key_for(call, provider, [target.model for target in targets.values()])
            except GatewayError as refusal:
                refusals.append(refusal)
                continue
        return targets
    raise refusals[0]


def _at(provider: str, targets: Sequence[Target]) -> list[Target]:
    return [target for target in targets if target.provider == provider]


async def _named(call: Call, body: bytes, provider: str) -> tuple[list[NamedModel], nested_models.Names]:
    """The models that a batch names besides each ``model``, and what they stand for; raises when one is not allowed."""
    target = [Target(provider, "")]
    if not nested_models.is_limited(call.principal, target):
        return [], {}
    try:
        named = await call.gateway.workers.run(len(body), named_models.in_batch, body)
    except splice.SpliceError as error:
        raise GatewayError("invalid_request", str(error)) from None
    table, catalog = call.gateway.table, call.gateway.catalog.providers_of
    return named, nested_models.admit(named, target, call.principal, table, catalog, call.gateway.relaying)[1]


def _batch_models(body: bytes, limits: Limits) -> list[tuple[str, splice.Span]]:
    if len(body) > bounds.LARGE_BYTES:
        bounds.check(body, limits, batch=True)
    return splice.batch_models(body)


def _key_for(call: Call, provider: str, models: Sequence[str]) -> str:
    """The first key that may serve every one of the models; raises when there is none."""
    policy = call.gateway.table.providers[provider]
    keys = policy.keys
    for model in models:
        pool = policy.pool(model)
        keys = tuple(key for key in keys if key in pool)
        if not keys:
            shown = model[:MAX_MODEL_CHARS]
            message = f"requests: no key of {provider} may serve all models of this batch, {shown!r} among them"
            raise GatewayError("model_blocked", message)
    return keys[0].name


async def upload_file(call: Call, match: Match) -> None:
    """A file, streamed through: one attempt, because its bytes pass by only once."""
    call.refuse_cross_origin()
    exchange = call.exchange
    said = call.head.said
    if said.get(b"content-encoding", b"identity").lower() != b"identity":
        raise GatewayError("unsupported_media_type", "A file is uploaded as it is, without a content-encoding")
    length = said.get(b"content-length")
    pieces = exchange.pieces(call.gateway.config.server.max_file_bytes)

    request = Request(
        method="POST",
        target=target_of(call, match),
        body=lambda *_: pieces,
        once=True,
        length=None if length is None else int(length),
    )
    await give(call, match, await attempts.run(call, request, providers(call)[:1]))


def target_of(call: Call, match: Match) -> bytes:
    """Path and query as the upstream gets them: the client's, without the prefix it came under."""
    query = call.exchange.query
    return match.path + b"?" + query if query else match.path


async def give(call: Call, match: Match, answer: Answer) -> None:
    """The answer to the client, with links that point at the gateway."""
    if answer.body is not None and match.route.name in ("batches", "batch", "batch_cancel"):
        own_links = call.gateway.workers.run(len(answer.body), _own_links, answer.body, base_url(call, match))
        answer.body = await own_links
    await relay.give(call, answer)


def base_url(call: Call, match: Match) -> bytes:
    """Where the client reaches this gateway: scheme, host and the prefix it used.

    The host is what the client itself sent, and goes back to no one else; ``server.public_url`` overrides it.
    """
    public = call.gateway.config.server.public_url
    if public is not None:
        origin = public.rstrip("/").encode("ascii")
    else:
        proto = call.head.said.get(b"x-forwarded-proto", b"").partition(b",")[0]  # of several proxies, the outermost's
        scheme = b"https" if proto.strip().lower() == b"https" else b"http"
        origin = scheme + b"://" + call.head.said.get(b"host", b"localhost")
    path = call.exchange.path
    return origin + (path[: -len(match.path)] if path.endswith(match.path) else b"")


class _BatchId(msgspec.Struct):
    id: str
    results_url: str | None = None


def _own_links(body: bytes, base: bytes) -> bytes:
    """A batch or a list of batches with every ``results_url`` leading here instead of to the provider."""
    try:
        if len(body) > bounds.LARGE_BYTES:
            bounds.check(body, whole_answer.ANSWER_LIMITS)
        members = splice.split(body)
        items = msgspec.json.decode(members.get("data") or b"[]", type=list[msgspec.Raw])
        parts: list[bytes] = []
        behind = 0
        for item in items or [msgspec.Raw(body)]:
            batch = msgspec.json.decode(item, type=_BatchId)
            if batch.results_url is None:
                continue
            old = bytes(item)
            url = base.decode("latin-1") + f"/v1/messages/batches/{batch.id}/results"
            new = splice.replace(old, splice.split(old), {"results_url": msgspec.json.encode(url)})
            start = body.index(old, behind)
            parts += (body[behind:start], new)
            behind = start + len(old)
    except (ValueError, RecursionError):
        return body  # not a batch: an error body, or a shape of the future; it is not ours to judge
    return b"".join([*parts, body[behind:]])
