"""Which headers cross the bridge, in both directions, as tables, and heads read by them.

Towards the provider everything goes through as it came, except what belongs to this connection (hop-by-hop, host,
length, encodings), what identifies the caller to the gateway (credentials, cookies), what is said to the gateway
itself (``x-bf-*``, ``x-asbru-*``), and what hops before this one have added (``edge_headers``). ``x-bf-eh-<name>`` is
forwarded as ``<name>`` unless that is one of these. A name that is one of these but for its punctuation (``x_api_key``)
stops too: what reads names as CGI does cannot tell the two apart.
Towards the client every end-to-end header goes through as it came, except what only the gateway itself may say
(``x-asbru-*``, ``x-bifrost-*``, ``access-control-*``) and what speaks of the upstream's whole origin.

A head stays the bytes it came in: one regular expression finds the few fields that are read or do not go on, and no
other is looked at. That takes a third of the time that going through all of them takes. What is given here has been
judged by an HTTP parser; a head is all from its first line to the empty line, both included.

Facts: RFC 9110 §7.6.1 (hop-by-hop fields); contract/gateway.md §§2, 4, 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from asbru.edge_headers import REQUEST_NAMES, REQUEST_PREFIXES, RESPONSE_NAMES, FieldRules
from asbru.errors import GatewayError, Headers
from asbru.secrets import VIRTUAL_KEY_PREFIX

VIRTUAL_KEY = VIRTUAL_KEY_PREFIX.encode("ascii")
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"x-bf-vk"})
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_USUAL_CONNECTION = (b"keep-alive", b"close")
_NEVER_UPSTREAM = (
    CREDENTIALS
    | HOP_BY_HOP
    | {
        b"cookie",
        b"host",
        b"content-length",
        b"content-encoding",  # a compressed body is inflated before it is read
        b"accept-encoding",  # replaced: see providers.head
        b"expect",
    }
)
_NEVER_PREFIXES = (b"x-bf-", b"x-asbru-", b"proxy-")
_NOT_UPSTREAM = _NEVER_UPSTREAM | REQUEST_NAMES
_PRIVATE_PREFIXES = _NEVER_PREFIXES + REQUEST_PREFIXES
_NEVER_DOWNSTREAM = HOP_BY_HOP | {b"content-length"}
_NOT_DOWNSTREAM = _NEVER_DOWNSTREAM | RESPONSE_NAMES
# What a page may read here is not the upstream's to say: see server/cors.
_OWN_PREFIXES = (b"x-asbru-", b"x-bifrost-", b"access-control-")

# What the gateway reads, on top of credentials, ``connection`` and dimensions; of these too only some go on.
_SAID_BY_CLIENT = frozenset(
    {
        b"anthropic-version",
        b"content-type",
        b"origin",
        b"sec-fetch-site",
        b"x-asbru-strict",
        b"x-bf-async",
        b"x-bf-async-id",
        b"x-bf-session-id",
        b"x-bf-api-key",
        b"x-bf-api-key-id",
        b"x-asbru-dry-run",
        b"x-request-id",
        b"traceparent",
        b"x-claude-code-session-id",
        b"x-claude-code-agent-id",
        b"x-claude-code-parent-agent-id",
        b"x-forwarded-proto",
        b"user-agent",
        # for the server
        b"content-encoding",
        b"content-length",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"upgrade",
    }
)
REQUEST_IDS = (b"request-id", b"x-request-id", b"x-amzn-requestid", b"x-goog-request-id")
"""The names under which providers say their id of a request, the one that counts first."""
_SAID_BY_PROVIDER = frozenset(
    {*REQUEST_IDS, b"content-encoding", b"content-length", b"content-type", b"transfer-encoding"}
)
_FLAGS = {b"true": True, b"1": True, b"false": False, b"0": False}
_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_EXTRA = b"x-bf-eh-"
# What means the same to a provider of any dialect.
_TO_ANY = frozenset({b"traceparent", b"tracestate", b"baggage", b"idempotency-key"})
_DIMENSION = b"x-bf-dim-"
MAX_DIMENSIONS = 16
MAX_DIMENSION_CHARS = 128


_odd_names = re.compile(rb"\n([a-z0-9-]*+[^:\r][^:\r]*):").findall
"""Names with more in them than letters, digits and hyphens, in a head of lower case."""
_punctuation = re.compile(rb"[^a-z0-9]+").sub


def _goes_upstream(name: bytes) -> bool:
    return name not in _NOT_UPSTREAM and not name.startswith(_PRIVATE_PREFIXES)


def _is_disguised(name: bytes) -> bool:
    """Whether a name reads as that of a field that stops here where punctuation is not told apart."""
    plain = _punctuation(b"-", name).strip(b"-")
    return plain == b"content-type" or not _goes_upstream(plain)


def _finder(names: Collection[bytes], prefixes: Collection[bytes]) -> Callable[[bytes], Iterator[re.Match[bytes]]]:
    """What finds the fields of these names, and of those that begin so, in a head of lower case: name and value."""
    wanted = [(*map(_literal, name),) for name in names] + [(*map(_literal, prefix), b"[^:]*") for prefix in prefixes]
    return re.compile(rb"\n(%b):[ \t]*([^\r]*)" % _choice(wanted)).finditer


def _choice(texts: Collection[tuple[bytes, ...]]) -> bytes:
    """The expression for any of these sequences, as a tree by their beginnings: fields mostly differ early."""
    branches: dict[bytes, list[tuple[bytes, ...]]] = {}
    for text in sorted(texts, reverse=True):  # a longer one before its own beginning
        branches.setdefault(text[0] if text else b"", []).append(text[1:])
    choices = [first + (_choice(rest) if any(rest) else b"") for first, rest in branches.items()]
    return choices[0] if len(choices) == 1 else b"(?:%b)" % b"|".join(choices)


def _literal(character: int) -> bytes:
    return re.escape(bytes((character,)))


_of_client = _finder(_NOT_UPSTREAM | _SAID_BY_CLIENT, _PRIVATE_PREFIXES)
_of_provider = _finder(_NOT_DOWNSTREAM | _SAID_BY_PROVIDER, _OWN_PREFIXES)
_READ_AND_SENT = frozenset(filter(_goes_upstream, _SAID_BY_CLIENT))
_READ_AND_RELAYED = _SAID_BY_PROVIDER - _NOT_DOWNSTREAM


def pairs(head: bytes) -> Headers:
    """The fields of a head: names in lower case, values without the white space around them."""
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in fields]


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as lines, each ended with CRLF."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class RequestHead:
    """A request's head, read once: what goes upstream, and what was said to the gateway."""

    __slots__ = ("_after", "_before", "credentials", "dimensions", "forwarded", "raw", "repeated", "said")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._before = self._after = b""
        """What is around the value of content-length, when it has one; for `again`."""
        self.said: dict[bytes, bytes] = {}
        """The fields that the gateway reads; of one that is repeated, the last."""
        self.repeated: list[bytes] = []
        """Which of these are."""
        self.credentials: Headers = []
        """Fields that may say who asks, for `policy.auth`."""
        self.dimensions: dict[str, str] = {}
        said = self.said
        kept: list[bytes] = []
        named: list[bytes] = []
        at = raw.find(b"\n") + 1
        lower = raw.lower()
        for field in _of_client(lower):
            name = field[1]
            start, end = field.span(2)
            if name not in _READ_AND_SENT:
                kept.append(raw[at : field.start() + 1])
                at = end + 2
            if name in _SAID_BY_CLIENT:
                if name in said:
                    self.repeated.append(name)
                said[name] = raw[start:end].rstrip(b" \t")
                if name == b"content-length":
                    self._before, self._after = raw[:start], raw[end:]
            elif name in CREDENTIALS:
                self.credentials.append((name, raw[start:end].rstrip(b" \t")))
            elif name == b"connection":
                named += _named_by(raw[start:end])
            elif name.startswith(_EXTRA):
                if _may_be_extra(name):
                    kept.append(raw[field.start() + 1 + len(_EXTRA) : at])
            elif name.startswith(_DIMENSION) and len(self.dimensions) < MAX_DIMENSIONS:
                key = name[len(_DIMENSION) :].decode("latin-1")[:MAX_DIMENSION_CHARS]
                self.dimensions[key] = raw[start:end].rstrip(b" \t").decode("latin-1")[:MAX_DIMENSION_CHARS]
        kept.append(raw[at:-2])
        self.forwarded = b"".join(kept)
        """Header lines for the upstream request, each ended with CRLF."""
        named += filter(_is_disguised, _odd_names(lower))
        if named:
            self.forwarded = _without(self.forwarded, named)
        if VIRTUAL_KEY in lower:
            self.forwarded = _without_virtual_keys(self.forwarded)

    def again(self, raw: bytes) -> RequestHead | None:
        """What ``RequestHead(raw)`` would be, if ``raw`` differs in the content-length alone; otherwise None.

        A client says the same in most requests of a connection, and this takes a quarter of the time.
        """
        if not (self._before and raw.startswith(self._before) and raw.endswith(self._after)):
            return None
        length = raw[len(self._before) : len(raw) - len(self._after)]
        if not length.isdigit() or self.repeated:
            return None
        head = RequestHead.__new__(RequestHead)
        head.raw = raw
        head._before, head._after = self._before, self._after
        head.said = {**self.said, b"content-length": length}
        head.repeated = self.repeated
        head.credentials, head.dimensions, head.forwarded = self.credentials, self.dimensions, self.forwarded
        return head

    @property
    def headers(self) -> Headers:
        """All fields in their order, names in lower case; repeated names are repeated entries."""
        return pairs(self.raw)

    @property
    def forwarded_to_any(self) -> bytes:
        """The header lines that make sense to a provider of any dialect: few, and those the client insists on."""
        kept: Headers = []
        for name, value in self.headers:
            if name in _TO_ANY:
                kept.append((name, value))
            elif name.startswith(_EXTRA) and _may_be_extra(name):
                kept.append((name[len(_EXTRA) :], value))
        return _without_virtual_keys(lines(kept))

    def forwarded_with(self, betas: Sequence[str]) -> bytes:
        """``forwarded`` with these values of ``anthropic-beta``, in one line with the client's own."""
        named = [*self.betas, *(beta for beta in betas if beta not in self.betas)]
        return _without(self.forwarded, [b"anthropic-beta"]) + lines([(b"anthropic-beta", ",".join(named).encode())])

    def forwarded_by(self, rules: FieldRules, lines: bytes) -> bytes:
        """``lines``, `forwarded` or `forwarded_to_any`, as one provider's rules have them."""
        named = {option for name, value in self.headers if name == b"connection" for option in _named_by(value)}
        kept = [
            line + b"\r\n"
            for line in self.raw.split(b"\r\n")[1:-2]
            if (name := line[: line.find(b":")].lower()) not in named
            and _may_be_kept(name)
            and not _goes_upstream(name)
            and rules.keeps(name)
        ]
        return _without(lines, rules.drops) + _without_virtual_keys(b"".join(kept))

    @property
    def betas(self) -> list[str]:
        """The values of ``anthropic-beta``, from one line or several."""
        values = [value.decode("latin-1") for name, value in self.headers if name == b"anthropic-beta"]
        return [beta.strip() for value in values for beta in value.split(",") if beta.strip()]

    def text(self, name: bytes) -> str | None:
        """A header the gateway reads, or None when it is absent or empty."""
        value = self.said.get(name)
        return value.decode("latin-1") if value else None

    @property
    def session(self) -> str | None:
        """The conversation this request belongs to."""
        return self.text(b"x-bf-session-id") or self.text(b"x-claude-code-session-id")

    @property
    def trace_id(self) -> str | None:
        """The trace that ``traceparent`` names; None when it is absent or invalid (W3C Trace Context, §3.2)."""
        found = _TRACE_PARENT.fullmatch(self.said.get(b"traceparent", b""))
        return None if found is None else found[1].decode("ascii")

    def flag(self, name: bytes) -> bool:
        """A header that is on or off, off when it is absent; raises `GatewayError` when it is neither or repeated."""
        value = self.said.get(name)
        if value is None:
            return False
        flag = _FLAGS.get(value.lower())
        if flag is None or name in self.repeated:
            raise GatewayError("invalid_request", f"{name.decode()}: must be true or false (or 1 or 0), once")
        return flag


class ResponseHead:
    """The head of an upstream's answer, read once: what goes to the client, and what it says to the gateway."""

    __slots__ = ("raw", "relayed", "repeated", "said")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.said: dict[bytes, bytes] = {}
        """The fields that the gateway reads; of one that is repeated, the last."""
        self.repeated: list[bytes] = []
        """Which of these are."""
        said = self.said
        kept: list[bytes] = []
        named: list[bytes] = []
        at = raw.find(b"\n") + 1
        for field in _of_provider(raw.lower()):
            name = field[1]
            start, end = field.span(2)
            if name not in _READ_AND_RELAYED:
                kept.append(raw[at : field.start() + 1])
                at = end + 2
            if name in _SAID_BY_PROVIDER:
                if name in said:
                    self.repeated.append(name)
                said[name] = raw[start:end].rstrip(b" \t")
            elif name == b"connection":
                named += _named_by(raw[start:end])
        kept.append(raw[at:-2])
        self.relayed = b"".join(kept)
        """The end-to-end header lines as they came and in their order, each ended with CRLF."""
        if named:
            self.relayed = _without(self.relayed, named)

    @classmethod
    def of(cls, headers: Headers) -> ResponseHead:
        """As though an upstream had said these."""
        return cls(b"\r\n%b\r\n" % lines(headers))

    @property
    def headers(self) -> Headers:
        """All fields in their order, names in lower case."""
        return pairs(self.raw)

    def say(self, headers: Headers) -> None:
        """Tell the client these instead of what the upstream said under the same names."""
        self.relayed = _without(self.relayed, [name for name, _ in headers]) + lines(headers)

    def apply(self, rules: FieldRules) -> None:
        """Relay what one provider's rules keep, and not what they drop."""
        kept = [
            line + b"\r\n"
            for line in self.raw.split(b"\r\n")[1:-2]
            if (name := line[: line.find(b":")].lower()) in RESPONSE_NAMES and rules.keeps(name)
        ]
        self.relayed = _without(self.relayed, rules.drops) + b"".join(kept)


def _without_virtual_keys(lines: bytes) -> bytes:
    """Header lines but for those with a virtual key in them: it is for the gateway, whatever the header is called."""
    if VIRTUAL_KEY not in lines.lower():
        return lines
    return b"".join(line for line in lines.splitlines(keepends=True) if VIRTUAL_KEY not in line.lower())


def _may_be_extra(name: bytes) -> bool:
    sent = name[len(_EXTRA) :]
    return bool(sent) and _goes_upstream(sent) and not (_odd_names(b"\n%b:" % sent) and _is_disguised(sent))


def may_be_kept(request: bool, name: str) -> bool:
    """Whether a provider's rules may keep this field, which may be a pattern, and whether that changes anything."""
    field = name.lower().encode("ascii")
    if b"*" in field:
        return True
    return _may_be_kept(field) and not _goes_upstream(field) if request else field in RESPONSE_NAMES


def _may_be_kept(name: bytes) -> bool:
    """Whether a provider's rules may have a request's field go on that stops here by default."""
    return name not in _NEVER_UPSTREAM and not name.startswith(_NEVER_PREFIXES)


def _named_by(connection: bytes) -> list[bytes]:
    """The headers of which a ``connection`` header says that they are for this connection alone."""
    value = connection.strip(b" \t").lower()
    return [] if value in _USUAL_CONNECTION else [option.strip() for option in value.split(b",")]


def _without(lines: bytes, names: Collection[bytes] | Callable[[bytes], bool]) -> bytes:
    """Header lines but for those of these names, which are in lower case."""
    stops = names if callable(names) else names.__contains__
    return b"".join(line for line in lines.splitlines(keepends=True) if not stops(line[: line.find(b":")].lower()))
