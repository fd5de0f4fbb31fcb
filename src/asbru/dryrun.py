"""`x-asbru-dry-run: true`: the plan of a request instead of its answer; nobody is called.

The cost is a range: at least the input as estimated at four bytes a token, at most the input at one byte a token and
all of `max_tokens`. It is null when the model's price is not known. The losses are those of a translation for the
candidate; null where the request is relayed as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asbru import translate
from asbru.asked import Asked
from asbru.call import Call
from asbru.policy.router import Target
from asbru.record import Usage
from asbru.telemetry.prices import cost_usd

_BYTES_PER_TOKEN = 4


async def respond(call: Call, asked: Asked, targets: Sequence[Target]) -> None:
    """Answer with what would be tried, in order."""
    plan = {
        "type": "dry_run",
        "model": asked.model,
        "stream": asked.stream,
        "principal": {"kind": call.principal.kind, "name": call.principal.name},
        "candidates": [_candidate(call, asked, target, index) for index, target in enumerate(targets)],
        "limits": [],
    }
    await call.respond_json(200, msgspec.json.encode(plan))


def _candidate(call: Call, asked: Asked, target: Target, index: int) -> dict[str, object]:
    gateway, now = call.gateway, call.loop.time()
    pause_s = gateway.breakers.peek(target.provider, target.model, call.kind, now)
    return {
        "provider": target.provider,
        "model": target.model,
        "dialect": gateway.config.providers[target.provider].dialect,
        "role": "primary" if index == 0 else "fallback",
        "breaker": "closed" if pause_s is None else f"open, next probe in {pause_s:.1f} s",
        "keys": _keys(call, target, index),
        "cost_usd": _cost_range(call, asked, target),
        **_losses(call, asked, target),
    }


def _losses(call: Call, asked: Asked, target: Target) -> dict[str, object]:
    """What the candidate could not carry, and why it would refuse the request, if it would."""
    try:
        found = translate.losses(call, asked, call.gateway.upstreams[target.provider], target.model)
    except translate.CannotCarry as refusal:
        return {"losses": [], "refused": refusal.error.message}
    if found is None:
        return {"losses": None}
    return {"losses": [loss._asdict() for loss in found.found.values()]}


def _keys(call: Call, target: Target, index: int) -> list[dict[str, str]]:
    if index == 0 and call.own_key is not None:
        return [{"name": "direct", "state": "the caller's own"}]
    gateway, now = call.gateway, call.loop.time()
    return [
        {
            "name": key.name,
            "model": key.upstream_model(target.model),
            "state": "cooling" if gateway.cooldowns.cooling(target.provider, key.name, target.model, now) else "ready",
        }
        for key in gateway.table.keys(target.provider)
        if key.may_serve(target.model)
    ]


def _cost_range(call: Call, asked: Asked, target: Target) -> dict[str, float] | None:
    rates = call.gateway.prices.rates(target.provider, target.model)
    if rates is None:
        return None
    low = Usage(input_tokens=len(asked.body) // _BYTES_PER_TOKEN)
    high = Usage(input_tokens=len(asked.body), output_tokens=asked.max_tokens)
    return {"min": round(cost_usd(rates, low), 6), "max": round(cost_usd(rates, high), 6)}
