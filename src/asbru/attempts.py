"""The attempt loop: candidates in order, each tried as `policy.retry` decides, until one answers.

`run` returns an `Answer` that may be given to the client, or raises what the client is told instead: the `Failure`
whose upstream's answer it gets, or an error of the gateway's. This file keeps the notes (breakers, cooldowns, retry
budget, what was tried); every decision is made in `policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from math import ceil

from asbru.asked import Asked
from asbru.attempt import Answer, Failure, Request, attempt
from asbru.call import Call
from asbru.errors import GatewayError
from asbru.policy import retry
from asbru.policy.keys import OWN_KEY, Key
from asbru.policy.retry import Outcome, Tried
from asbru.policy.router import Target

SKIPPED = "skipped"
BROKE: dict[str, str] = {
    "connect": "connection failed",
    "tls": "TLS handshake failed",
    "connect_timeout": "connection timed out",
    "no_connection": "too many requests are waiting for a connection",
    "wait_timeout": "timed out waiting for a free connection",
    "reset": "connection lost",
    "first_byte_timeout": "timed out waiting for the response",
    "idle_timeout": "the response stopped before it was complete",
    "deadline": "request deadline exceeded",
    "protocol": "the response is not valid",
    "too_large": "the response exceeds the size limit",
}
"""What a client is told of each kind of broken exchange."""


async def run(call: Call, request: Request, targets: Sequence[Target]) -> Answer:
    """The first answer that may be given to the client; raises the `Failure` it is told of when there is none."""
    failures: list[Failure] = []
    try:
        for index, target in enumerate(targets):
            try:
                return await _candidate(call, request, target, index, targets[index + 1 :], failures)
            except Failure as failure:
                if failure.final:
                    break
        if request.lookup:
            # Whoever was not heard may have it.
            unheard = [each for each in failures if each.outcome.kind == SKIPPED or not retry.is_verdict(each.outcome)]
            raise _told(call, unheard or failures)
        raise _told(call, failures)
    finally:
        # Each refers to the frames it went through, and they to this list: the request's body would stay with them.
        failures.clear()


async def _candidate(
    call: Call, request: Request, target: Target, index: int, later: Sequence[Target], failures: list[Failure]
) -> Answer:
    """Try one provider and model, on as many keys and as often as `policy.retry` allows.

    Every `Failure` is noted in ``failures``; the last one is raised.
    """
    gateway, loop = call.gateway, call.loop
    policy = gateway.table.providers[target.provider]
    settings = gateway.config.providers[target.provider]
    breakers = gateway.breakers
    candidate = target.provider, target.model, call.kind
    wait_s, probe = breakers.check(*candidate, loop.time())
    if wait_s is not None:
        failures.append(_skipped(target, index, "circuit open", wait_s))
        raise failures[-1]
    if request.asked is not None:
        request.asked.strip_thinking = False  # what an earlier target refused, this one may have made
    tried: set[str] = set()
    retries = 0
    retrying = False
    settled = False
    try:
        key = _key(call, target, index, tried, later)
        if key is None:
            failures.append(_without_key(call, target, index))
            raise failures[-1]
        while True:
            try:
                answer = await attempt(call, request, target, key, index)
            except Failure as failure:
                failures.append(failure)
                if retrying:
                    gateway.budget.release()
                    retrying = False
                if failure.foreign_thinking and _leave_out_thinking(call, target, request.asked):
                    continue
                tried.add(key.name)
                other = None if request.once else _key(call, target, index, tried, later)
                decision = retry.decide(
                    failure.outcome,
                    retries_used=retries,
                    max_retries=0 if request.once else policy.max_retries,
                    other_key=other is not None,
                    next_candidate=bool(later) and not request.once,
                    rand=gateway.rand(),
                    time_left_s=call.started + settings.timeouts.deadline_s - loop.time(),
                    budget=gateway.budget.allow(),
                )
                if decision.cool_s is not None and failure.outcome.own_key is False:
                    _cool(call, target, key, failure.outcome, decision.cool_s)
                if decision.counts:
                    settled = True
                    noted, now = call.record.attempts[-1], loop.time()
                    gateway.health_log.attempt_failed(target.provider, noted.outcome, noted.error or "", now)
                    pause_s = breakers.failure(*candidate, probe, now, policy.breaker)
                    if pause_s is not None:
                        gateway.health_log.breaker_opened(*candidate, noted.outcome, pause_s)
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
                    began = loop.time()
                    await asyncio.sleep(decision.delay_s)
                    call.waited_s += loop.time() - began
            else:
                settled = True
                open_s = breakers.success(*candidate, loop.time())
                if open_s is not None:
                    gateway.health_log.breaker_closed(*candidate, open_s)
                return answer
    finally:
        if retrying:
            gateway.budget.release()
        if not settled:
            breakers.abandon(*candidate, probe)


def _cool(call: Call, target: Target, key: Key, outcome: Outcome, cool_s: float) -> None:
    """Do not use a stored key for a while: for the model when the answer speaks of it, otherwise at all."""
    gateway, provider = call.gateway, target.provider
    model = target.model if outcome.about_model else ""
    if gateway.cooldowns.cool(provider, key.name, model, call.loop.time(), cool_s):
        if retry.is_rejected(outcome):
            text = call.record.attempts[-1].error or ""
            gateway.health_log.key_rejected(provider, key.name, model, outcome.status, text, cool_s)
        else:
            gateway.health_log.key_limited(provider, key.name, model, cool_s)


def _key(call: Call, target: Target, index: int, tried: Collection[str], later: Sequence[Target]) -> Key | None:
    """The key to try next: the caller's own for the first target, otherwise one of the pool.

    One on cooldown only when no target in ``later`` has a better one: then the provider's own answer is worth more than
    a guess at it.
    """
    if index == 0 and call.own_key is not None:
        return None if OWN_KEY in tried else call.own_key
    key = _stored_key(call, target, tried)
    if key is None and not tried and not any(_stored_key(call, other, ()) for other in later):
        return _stored_key(call, target, tried, even_cooling=True)
    return key


def _without_key(call: Call, target: Target, index: int) -> Failure:
    """A candidate whose keys are all on cooldown, or may not serve it."""
    gateway, now = call.gateway, call.loop.time()
    names = [key.name for key in gateway.table.keys(target.provider) if key.may_serve(target.model)]
    wait_s = gateway.cooldowns.soonest(target.provider, names, target.model, now)
    if wait_s is None:
        return _skipped(target, index, "no key may serve the model", None)
    gateway.health_log.no_usable_key(target.provider, target.model, wait_s, now)
    return _skipped(target, index, "all keys are on cooldown", wait_s)


def _stored_key(call: Call, target: Target, tried: Collection[str], *, even_cooling: bool = False) -> Key | None:
    gateway = call.gateway
    # A batch or a file is always looked for with the same key, and a message that names a file is sent with that one.
    lives_there = not target.model or call.names_file
    return gateway.table.choose_key(
        target.provider,
        target.model,
        now=call.loop.time(),
        rand=0.0 if lives_there else gateway.rand(),
        tried=tried,
        cooling=gateway.cooldowns,
        pin=call.pin,
        session=None if lives_there else call.record.session_id,
        even_cooling=even_cooling or lives_there,
    )


def _leave_out_thinking(call: Call, target: Target, asked: Asked | None) -> bool:
    """Whether the target is asked once more without earlier reasoning, which is a loss: never under strict."""
    strict = call.gateway.config.providers[target.provider].strict or call.head.flag(b"x-asbru-strict")
    return asked is not None and not strict and asked.leave_out_thinking()


def _skipped(target: Target, index: int, reason: str, retry_after_s: float | None) -> Failure:
    """A candidate that was not tried at all."""
    return Failure(target, index, Outcome(SKIPPED), skipped=reason, retry_after_s=retry_after_s)


def _unavailable(failures: Sequence[Failure]) -> GatewayError:
    """No candidate was tried: names each provider, why, and when it is tried next."""
    reasons = dict.fromkeys(
        f"{failure.target.provider} is temporarily unavailable ({failure.skipped}"
        + (f", next try in {max(1, ceil(failure.retry_after_s))} s)" if failure.retry_after_s is not None else ")")
        for failure in failures
    )
    waits_s = [failure.retry_after_s for failure in failures if failure.retry_after_s is not None]
    return GatewayError("no_candidate", "; ".join(reasons), retry_after_s=min(waits_s, default=1.0))


def _told(call: Call, failures: Sequence[Failure]) -> Failure | GatewayError:
    """What the client is told when all failed: an upstream's answer as it came, or an error of ours."""
    attempted = [failure for failure in failures if failure.outcome.kind != SKIPPED]
    final = retry.final_error([Tried(failure.index, failure.outcome) for failure in attempted])
    if final is None:
        return _unavailable(failures)
    failure = attempted[final.attempt]
    if final.error is None:
        return failure
    provider = failure.target.provider
    if failure.error is not None:
        return failure.error
    if failure.broke is not None:
        # The client need not know hosts and ports; the operator finds them in the log and the Record.
        message = f"{provider}: {BROKE[failure.broke.kind]}"
    elif final.error == "upstream_credentials":
        message = f"{provider} rejected the gateway's credentials"
    else:
        message = f"{provider} returned the unexpected status {failure.outcome.status}"
    return GatewayError(final.error, message, retry_after_s=1.0 if final.error == "shed" else None)
