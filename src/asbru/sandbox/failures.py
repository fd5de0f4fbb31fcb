"""Failures on request: what the names of failing models do, before the answer or in the middle of it.

`KINDS` is the list, with what each does; `error-<status>` stands for any status from 400 to 599. Options of the name
(`models.Options`) set the rest: ``after`` how many events a stream sends first, ``status`` which error,
``retry_after_s`` and ``wait_ms`` how long, ``until_retry`` from which retry of the SDK on there is no failure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping

import msgspec

from asbru.errors import Headers
from asbru.sandbox.answers import ERROR_TYPES, WORDS, ApiError, Reply
from asbru.sandbox.ids import EPOCH
from asbru.sandbox.models import Name, Profile
from asbru.sandbox.stream import Event

KINDS: dict[str, str] = {
    "hang": "takes the request and never answers",
    "slow": "answers after 3 seconds (`wait_ms`)",
    "die-before-head": "cuts the connection before any byte of the response",
    "die-mid-stream": "cuts the connection in the middle of the response",
    "end-mid-stream": "ends the response in the middle as if it were whole",
    "hang-mid-stream": "stops in the middle of the response and keeps the connection",
    "error-first-event": "streams an error as the first event (`status`); without a stream, answers with it",
    "error-mid-stream": "streams an error after the first text (`status`); without a stream, answers with it",
    "garbage": "answers 200 with bytes that mean nothing",
}
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
"""The `error-<status>` models that the models list shows."""
ERROR = re.compile(r"error-([45]\d\d)")
SLOW_MS = 3_000
GARBAGE = b"\x00\xff\xfe<html><body>502 Bad Gatew\x80ay</body>\r\n\r\n{]"


class Failure(msgspec.Struct, frozen=True):
    kind: str
    """A key of `KINDS`, or ``error``."""
    status: int = 0


def failure_of(name: Name, retry_count: int) -> Failure | None:
    """How this model fails for a client that has retried so often; None when it answers."""
    until = name.options.until_retry
    if until is not None and retry_count >= until:
        return None
    if name.model in KINDS:
        return Failure(name.model, name.options.status)
    found = ERROR.fullmatch(name.model)
    return Failure("error", int(found.group(1))) if found else None


def error_for(status: int, model: str, retry_after_s: int | None = None, words: Mapping[int, str] = WORDS) -> ApiError:
    """The error with this status in the real API's words."""
    message = words.get(status, f"The sandbox was asked for status {status}.").format(model=model)
    if status == 429 and retry_after_s is None:
        retry_after_s = 1
    headers: Headers = [] if retry_after_s is None else [(b"retry-after", b"%d" % retry_after_s)]
    return ApiError(status, message, headers=headers)


def profiles() -> list[Profile]:
    """The failing models as the models list shows them."""
    errors = [(f"error-{status}", f"{status} {ERROR_TYPES.get(status, 'api_error')}") for status in STATUSES]
    named = [*KINDS.items(), *errors]
    return [Profile(id=name, display_name=f"Sandbox: {text}", created_at=EPOCH) for name, text in named]


async def hang(reply: Reply, seconds: float) -> None:
    """Keep the client waiting; it ends when the client leaves, or with a cut after ``seconds``."""
    await asyncio.sleep(seconds)
    reply.exchange.abort()


async def before(failure: Failure | None, reply: Reply, name: Name, *, stream: bool, hang_s: float) -> bool:
    """What happens before there is an answer; True when that was all. Raises the errors that are asked for."""
    if failure is not None and reply.entry is not None:
        reply.entry.outcome = failure.kind
    default_ms = SLOW_MS if failure is not None and failure.kind == "slow" else 0
    wait_ms = default_ms if name.options.wait_ms is None else name.options.wait_ms
    if wait_ms:
        await asyncio.sleep(wait_ms / 1000)
    if failure is None:
        return False
    match failure.kind:
        case "error":
            raise error_for(failure.status, name.full, name.options.retry_after_s, reply.words)
        case "error-first-event" | "error-mid-stream" if not stream:
            raise error_for(failure.status, name.full, name.options.retry_after_s, reply.words)
        case "hang":
            await hang(reply, hang_s)
        case "die-before-head":
            reply.exchange.abort()
        case "garbage":
            content_type = reply.stream_type if stream else "application/json"
            await reply.exchange.respond(200, reply.headers(content_type), GARBAGE)
        case _:
            return False
    return True


async def _break(failure: Failure, reply: Reply, name: Name, hang_s: float) -> None:
    """The middle of a response: how it goes wrong."""
    if reply.entry is not None:
        reply.entry.outcome = failure.kind
    match failure.kind:
        case "error-first-event" | "error-mid-stream":
            await reply.exchange.write(reply.error_event(error_for(failure.status, name.full, words=reply.words)))
            await reply.exchange.finish()
        case "end-mid-stream":
            await reply.exchange.finish()
        case "hang-mid-stream":
            await hang(reply, hang_s)
        case _:
            reply.exchange.abort()


def breaks_midway(failure: Failure | None) -> bool:
    return failure is not None and failure.kind.endswith(("-mid-stream", "-first-event"))


async def whole(failure: Failure | None, reply: Reply, name: Name, message: object, hang_s: float) -> None:
    """The answer in one piece, or the half of it that comes before the failure."""
    if failure is None or not breaks_midway(failure):
        await reply.json(message, headers=reply.limits())
        return
    body = msgspec.json.encode(message)
    headers = reply.headers("application/json", reply.limits())
    if failure.kind != "end-mid-stream":
        headers.append((b"content-length", b"%d" % len(body)))
    await reply.exchange.start(200, headers)
    await reply.exchange.write(body[: len(body) // 2])
    await _break(failure, reply, name, hang_s)


async def streamed(failure: Failure | None, reply: Reply, name: Name, events: Iterable[Event], hang_s: float) -> None:
    """The answer as events, with its pauses, as far as the failure lets them come."""
    midway = breaks_midway(failure)
    first = 0 if failure is not None and failure.kind == "error-first-event" else reply.middle
    after = first if name.options.after is None else name.options.after
    await reply.start_stream(reply.limits())
    for sent, event in enumerate(events):
        if midway and sent == after:
            break
        if event.is_delta and name.options.delay_ms:
            await asyncio.sleep(name.options.delay_ms / 1000)
        await reply.exchange.write(event.data)
    if failure is not None and midway:
        await _break(failure, reply, name, hang_s)
        return
    await reply.exchange.finish()
