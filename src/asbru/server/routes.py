"""Which handler a request is for: contract/gateway.md §1 as a table. Pure; it knows neither server nor handlers.

Fixed paths are one dictionary lookup, built at import over every prefix. Paths with an id in them are found by their
prefix (a set) and their resource (a dictionary); nothing is matched by regular expression.

What may not go wrong: a request that means something else must never become a paid message. The handler of messages
also serves ``/v1/messages/{anything}``, but only for sub-paths that are spelled plainly and hold, at any depth, nothing
that resembles a known sub-resource; every other spelling (doubled slashes, dot segments, percent-encoding, parameters
after a semicolon, `Count_Tokens`) is a 404. Case matters, one trailing slash does not. HEAD is allowed wherever GET is.

Clients disagree about whether a base URL ends in ``/v1`` (the Vercel AI SDK expects it, Anthropic's SDKs add it), so
``/messages`` and ``/v1/v1/messages`` mean ``/v1/messages``, and so on for every route; docs/how-to/clients.md.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from asbru.errors import GatewayError

Limit = Literal["none", "body", "batch", "file"]

PREFIXES: tuple[bytes, ...] = (
    b"",
    b"/anthropic",
    b"/litellm/anthropic",
    b"/litellm",
    b"/pydanticai/anthropic",
    b"/pydanticai",
    b"/langchain/anthropic",
    b"/langchain",
    b"/cursor",
)


class Route(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    methods: tuple[str, ...]
    limit: Limit = "none"
    """Which bound of the configuration the request's body is under; ``none`` where no body is expected."""


class Match(NamedTuple):
    """Where a request goes."""

    route: Route
    path: bytes
    """The path under the prefix, still percent-encoded, as it goes upstream: ``/v1/messages/batches/msgbatch_1``."""
    id: str
    """The resource's id, percent-decoded; empty for a path without one."""


_READ = ("GET", "HEAD")

MESSAGES = Route("messages", ("POST",), "body")
BATCH = Route("batch", (*_READ, "DELETE"))
BATCH_CANCEL = Route("batch_cancel", ("POST",))
BATCH_RESULTS = Route("batch_results", _READ)
MODEL = Route("model", _READ)
FILE = Route("file", (*_READ, "DELETE"))
FILE_CONTENT = Route("file_content", _READ)

_UNDER_PREFIXES: dict[bytes, Route] = {
    b"/v1/messages": MESSAGES,
    b"/v1/messages/count_tokens": Route("count_tokens", ("POST",), "body"),
    b"/v1/messages/batches": Route("batches", (*_READ, "POST"), "batch"),
    b"/v1/models": Route("models", _READ),
    b"/v1/files": Route("files", (*_READ, "POST"), "file"),
    b"/v1/complete": Route("complete", ("POST",), "body"),
    b"/api/hello": Route("hello", _READ),
    b"": Route("root", _READ),
}
_AT_ROOT: dict[bytes, Route] = {
    b"/health": Route("health", _READ),
    b"/health/live": Route("health_live", _READ),
    b"/health/ready": Route("health_ready", _READ),
}


def match(method: str, path: bytes) -> Match:
    """The route of a request; ``path`` is raw, without the query.

    Raises `GatewayError`: ``not_found``, or ``method_not_allowed`` with an ``allow`` header.
    """
    found = _FIXED.get(path) or find(path)
    if found is None:
        raise not_found(method, path)
    if method not in found.route.methods:
        usable = " or ".join(found.route.methods)
        message = f"{method} is not allowed here; use {usable}"
        raise GatewayError("method_not_allowed", message, headers=[(b"allow", allowed(found))])
    return found


def find(path: bytes) -> Match | None:
    """What is at this path, whatever the method; None when there is nothing."""
    if path.endswith(b"/"):
        path = path[:-1]
    if path in _FIXED:
        return _FIXED[path]
    path = _with_one_version(path)
    at = path.find(b"/v1/")
    if at < 0 or path[:at] not in _PREFIX_SET:
        return None
    path = path[at:]
    resource, _, rest = path[len(b"/v1/") :].partition(b"/")
    finder = _BY_RESOURCE.get(resource)
    return finder(path, rest) if finder is not None and rest else None


def _with_one_version(path: bytes) -> bytes:
    """The path with ``/v1`` once, where a client's base URL and the client itself brought it twice or not at all."""
    for prefix in PREFIXES:
        if path.startswith(prefix + b"/v1/v1/"):
            return prefix + path[len(prefix) + len(b"/v1") :]
        if path.startswith(tuple(prefix + resource for resource in _RESOURCES)):
            return prefix + b"/v1" + path[len(prefix) :]
    return path


def not_found(method: str, path: bytes) -> GatewayError:
    """Names the request, and what it may have been meant to be."""
    shown = path[:_MAX_SHOWN_BYTES].decode("ascii", "replace")
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    return GatewayError("not_found", f"Not found: {method} {shown}. {_hint(path)}".rstrip())


def _hint(path: bytes) -> str:
    plain = path[:_MAX_SHOWN_BYTES].lower().rstrip(b"/")
    if plain.endswith(_OPENAI_PATHS):
        return "This gateway speaks the Anthropic Messages API: POST /v1/messages"
    prefix = max((each for each in PREFIXES if plain.startswith(each + b"/")), key=len, default=b"")
    asked = plain[len(prefix) :].decode("latin-1")
    near = get_close_matches(asked, _ROUTE_PATHS, n=1, cutoff=0.75)
    return f"Did you mean {prefix.decode()}{near[0]}?" if near else ""


_MAX_SHOWN_BYTES = 100
_ROUTE_PATHS = [path.decode() for path in (*_UNDER_PREFIXES, *_AT_ROOT) if path]
_OPENAI_PATHS = (b"/chat/completions", b"/responses", b"/embeddings", b"/completions")


def allowed(found: Match) -> bytes:
    """The value of an ``allow`` header."""
    return ", ".join((*found.route.methods, "OPTIONS")).encode("ascii")


def _under_messages(path: bytes, rest: bytes) -> Match | None:
    head, _, tail = rest.partition(b"/")
    if head == b"batches":
        return _one_of(path, tail, BATCH, {b"cancel": BATCH_CANCEL, b"results": BATCH_RESULTS})
    # Anything else is a message, unless it may have been meant for something that costs nothing.
    letters = rest.lower().translate(None, _NO_LETTERS)
    if b"counttoken" in letters or b"batch" in letters or not _OTHER_RESOURCES.isdisjoint(rest.lower().split(b"/")):
        return None
    if b"%" in rest or b";" in rest or not rest.isascii() or not _is_plain(rest):
        return None
    return Match(MESSAGES, b"/v1/messages", "")


def _under_models(path: bytes, rest: bytes) -> Match | None:
    # A model's name may hold slashes, encoded or not: everything is the id.
    return _with_id(MODEL, path, rest, slashes=True)


def _under_files(path: bytes, rest: bytes) -> Match | None:
    return _one_of(path, rest, FILE, {b"content": FILE_CONTENT})


def _one_of(path: bytes, rest: bytes, resource: Route, parts: dict[bytes, Route]) -> Match | None:
    """``{id}`` is the resource, ``{id}/{part}`` a part of it."""
    raw_id, slash, part = rest.partition(b"/")
    route = parts.get(part) if slash else resource
    return None if route is None else _with_id(route, path, raw_id)


def _with_id(route: Route, path: bytes, raw_id: bytes, *, slashes: bool = False) -> Match | None:
    """The match with its id, when that cannot be mistaken for another path after decoding, here or upstream."""
    decoded = unquote_to_bytes(raw_id)
    if (b"/" in decoded and not slashes) or b"\\" in decoded or not _is_plain(decoded):
        return None
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return Match(route, path, text) if text.isprintable() else None


def _is_plain(path: bytes) -> bool:
    """Whether no segment is empty or made of dots alone."""
    return all(segment.strip(b".") for segment in path.split(b"/"))


_NO_LETTERS = bytes(byte for byte in range(256) if byte not in range(ord("a"), ord("z") + 1))
_OTHER_RESOURCES = frozenset({b"cancel", b"results", b"models", b"files", b"content", b"complete", b"hello", b"health"})
"""Last parts of other routes' paths, which mean something else under messages too."""
_PREFIX_SET = frozenset(PREFIXES)
_RESOURCES = (b"/messages/", b"/models/", b"/files/")
"""What the paths with an id in them begin with, but for the version."""


def _spellings(path: bytes) -> tuple[bytes, ...]:
    """A fixed path with its version once, twice and not at all."""
    return (path, b"/v1" + path, path.removeprefix(b"/v1")) if path.startswith(b"/v1/") else (path,)


_FIXED: dict[bytes, Match] = {
    prefix + spelled: Match(route, path or b"/", "")
    for prefix in PREFIXES
    for path, route in _UNDER_PREFIXES.items()
    for spelled in _spellings(path)
} | {path: Match(route, path, "") for path, route in _AT_ROOT.items()}
_BY_RESOURCE: dict[bytes, Callable[[bytes, bytes], Match | None]] = {
    b"messages": _under_messages,
    b"models": _under_models,
    b"files": _under_files,
}
