"""The Record: everything known about one exchange, written exactly once, in ``finally``.

Facts only: no prompt, no answer, no credential. Times are in milliseconds unless the name says otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


class Usage(msgspec.Struct, kw_only=True):
    """Token counts as the provider said them, in the Messages API's terms (``input_tokens`` excludes cached ones)."""

    input_tokens: int = 0
    """Input that was neither read from nor written to a prompt cache."""
    output_tokens: int = 0
    """Output, reasoning included."""
    cache_creation_input_tokens: int = 0
    """Input written to the prompt cache."""
    cache_read_input_tokens: int = 0
    """Input read from the prompt cache."""
    cache_creation_5m_tokens: int = 0
    """Of ``cache_creation_input_tokens``, those kept for five minutes."""
    cache_creation_1h_tokens: int = 0
    """Of ``cache_creation_input_tokens``, those kept for an hour."""
    thinking_tokens: int = 0
    """Of ``output_tokens``, those of reasoning."""


class Iteration(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the samplings of an answer that took several, as the provider counted it (``usage.iterations``)."""

    type: str
    """The kind of sampling, such as ``message`` or ``advisor_message``."""
    model: str | None = None
    """The model that did it; absent: the one that answered."""
    usage: Usage
    """What it used."""


class Attempt(msgspec.Struct, kw_only=True):
    """One try of one candidate, with its outcome."""

    provider: str
    """The provider's name in the configuration."""
    model: str
    """The model as it was sent upstream."""
    key: str
    """The name of the stored key; ``(own)`` for the caller's own."""
    outcome: str = ""
    """The upstream's status as digits, or what went wrong in one word, such as ``connect`` or ``timeout``."""
    error: str | None = None
    """Why it failed, unless the client is at fault: what the provider or the connection said, masked and cut."""
    duration_ms: float = 0.0
    """From its beginning to the answer's first content, or to its failure."""
    upstream_request_id: str | None = None
    """The provider's own id of the request."""


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One exchange. ``status`` is what the client got, or 499 when it went away first."""

    time: str = ""
    """When the request arrived, in UTC (RFC 3339)."""
    request_id: str
    """The id of the request, as ``x-asbru-request-id`` has it."""
    started_unix_ms: int
    """``time`` in milliseconds since 1970."""
    method: str
    """The HTTP method."""
    route: str
    """The route's name, such as ``messages``; empty when there is none at the path."""
    path: str | None = None
    """The path, of a request that no route takes; at most 256 characters."""
    client_address: str = ""
    """The address of the peer: the client, or the proxy in front."""
    user_agent: str | None = None
    """The client's ``user-agent``, at most 256 characters."""
    principal: str = ""
    """Who asked: the virtual key's name, or the kind of caller."""
    model: str = ""
    """The model that was asked for."""
    stream: bool = False
    """Whether server-sent events were asked for."""
    status: int = 0
    """What the client got; 499 when it went away first."""
    error_kind: str | None = None
    """The kind of error that the client got; those of Asbru are in [errors](errors.md)."""
    error_message: str | None = None
    """The message of an error that Asbru made itself."""
    provider: str | None = None
    """The provider that answered."""
    served_model: str | None = None
    """The model that answered, as the provider names it; what it was asked for where its answer does not say."""
    attempts: list[Attempt] = []
    """Every try of a candidate, in order."""
    losses: list[str] = []
    """What of a translated request was not carried, as ``<verdict>: <field>``, with ``at <path>`` where that differs.

    Fields are those of docs/reference/fidelity.md; of what was sent to the provider whose answer the client got.
    """
    stop_reason: str | None = None
    """Why the answer ended."""
    usage: Usage | None = None
    """Token counts as the provider said them."""
    usage_complete: bool = False
    """Whether these counts are final; false for a stream that broke off."""
    iterations: list[Iteration] = []
    """Where a provider counts by iterations: these are what is billed, each at its model's price."""
    cost_usd: float | None = None
    """What the usage costs at the prices of the model that answered; absent when its price is not known."""
    upstream_ms: float = 0.0
    """The time of the attempt that answered."""
    duration_ms: float = 0.0
    """From the request's arrival to the end of the answer."""
    request_bytes: int = 0
    """The size of the request's body."""
    response_bytes: int = 0
    """The size of the response's body."""
    session_id: str | None = None
    """``x-bf-session-id``, or Claude Code's session."""
    agent_id: str | None = None
    """Claude Code's agent."""
    parent_agent_id: str | None = None
    """Claude Code's agent that started this one."""
    client_request_id: str | None = None
    """The client's ``x-request-id``, at most 256 characters."""
    trace_id: str | None = None
    """The trace id of the client's ``traceparent``, when that is valid."""
    dimensions: dict[str, str] = {}
    """The ``x-bf-dim-*`` headers."""


def finish(record: Record) -> None:
    """Make a Record ready to be written: readable times, rounded numbers. Off the path of a request."""
    moment = datetime.fromtimestamp(record.started_unix_ms / 1000, UTC)
    record.time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record.duration_ms = round(record.duration_ms, _MS_DIGITS)
    record.upstream_ms = round(record.upstream_ms, _MS_DIGITS)
    if record.cost_usd is not None:
        record.cost_usd = round(record.cost_usd, _USD_DIGITS)
    for attempt in record.attempts:
        attempt.duration_ms = round(attempt.duration_ms, _MS_DIGITS)


_MS_DIGITS = 3
_USD_DIGITS = 9
