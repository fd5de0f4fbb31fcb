"""`x-asbru-dry-run: true`: the plan of a request instead of its answer; nobody is called.

The cost is a range: at least the input as estimated at four bytes a token, at most the input at one byte a token and
all of `max_tokens`. It is null when the model's price is not known. The losses are those of a translation for the
candidate's first key; null where the request is relayed as it is. ``refused`` says why the candidate would refuse it,
strictness included. A count of tokens costs nothing; where the gateway would estimate it, ``estimated`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asbru import translate
from asbru.asked import Asked
from asbru.attempt import Request
from asbru.call import Call
from asbru.errors import GatewayError
from asbru.policy.keys import Key
from asbru.policy.router import Target
from asbru.record import Usage
from asbru.telemetry.prices import cost_usd

_BYTES_PER_TOKEN = 4


async def respond(
    call: Call, request: Request, asked: Asked, targets: Sequence[Target], *, estimated: bool = False
) -> None:
    """Answer with what would be tried, in order; ``estimated``: nothing, the gateway would count tokens itself."""
    candidates = [
        await call.gateway.workers.run(len(asked.body), _candidate, call, request, asked, target, index)
        for index, target in enumerate(targets)
    ]
    plan = {
        "type": "dry_run",
        "model": asked.model,
        "stream": asked.stream,
        "principal": {"kind": call.principal.kind, "name": call.principal.name},
        "candidates": candidates,
        "limits": [],
    }
    if estimated:
        (candidate,) = candidates
        candidate |= {"estimated": True, "keys": [], "losses": None}
        candidate.pop("refused", None)
    await call.respond_json(200, msgspec.json.encode(plan))


def _candidate(call: Call, request: Request, asked: Asked, target: Target, index: int) -> dict[str, object]:
    gateway, now = call.gateway, call.loop.time()
    pause_s = gateway.breakers.peek(target.provider, target.model, call.kind, now)
    keys = _keys(call, target, index)
    return {
        "provider": target.provider,
        "model": target.model,
        "dialect": gateway.config.providers[target.provider].dialect,
        "role": "primary" if index == 0 else "fallback",
        "breaker": "closed" if pause_s is None else f"open, next probe in {pause_s:.1f} s",
        "keys": [_state(call, target, key) for key in keys],
        "cost_usd": _cost_range(call, asked, target),
        **_losses(call, request, asked, target, keys[0]),
    }


def _losses(call: Call, request: Request, asked: Asked, target: Target, key: Key) -> dict[str, object]:
    """What the candidate could not carry, and why it would refuse the request, if it would."""
    upstream = call.gateway.upstreams[target.provider]
    try:
        if upstream.codec is None:
            request.body(target, key)
            return {"losses": None}
        found = translate.losses(call, asked, upstream, key.upstream_model(target.model))
    except translate.CannotCarry as refusal:
        return {"losses": [], "refused": refusal.error.message}
    except GatewayError as refusal:
        return {"losses": [], "refused": refusal.message}
    return {"losses": [loss._asdict() for loss in found.found.values()]}


def _keys(call: Call, target: Target, index: int) -> Sequence[Key]:
    """The keys that one would be chosen from: the caller's own, the pinned one, or the pool."""
    if index == 0 and call.own_key is not None:
        return [call.own_key]
    policy = call.gateway.table.providers[target.provider]
    if call.pin is not None:
        return [key for key in policy.keys if call.pin in (key.name, key.id)]
    return policy.pool(target.model)


def _state(call: Call, target: Target, key: Key) -> dict[str, str]:
    if key is call.own_key:
        return {"name": "direct", "state": "the caller's own"}
    cooling = call.gateway.cooldowns.cooling(target.provider, key.name, target.model, call.loop.time())
    return {
        "name": key.name,
        "model": key.upstream_model(target.model),
        "state": "cooling" if cooling else "ready",
    }


def _cost_range(call: Call, asked: Asked, target: Target) -> dict[str, float] | None:
    if call.record.route == "count_tokens":  # no provider bills a count
        return {"min": 0.0, "max": 0.0}
    rates = call.gateway.prices.rates(target.provider, target.model)
    if rates is None:
        return None
    low = Usage(input_tokens=len(asked.body) // _BYTES_PER_TOKEN)
    high = Usage(input_tokens=len(asked.body), output_tokens=asked.max_tokens)
    return {"min": round(cost_usd(rates, low), 6), "max": round(cost_usd(rates, high), 6)}
