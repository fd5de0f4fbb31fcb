"""The Record: everything known about one exchange, written exactly once, in ``finally``.

Facts only: no prompt, no answer, no credential. Times are in milliseconds unless the name says otherwise.
"""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, kw_only=True):
    """Token counts as the provider said them, in the Messages API's terms (``input_tokens`` excludes cached ones)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    thinking_tokens: int = 0
    """Of ``output_tokens``."""


class Iteration(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the samplings of an answer that took several, as the provider counted it (``usage.iterations``)."""

    type: str
    model: str | None = None
    """The model that did it; None: the one that answered."""
    usage: Usage


class Attempt(msgspec.Struct, kw_only=True):
    """One try of one candidate, with its outcome."""

    provider: str
    model: str
    key: str
    outcome: str = ""
    """The upstream's status as digits, or what went wrong in one word, such as ``connect`` or ``timeout``."""
    error: str | None = None
    """Why it failed, unless the client is at fault: what the provider or the connection said, masked and cut."""
    duration_ms: float = 0.0
    upstream_request_id: str | None = None


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One exchange. ``status`` is what the client got, or 499 when it went away first."""

    request_id: str
    started_unix_ms: int
    method: str
    route: str
    principal: str = ""
    model: str = ""
    stream: bool = False
    status: int = 0
    error_kind: str | None = None
    provider: str | None = None
    served_model: str | None = None
    """The model that answered, as the provider names it; what it was asked for where its answer does not say."""
    attempts: list[Attempt] = []
    losses: list[str] = []
    """What of a translated request was not carried, as ``<verdict>: <field>``, with ``at <path>`` where that differs.

    Fields are those of docs/reference/fidelity.md; of what was sent to the provider whose answer the client got.
    """
    stop_reason: str | None = None
    usage: Usage | None = None
    usage_complete: bool = False
    iterations: list[Iteration] = []
    """Where a provider counts by iterations: these are what is billed, each at its model's price."""
    cost_usd: float | None = None
    upstream_ms: float = 0.0
    duration_ms: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0
    session_id: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    client_request_id: str | None = None
    """The client's ``x-request-id``, at most 256 characters."""
    trace_id: str | None = None
    """The trace id of the client's ``traceparent``, when that is valid."""
    dimensions: dict[str, str] = {}
