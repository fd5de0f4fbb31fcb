"""What happens after a failed attempt: the one retry decision (contract/gateway.md §3).

The contract's table is `_KINDS` (nothing came back) and `_STATUSES` (an error did); `decide` reads a row from left to
right and takes the first column that is open:

1. the same key again, when the row has retries left, the retry budget has room, and the wait is worth it;
2. another key, at once;
3. the next candidate, at once;
4. otherwise stop: `final_error` says what the client is told.

Waits. Backoff is 0.5 s doubling to 5 s, times 0.8 to 1.2. ``retry-after`` replaces it. A wait fits when it ends before
the request's deadline and is at most `MAX_WAIT_S`; with another column open, at most the longest backoff, because
waiting for one provider while another could answer helps nobody. A wait that does not fit closes the column: the client
is told the ``retry-after`` and can wait better than a held connection can.

Budget. It bounds what retries add to a provider in trouble, so it gates the same key alone; a fallback during an outage
is what fallbacks are for. ``max_retries`` is per candidate.

A caller's own key has no other key beside it, and no stored key ever takes its place at the same candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

Action = Literal["same_key", "other_key", "next_candidate", "stop"]

MAX_WAIT_S = 60.0
MAX_COOL_S = 3600.0
MAX_RETRY_AFTER_S = 86_400.0
_MIN_COOL_S = 1.0
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 5.0
_JITTER = (0.8, 1.2)
_MIN_RETRIES_IN_FLIGHT = 3


class Outcome(NamedTuple):
    """How an attempt failed.

    ``kind`` is ``status`` (an error response), ``stream_error`` (an error event in a stream with a 200; ``status`` is
    that of its type) or one of `_KINDS`.
    ``responded``: it broke after the answer had begun, so the provider has done work that a retry would repeat.
    ``should_retry``: the provider did not say ``x-should-retry: false``, which closes the same key, not the others.
    ``about_model``: the provider's answer speaks of the model, so that the key may still serve others.
    ``of_model``: what the model wrote is at fault, so that nothing is counted against the provider.
    """

    kind: str
    status: int = 0
    retry_after_s: float | None = None
    own_key: bool = False
    responded: bool = False
    about_model: bool = False
    should_retry: bool = True
    of_model: bool = False


class Decision(NamedTuple):
    """What to do now. ``cool_s``: let the key rest this long; ``counts``: the breaker hears of it."""

    action: Action
    delay_s: float = 0.0
    cool_s: float | None = None
    counts: bool = False


class Row(NamedTuple):
    """One row of the table."""

    same_key: int = 0
    """How often the same key may be used again; never more than ``max_retries``."""
    backoff: bool = False
    other_key: bool = False
    next_candidate: bool = False
    cool_s: float | None = None
    """How long the key rests when the provider did not say."""
    counts: bool = False
    error: str | None = None
    """The kind of the gateway's own error, when it is the last word; None: the upstream's answer as it came."""


_AS_CONFIGURED = 1 << 30

_LOST = Row(same_key=1, next_candidate=True, counts=True, error="upstream_unreachable")
_BROKEN_OFF = _LOST._replace(error="upstream_invalid")
_SILENT = Row(next_candidate=True, counts=True, error="upstream_timeout")
_NONSENSE = Row(next_candidate=True, counts=True, error="upstream_invalid")

_KINDS: dict[str, Row] = {
    "connect": _LOST,
    "tls": _LOST,
    "reset": _LOST,
    "connect_timeout": _LOST._replace(error="upstream_timeout"),
    "first_byte_timeout": _SILENT,
    "idle_timeout": _SILENT,
    "protocol": _NONSENSE,
    "too_large": _NONSENSE,
    # Not the provider's fault: all our connections to it are busy, or our own time is up.
    # The target's dialect has no words for something in the request; another's may.
    "lossy": Row(next_candidate=True, error="invalid_request"),
    "no_connection": Row(next_candidate=True, error="shed"),
    "wait_timeout": Row(next_candidate=True, error="shed"),
    "deadline": Row(error="upstream_timeout"),
}

_FAILING = Row(same_key=_AS_CONFIGURED, backoff=True, next_candidate=True, counts=True)
_CALLERS_FAULT = Row()
_REFUSED = Row(other_key=True, next_candidate=True, cool_s=60.0, error="upstream_credentials")

_STATUSES: dict[int, Row] = {
    **dict.fromkeys((408, 500, 502, 503, 504, 529), _FAILING),
    **dict.fromkeys(range(520, 528), _FAILING),  # what Cloudflare says for an origin in trouble
    429: Row(other_key=True, next_candidate=True, cool_s=10.0),
    401: _REFUSED,
    402: _REFUSED,
    403: _REFUSED,
    404: Row(next_candidate=True),
    407: Row(next_candidate=True, counts=True, error="upstream_credentials"),  # the proxy's, not the provider's
    400: _CALLERS_FAULT,
    413: _CALLERS_FAULT,
    422: _CALLERS_FAULT,
}
_OTHER_STATUSES: dict[int, Row] = {
    3: Row(next_candidate=True, error="upstream_invalid"),  # redirects are not followed, nor handed to the client
    4: _CALLERS_FAULT,
    5: Row(next_candidate=True, counts=True),
}
"""First digit -> row, for what the contract does not name."""


def row_of(outcome: Outcome) -> Row:
    """The table's row for an outcome."""
    if outcome.kind == "reset" and outcome.responded:
        return _BROKEN_OFF
    if outcome.kind not in ("status", "stream_error"):
        return _KINDS[outcome.kind]
    row = _STATUSES.get(outcome.status) or _OTHER_STATUSES.get(outcome.status // 100, _NONSENSE)
    if outcome.of_model:
        row = row._replace(counts=False)
    if outcome.own_key:
        if row is _REFUSED:
            return _CALLERS_FAULT  # theirs to mend
        row = row._replace(other_key=False, cool_s=None)
    return row._replace(next_candidate=True) if outcome.kind == "stream_error" else row


def decide(
    outcome: Outcome,
    *,
    retries_used: int,
    max_retries: int,
    other_key: bool,
    next_candidate: bool,
    rand: float,
    time_left_s: float,
    budget: bool,
) -> Decision:
    """What to do after a failed attempt.

    ``retries_used`` counts those of the same key at this candidate; ``other_key`` and ``next_candidate`` say whether
    there is one; ``rand`` is in [0, 1); ``budget`` is `RetryBudget.allow`.
    """
    row = row_of(outcome)
    cool_s = None
    if row.cool_s is not None:
        cool_s = row.cool_s if outcome.retry_after_s is None else outcome.retry_after_s
        cool_s = min(max(cool_s, _MIN_COOL_S), MAX_COOL_S)
    if time_left_s <= 0:
        return Decision("stop", 0.0, cool_s, row.counts)
    to_other_key = row.other_key and other_key
    to_next = row.next_candidate and next_candidate
    if budget and outcome.should_retry and not outcome.responded and retries_used < min(row.same_key, max_retries):
        delay_s = _delay_s(outcome, retries_used, rand) if row.backoff else 0.0
        longest_s = _MAX_BACKOFF_S * _JITTER[1] if to_other_key or to_next else MAX_WAIT_S
        if delay_s <= longest_s and delay_s < time_left_s:
            return Decision("same_key", delay_s, cool_s, row.counts)
    action: Action = "other_key" if to_other_key else "next_candidate" if to_next else "stop"
    return Decision(action, 0.0, cool_s, row.counts)


def _delay_s(outcome: Outcome, retries_used: int, rand: float) -> float:
    if outcome.retry_after_s is not None:
        return outcome.retry_after_s
    low, high = _JITTER
    return min(_BACKOFF_S * 2.0 ** min(retries_used, 10), _MAX_BACKOFF_S) * (low + (high - low) * rand)


class Tried(NamedTuple):
    """A failed attempt: which target of the plan it was of, and how it failed."""

    target: int
    outcome: Outcome


class Final(NamedTuple):
    """What the client is told: of which attempt, and as which error of ours; None: the upstream's answer as it came."""

    attempt: int
    error: str | None


def final_error(attempts: Sequence[Tried]) -> Final | None:
    """Whose failure the client is told of when all failed; None when nothing was attempted (that is no_candidate).

    It is the last failure of the earliest target that was attempted, the primary unless it was passed over. A refused
    credential of ours gives way to any other failure there: a key pool of which one key is limited and one is
    revoked is limited.
    """
    if not attempts:
        return None
    primary = min(tried.target for tried in attempts)
    rows = [(index, row_of(tried.outcome)) for index, tried in enumerate(attempts) if tried.target == primary]
    index, row = next((entry for entry in reversed(rows) if entry[1].error != _REFUSED.error), rows[-1])
    return Final(index, row.error)


def is_callers_fault(outcome: Outcome) -> bool:
    """Whether the caller has to change the request, so that no other key or candidate would do better."""
    return row_of(outcome) == _CALLERS_FAULT


def is_rejected(outcome: Outcome) -> bool:
    """Whether a stored key, or the account behind it, was refused."""
    return row_of(outcome) == _REFUSED


def is_verdict(outcome: Outcome) -> bool:
    """Whether the provider has said what it thinks of the request, as it would if it were asked again."""
    return outcome.status == 404 or is_callers_fault(outcome)


def parse_retry_after(headers: Sequence[tuple[bytes, bytes]], now_unix_s: float) -> float | None:
    """The wait in seconds that a response asks for, between 0 and a day; None when it asks for none that makes sense.

    ``retry-after-ms`` goes before ``retry-after``, which is seconds, also with a fraction, or an HTTP date. Header
    names are lower case.
    """
    after: float | None = None
    for name, value in headers:
        if name == b"retry-after-ms":
            milliseconds = _number(value)
            if milliseconds is not None:
                return _bounded(milliseconds / 1000)
        elif name == b"retry-after" and after is None:
            after = _number(value)
            if after is None:
                after = _until(value, now_unix_s)
    return None if after is None else _bounded(after)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _number(value: bytes) -> float | None:
    """A decimal number; stricter than `float`, which also takes nan, inf, exponents and underscores."""
    text = value.strip()
    digits = text.removeprefix(b"-").replace(b".", b"", 1)
    return float(text) if digits.isdigit() else None


def _until(value: bytes, now_unix_s: float) -> float | None:
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)  # HTTP dates are GMT, whether they say so or not
        return moment.timestamp() - now_unix_s
    except (ValueError, OverflowError):
        return None


class RetryBudget:
    """How many retries may be in flight: ``share`` of the requests in flight, and never fewer than 3.

    `enter` and `leave` bracket a request, `acquire` and `release` a retry within it.
    """

    __slots__ = ("_share", "in_flight", "retrying")

    def __init__(self, share: float) -> None:
        self._share = share
        self.in_flight = 0
        self.retrying = 0

    def enter(self) -> None:
        """A request begins."""
        self.in_flight += 1

    def leave(self) -> None:
        """A request ends; raises `RuntimeError` when none had begun."""
        if self.in_flight == 0:
            raise RuntimeError("a request left the retry budget that had not entered it")
        self.in_flight -= 1

    def allow(self) -> bool:
        """Whether one more retry may begin now."""
        return self.retrying < max(_MIN_RETRIES_IN_FLIGHT, self._share * self.in_flight)

    def acquire(self) -> None:
        """A retry begins."""
        self.retrying += 1

    def release(self) -> None:
        """A retry ends; raises `RuntimeError` when none had begun."""
        if self.retrying == 0:
            raise RuntimeError("a retry left the retry budget that had not entered it")
        self.retrying -= 1
