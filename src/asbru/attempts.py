"""The attempt loop: candidates in order, each tried as `policy.retry` decides, until one answers.

`run` returns an `Answer` that may be given to the client, or raises what the client is told instead: the `Failure`
whose upstream's answer it gets, or an error of the gateway's. This file keeps the notes (breakers, cooldowns, retry
budget, what was tried); every decision is made in `policy`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from asbru.attempt import Answer, Failure, Request, attempt
from asbru.call import Call
from asbru.errors import GatewayError
from asbru.policy import retry
from asbru.policy.keys import OWN_KEY, Key
from asbru.policy.retry import Outcome, Tried
from asbru.policy.router import Target

log = logging.getLogger("asbru.attempts")

SKIPPED = "skipped"
BROKE: dict[str, str] = {
    "connect": "could not be reached",
    "tls": "no secure connection could be made",
    "connect_timeout": "no connection was made in time",
    "no_connection": "too many requests wait for a connection",
    "wait_timeout": "no connection became free in time",
    "reset": "the connection was lost",
    "first_byte_timeout": "did not begin to answer in time",
    "idle_timeout": "stopped in the middle of its answer",
    "deadline": "the request's time is over",
    "protocol": "answered nonsense",
    "too_large": "answered more than a message can be",
}
"""What a client is told of each kind of broken exchange."""


async def run(call: Call, request: Request, targets: Sequence[Target]) -> Answer:
    """The first answer that may be given to the client; raises the `Failure` it is told of when there is none."""
    failures: list[Failure] = []
    try:
        for index, target in enumerate(targets):
            try:
                return await _candidate(call, request, target, index, index + 1 < len(targets), failures)
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
    call: Call, request: Request, target: Target, index: int, more: bool, failures: list[Failure]
) -> Answer:
    """Try one provider and model, on as many keys and as often as `policy.retry` allows.

    Every `Failure` is noted in ``failures``; the last one is raised.
    """
    gateway, loop = call.gateway, call.loop
    policy = gateway.table.providers[target.provider]
    settings = gateway.config.providers[target.provider]
    breakers = gateway.breakers
    wait_s, probe = breakers.check(target.provider, target.model, loop.time())
    if wait_s is not None:
        failures.append(_skipped(target, index, wait_s))
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
                answer = await attempt(call, request, target, key, index)
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
                    time_left_s=call.started + settings.timeouts.deadline_s - loop.time(),
                    budget=gateway.budget.allow(),
                )
                if decision.cool_s is not None and failure.outcome.own_key is False:
                    gateway.cooldowns.cool(target.provider, key.name, loop.time(), decision.cool_s)
                if decision.counts:
                    settled = True
                    breakers.failure(target.provider, target.model, probe, loop.time(), policy.breaker)
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
                breakers.success(target.provider, target.model)
                return answer
    finally:
        if retrying:
            gateway.budget.release()
        if not settled:
            breakers.abandon(target.provider, target.model, probe)


def _key(call: Call, target: Target, index: int, tried: Collection[str]) -> Key | None:
    """The key to try next: the caller's own for the first target, otherwise one of the pool."""
    if index == 0 and call.own_key is not None:
        return None if OWN_KEY in tried else call.own_key
    return _stored_key(call, target, tried) or (None if tried else _stored_key(call, target, tried, even_cooling=True))


def _stored_key(call: Call, target: Target, tried: Collection[str], *, even_cooling: bool = False) -> Key | None:
    gateway = call.gateway
    lives_there = not target.model  # a batch or a file is always looked for with the same key
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


def _skipped(target: Target, index: int, retry_after_s: float | None) -> Failure:
    """A candidate that was not tried at all."""
    return Failure(target, index, Outcome(SKIPPED), retry_after_s=retry_after_s)


def _told(call: Call, failures: Sequence[Failure]) -> Failure | GatewayError:
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
    if failure.error is not None:
        return failure.error
    if failure.broke is not None:
        # The client need not know hosts and ports; the operator does.
        log.warning("%s: %s: %s", call.request_id, provider, failure.broke.message)
        message = f"{provider}: {BROKE[failure.broke.kind]}"
    elif final.error == "upstream_credentials":
        message = f"{provider} refused the credentials that the gateway holds for it"
    else:
        message = f"{provider} answered with the status {failure.outcome.status}, which makes no sense here"
    return GatewayError(final.error, message, retry_after_s=1.0 if final.error == "shed" else None)
