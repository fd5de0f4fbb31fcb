"""One exchange in progress: its head as read, its Record, its clock, and the headers its answer carries.

A `Call` is made when the exchange begins and settled exactly once when it ends, whichever way it ends.
"""

from __future__ import annotations

import logging
import os
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from itertools import count
from time import monotonic, time
from urllib.parse import quote

from asbru.dialects.losses import Losses
from asbru.errors import KINDS, GatewayError, Headers, identity, render
from asbru.gateway import Gateway
from asbru.heartbeat import PING, Heartbeat
from asbru.policy.auth import Principal
from asbru.policy.health import CallKind
from asbru.policy.keys import OWN_KEY, Key
from asbru.policy.patterns import Patterns
from asbru.policy.router import Target
from asbru.record import Attempt, Record
from asbru.server.exchange import Exchange

log = logging.getLogger("asbru.requests")

EVENT_STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
"""What every event stream of the gateway's carries; the last tells nginx not to hold it back until it is complete."""
_OWN_SITES = (b"none", b"same-origin")
_SHORT_QUERY_BYTES = 16  # no key fits; ``beta=true`` comes with every request of some clients
UNRECORDED = frozenset({"health", "health_live", "health_ready", "hello", "root"})
"""Routes that say nothing about anyone, asked by probes every few seconds."""
CLIENT_GONE = 499  # nginx's status for a client that closed its connection first; only ever in records

_KINDS: dict[str, CallKind] = {
    "messages": "messages",
    "count_tokens": "count_tokens",
    "complete": "complete",
    "model": "models",
    **dict.fromkeys(("batches", "batch", "batch_cancel", "batch_results"), "batches"),
    **dict.fromkeys(("files", "file", "file_content"), "files"),
}
"""Route -> what it calls a provider for."""

_ANY, _NONE = Patterns("*"), Patterns(())

_run = os.urandom(6).hex()
_serial = count(1)


def new_request_id() -> str:
    """An id unique over processes and restarts: 48 random bits of this process and a serial number."""
    return f"req_{_run}{next(_serial):010x}"


class Call:
    """The exchange, what is known of it so far, and what every answer to it says."""

    __slots__ = (
        "_heartbeat",
        "exchange",
        "gateway",
        "head",
        "loop",
        "losses",
        "names_file",
        "own_key",
        "pin",
        "principal",
        "record",
        "request_id",
        "required_betas",
        "started",
        "streaming",
        "told_loss",
        "waited_s",
    )

    def __init__(self, exchange: Exchange, gateway: Gateway) -> None:
        self.exchange = exchange
        self.head = exchange.head
        self.gateway = gateway
        self.loop = gateway.loop
        self.started = monotonic()
        self.request_id = exchange.request_id = new_request_id()
        self.record = Record(
            request_id=self.request_id,
            started_unix_ms=int(time() * 1000),
            method=exchange.method,
            route="",
            client_address=exchange.client,
            attempts=[],
        )
        self.principal: Principal
        self.own_key: Key | None = None
        """The caller's own provider key, for the first target only."""
        self.pin: str | None = None
        """The stored key that the request insists on, or that its thread lives at."""
        self.names_file = False
        """It names an uploaded file, which only the key that files are kept at can read."""
        self.required_betas: tuple[str, ...] = ()
        """Values of ``anthropic-beta`` that the client asked for by other means, such as a decorated model name."""
        self.streaming = False
        """The response is an event stream, so that an error can still be said in it."""
        self.losses: Losses | None = None
        """What the request lost on its way to the upstream that answers now; None when it is relayed."""
        self.told_loss: bytes | None = None
        """``x-asbru-loss`` of a stream that a ping had to open."""
        self.waited_s = 0.0
        """For the client's body, for upstreams, and before other tries."""
        self._heartbeat: Heartbeat | None = None

    def identify(self) -> None:
        """Read the head and find out who is asking; raises `GatewayError` when they may not."""
        head, record = self.head, self.record
        said = head.said
        self.principal = self.gateway.auth.identify(head.credentials, record.started_unix_ms / 1000)
        if len(self.exchange.query) > _SHORT_QUERY_BYTES:
            self.gateway.auth.refuse_wrapped("query", self.exchange.query)
        record.principal = self.principal.name
        record.user_agent = recorded(head.text(b"user-agent"), masked=True)
        record.dimensions = head.dimensions
        record.session_id = recorded(head.session)
        if self.principal.direct is not None:
            self.own_key = Key(OWN_KEY, OWN_KEY, self.principal.direct, 1.0, _ANY, _NONE, {})
        if b"x-bf-api-key" in said or b"x-bf-api-key-id" in said:
            self.pin = head.text(b"x-bf-api-key") or head.text(b"x-bf-api-key-id")
        if b"x-claude-code-agent-id" in said:
            record.agent_id = recorded(head.text(b"x-claude-code-agent-id"))
        if b"x-claude-code-parent-agent-id" in said:
            record.parent_agent_id = recorded(head.text(b"x-claude-code-parent-agent-id"))
        if b"x-request-id" in said:
            record.client_request_id = recorded(head.text(b"x-request-id"))
        if b"traceparent" in said:
            record.trace_id = head.trace_id

    @property
    def kind(self) -> CallKind:
        """What a provider is called for."""
        return _KINDS[self.record.route]

    async def body(self, limit_bytes: int) -> bytes:
        """The request's body, as `Exchange.body`, without a byte order mark; the time it takes is the client's."""
        began = monotonic()
        try:
            body = await self.exchange.body(limit_bytes)
            return body.removeprefix(BOM_UTF8)  # RFC 8259 §8.1: may be ignored; providers refuse it
        finally:
            self.waited_s += monotonic() - began

    def targets(self, model: str, fallbacks: Sequence[str] = ()) -> list[Target]:
        """Where a model's name leads for this caller, in order; raises `GatewayError` when nowhere."""
        gateway = self.gateway
        targets = gateway.table.targets(
            model,
            fallbacks,
            self.principal,
            gateway.catalog.providers_of,
            rand=gateway.rand(),
            session=self.record.session_id,
        )
        return self.pinned(targets)

    def pinned(self, targets: list[Target]) -> list[Target]:
        """Those that the pinned key can serve, when the request insists on one.

        The caller's own key goes with the first of ``targets`` alone, not with what has become the first; and not to
        another vendor than the one that its form names.
        """
        if not self.gateway.table.providers[targets[0].provider].takes(self.principal.direct):
            self.own_key = None
        if self.pin is None:
            return targets
        kept = self.gateway.table.pinned(targets, self.pin)
        if kept[0] != targets[0]:
            self.own_key = None
        return kept

    def unshared(self, targets: list[Target]) -> list[Target]:
        """Those at which the caller may use files and batches; raises `GatewayError` when there is none.

        Where others' are to be found the caller's own key, whose workspace is its own, goes to the first target. Not to
        a provider that checks no key, though, where any key would find them all.
        """
        gateway = self.gateway
        if not gateway.isolation.closed(self.principal):
            return targets
        if self.own_key is None or gateway.table.providers[targets[0].provider].keyless:
            raise gateway.isolation.refusal(self.principal)
        return targets[:1]

    def begin_heartbeat(self) -> Heartbeat:
        """From the first event stream that an upstream opens, silence towards the client is filled."""
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self.loop, self.gateway.config.stream.ping_s, self._ping)
        return self._heartbeat

    def end_heartbeat(self) -> None:
        """No ping from here on."""
        if self._heartbeat is not None:
            self._heartbeat.stop()

    async def _ping(self) -> None:
        """One ping. Before any content it opens the stream with nothing of an answer, so that another may follow.

        Only what the request lost is said: if another candidate answers after all, `relay` corrects it.
        """
        exchange = self.exchange
        if exchange.tail_open:  # inside an event that is too large to be held back
            return
        if not exchange.started:
            self.streaming = True
            self.record.status = 200
            headers = [*EVENT_STREAM, *self.own_headers()]
            if self.losses is not None:
                self.told_loss = loss_text(self.losses)
                headers.append((b"x-asbru-loss", self.told_loss))
            await exchange.start(200, headers)
        await exchange.write(PING)

    def require_json(self) -> None:
        """Raises `GatewayError` for a body that says it is something else; one that says nothing is taken for JSON.

        Not from a browser, though: without a content type any page could send it, and no preflight would ask us first.
        """
        said = self.head.said
        content_type = said.get(b"content-type", b"" if self._from_page else b"application/json")
        if content_type == b"application/json":
            return
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise GatewayError("unsupported_media_type", "content-type: must be application/json")

    @property
    def _from_page(self) -> bool:
        """Whether a browser says that it sends this for a page, and not one of this origin."""
        said = self.head.said
        return b"origin" in said or said.get(b"sec-fetch-site", b"none") not in _OWN_SITES

    def refuse_cross_origin(self) -> None:
        """Raises `GatewayError` for a change that a page of another origin asks for and no preflight has allowed.

        For routes that take more than JSON. A browser sends a form, or nothing, for any page without asking first, and
        only keeps the answer from it. A credential, or a version, is a header that it does ask for first.
        """
        said = self.head.said
        if not self._from_page or said.get(b"sec-fetch-site") == b"same-origin" or b"anthropic-version" in said:
            return
        if any(name != b"authorization" or value[:7].lower() == b"bearer " for name, value in self.head.credentials):
            return
        origin, origins = said.get(b"origin", b"null"), self.gateway.config.server.cors.origins
        if "*" in origins or origin.decode("latin-1") in origins:
            return
        if b"sec-fetch-site" not in said and origin.partition(b"://")[2] == said.get(b"host", b""):
            return
        raise GatewayError("origin_blocked", "origin: pages of this origin may change nothing here; see server.cors")

    def own_headers(self) -> Headers:
        """What every answer carries, whoever made it."""
        return identity(self.request_id)

    def tried(self) -> list[bytes]:
        """Every attempt as ``x-asbru-attempts`` shows it."""
        return [attempt_text(attempt) for attempt in self.record.attempts]

    def attempted(self, attempt: Attempt, took_s: float) -> None:
        """An attempt has ended, one way or another."""
        self.waited_s += took_s
        if log.isEnabledFor(logging.DEBUG):
            why = f": {attempt.error}" if attempt.error else ""
            shown = attempt_text(attempt).decode("ascii")
            log.debug("%s: attempt %s with key %s%s", self.request_id, shown, attempt.key, why)

    def overhead_us(self) -> int:
        """Our own time so far: without waits for the client's body, for upstreams and before other tries."""
        return max(0, int((monotonic() - self.started - self.waited_s) * 1e6))

    async def refuse(self, error: GatewayError) -> None:
        """Answer with an error of our own."""
        record = self.record
        record.error_kind, record.error_message = error.kind, mask_keys(error.message)
        if not record.route:
            record.path = recorded(self.exchange.path.decode("latin-1"), masked=True)
            record.user_agent = recorded(self.head.text(b"user-agent"), masked=True)
        status, headers, body = render(error, self.request_id)
        headers += [(b"x-asbru-attempts", tried) for tried in self.tried()]
        record.status = status
        await self.respond(status, headers, body)

    def respond_json(self, status: int, body: bytes) -> Awaitable[None]:
        """Give an answer of the gateway's own making."""
        return self.respond(status, [(b"content-type", b"application/json"), *self.own_headers()], body)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> Awaitable[None]:
        """Note the whole answer, and give it once this is awaited."""
        self.record.status = status
        self.record.response_bytes = len(body)
        return self.exchange.respond(status, headers, body)

    def note_cancelled(self) -> None:
        """The client has gone, or the process ends and the server answers in the handler's place."""
        if not self.exchange.is_drained:
            self.record.status = CLIENT_GONE
            return
        self.record.error_kind = "draining"
        if not self.exchange.started:
            self.record.status = KINDS["draining"].status

    def settle(self) -> None:
        """The end of the exchange, however it came: the Record is written."""
        self.end_heartbeat()
        self._heartbeat = None  # it refers back to us
        record = self.record
        record.duration_ms = (monotonic() - self.started) * 1e3
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s: %s %s %s -> %d in %.0f ms%s",
                self.request_id,
                record.method,
                record.route or record.path,
                recorded(record.model),
                record.status,
                record.duration_ms,
                f": {recorded(record.error_message)}" if record.error_message else "",
            )
        if record.route in UNRECORDED:
            return
        self.gateway.records.write(record)


def attempt_text(attempt: Attempt) -> bytes:
    """One attempt as ``x-asbru-attempts`` shows it: ``anthropic/claude-x 529 812ms``; a file's has no model."""
    candidate = _candidate(attempt.provider, attempt.model)
    return b"%b %b %.0fms" % (candidate, attempt.outcome.encode("ascii"), attempt.duration_ms)


@lru_cache(maxsize=1024)
def _candidate(provider: str, model: str) -> bytes:
    return header_text(f"{provider}/{model}" if model else provider)


MAX_ID_CHARS = 256


_a_key = re.compile(r"(?i)\bsk-[a-z0-9_-]{6,}|\bAIza[a-z0-9_-]{20,}|\beyJ[a-z0-9_-]{6,}\.[a-z0-9_.-]*")


def mask_keys(text: str) -> str:
    """A text from outside without what looks like a key: clients put theirs into a URL, too."""
    return _a_key.sub("***", text)


def recorded(identity: str | None, *, masked: bool = False) -> str | None:
    """An id from outside as a Record may hold it: of limited length, without control characters.

    ``masked``: keys in it are, before it is cut.
    """
    if identity is None:
        return None
    if masked:
        identity = mask_keys(identity)
    identity = identity[:MAX_ID_CHARS]
    return identity if identity.isprintable() else "".join(char if char.isprintable() else "?" for char in identity)


_ASCII = "".join(map(chr, range(128)))
_UNPRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
MAX_HEADER_CHARS = 256
MAX_LOSS_CHARS = 2048
"""Room for every loss that is named (at most 32) by an ordinary path."""


def loss_text(losses: Losses) -> bytes:
    """The value of ``x-asbru-loss``."""
    return header_text(losses.header(), MAX_LOSS_CHARS)


def header_text(text: str, most_chars: int = MAX_HEADER_CHARS) -> bytes:
    """Text from outside, such as a model's name, made safe to stand in a header."""
    text = text[:most_chars]
    if not text.isascii():
        text = quote(text, safe=_ASCII)[:most_chars]  # readable again, where question marks would not be
    return text.encode("ascii").translate(_UNPRINTABLE)
