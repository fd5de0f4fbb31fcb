"""Which models a provider has: its own list, in the shape of the Messages API.

The client's own dialect answers in that shape already, and its entries stay as they came. Of other dialects' lists the
names are taken and what they say of limits (``list_forms``); the rest is filled in from what is known of the models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from asbru.dialects import splice
from asbru.upstream.model_info import Listed, info
from asbru.upstream.providers import OWN_DIALECT, Upstream, user_agent

if TYPE_CHECKING:
    from asbru.upstream.list_forms import Page

MAX_LIST_BYTES = 8 << 20
MAX_PAGES = 20
MAX_MODELS = 10_000
_MAX_NAME_CHARS = 200

_GEOGRAPHY = {"us-gov": ("us-gov",), "us": ("us",), "ca": ("us", "ca"), "eu": ("eu",), "ap": ("apac", "au", "jp")}
"""The first part of an AWS region -> the prefixes of the inference profiles there; ``global`` is everywhere."""


class NoList(Exception):
    """The provider's answer is not a list of models."""


async def fetch(upstream: Upstream) -> dict[str, bytes]:
    """Model id -> ModelInfo as JSON; raises `UpstreamError`, `CredentialError`, `NoList` or a decoding error."""
    source = upstream.settings.list_models or "asked"
    if source != "asked":
        return await asyncio.to_thread(_known, upstream, listed=source == "known")
    if upstream.dialect == OWN_DIALECT:
        return await _own(upstream)
    from asbru.upstream.list_forms import FORMS  # only those that translate pay for it

    form = FORMS.get(upstream.dialect)
    if form is None:
        raise NoList("its dialect has no list of models")
    first, parse = form
    models: dict[str, bytes] = {}
    target: bytes | None = first
    for _ in range(MAX_PAGES):
        if target is None or len(models) > MAX_MODELS:
            break
        body = await _get(upstream, target, b"")
        page = await asyncio.to_thread(_read, upstream, parse, body)
        models |= page[0]
        target = page[1]
    return models


def _key(upstream: Upstream) -> str:
    return next(iter(upstream.credentials))


async def _get(upstream: Upstream, target: bytes, extra: bytes) -> bytes:
    key = _key(upstream)
    await upstream.ready(key)
    lines = extra + b"accept: application/json\r\n" + user_agent()
    head = upstream.head(b"GET", target, upstream.authorization(key, b"GET", target, b""), lines, -1)
    response = await upstream.pool.request(head, method=b"GET")
    try:
        response.inflate()
        body = await response.read_all(MAX_LIST_BYTES)
    finally:
        response.close()
    if response.status != 200:
        raise NoList(f"status {response.status}")
    return body


# The client's own dialect


class _OwnPage(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False
    last_id: str | None = None


class _Id(msgspec.Struct):
    id: str


async def _own(upstream: Upstream) -> dict[str, bytes]:
    models: dict[str, bytes] = {}
    after = ""
    betas = b"".join(b"anthropic-beta: %b\r\n" % beta.encode() for beta in upstream.betas.get(_key(upstream), ()))
    for _ in range(MAX_PAGES):
        target = b"/v1/models?limit=1000" + (b"&after_id=" + quote(after, safe="").encode() if after else b"")
        body = await _get(upstream, target, b"anthropic-version: 2023-06-01\r\n" + betas)
        page = msgspec.json.decode(body, type=_OwnPage)
        for raw in page.data:
            entry = bytes(raw)
            splice.split(entry)  # raises for one that could not be shown under another name
            models[msgspec.json.decode(entry, type=_Id).id] = entry
        if not page.has_more or not page.last_id or len(models) > MAX_MODELS:
            break
        after = page.last_id
    return models


# Others


def _read(upstream: Upstream, parse: Callable[[bytes], Page], body: bytes) -> tuple[dict[str, bytes], bytes | None]:
    """In a thread: the first look-up of facts reads their file, and lists may be long."""
    page = parse(body)
    models = {
        entry.id: info(entry, upstream.facts(entry.id))
        for entry in page.entries
        if 0 < len(entry.id) <= _MAX_NAME_CHARS
    }
    return models, page.more


def _known(upstream: Upstream, *, listed: bool) -> dict[str, bytes]:
    """The models that the configuration names, and those that the built-in table knows to be there."""
    names: Iterable[str] = upstream.models() if listed else ()
    if upstream.settings.region is not None and upstream.dialect in ("bedrock-converse", OWN_DIALECT):
        names = (name for name in names if _is_at(name, upstream.settings.region))
    if upstream.settings.envelope == "bedrock":
        names = (name for name in names if "anthropic." in name)
    named = upstream.settings.models
    return {name: info(Listed(name), upstream.facts(name)) for name in dict.fromkeys((*names, *named))}


def _is_at(name: str, region: str) -> bool:
    """Whether a model's name can be asked for in an AWS region: inference profiles begin with where they are."""
    geography, dot, rest = name.partition(".")
    if not dot or "." not in rest:
        return True
    here = next((found for start, found in _GEOGRAPHY.items() if region.startswith(start + "-")), ())
    return geography in (*here, "global") or geography not in _PREFIXES


_PREFIXES = frozenset({prefix for found in _GEOGRAPHY.values() for prefix in found})
