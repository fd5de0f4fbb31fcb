"""Known providers: facts about them as data (``data/providers.toml``), so that an operator need not write them.

What a provider is configured to do is `asbru.config`; how it is called is ``providers.py``. What is left unsaid in a
configuration is taken from here by `asbru.load`, so that nothing else reads this file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from asbru.config import Dialect, KeyHeader, ModelFacts, ModelList, Provider
from asbru.upstream.proxy import is_loopback

_FAMILIES = "models"
_FILE = Path(__file__).resolve().parent.parent / "data" / "providers.toml"

DEFAULT_HEADERS: dict[str, KeyHeader] = {
    "anthropic": "x-api-key",
    "openai-chat": "authorization",
    "openai-responses": "authorization",
    "gemini": "x-goog-api-key",
    "bedrock-converse": "authorization",
}
"""Dialect -> the header that usually carries its keys."""


Placeholder = Literal["region", "project", "resource"]


class Dated(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where an API of dated versions is, when the configuration names a version."""

    base_url: str
    query: str
    paths: dict[str, str]
    """Dialect -> the path below it; ``{model}`` is replaced."""


class KnownProvider(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One provider that may be named without saying what it speaks and where it is."""

    name: str
    title: str
    """What people call it."""
    dialect: Dialect
    dialects: tuple[Dialect, ...] = ()
    """What it speaks besides, at the same place, when ``dialect`` says so."""
    envelope: Literal["bedrock", "vertex"] | None = None
    base_url: str | None = None
    """May hold ``{region}``, ``{project}`` and ``{resource}``. None: the gateway starts it itself."""
    base_urls: dict[str, str] = {}
    """Region -> base URL, for regions whose URL is made in another way."""
    url_env: tuple[str, ...] = ()
    """Environment variables that usually hold where it is."""
    dated: Dated | None = None
    variables: dict[Placeholder, tuple[str, ...]] = {}
    """What its base URL needs -> environment variables that usually hold it; the first that is set counts."""
    defaults: dict[Placeholder, str] = {}
    """What its base URL needs -> what it is when nobody says."""
    credential: KeyHeader
    """The header that carries its keys."""
    key_forms: tuple[str, ...] = ()
    """How its keys begin, where that tells them from everybody else's."""
    signing: Literal["aws", "google", "entra"] | None = None
    """How it is called without a key."""
    service: str | None = None
    """AWS: what signatures call the service. Entra: the scope of its tokens."""
    env: tuple[str, ...] = ()
    """Environment variables that usually hold its key; the first that is set counts."""
    implicit: bool = True
    """Whether that variable alone configures it; not where it is usually set for something else."""
    key: str | None = None
    """A key that is no secret, for a provider that takes any."""
    keyless: bool = False
    """It needs no key."""
    list_models: ModelList = "asked"
    """Where its list of models comes from."""
    models_of: tuple[str, ...] = ()
    """The tables of ``data/models.json`` that have its models; by default the one of its own name."""
    billed_by: str | None = None
    """Which provider of genai-prices it is, where its name does not tell; empty: nobody bills."""
    quirks: dict[str, bool | int | str | None] = {}
    """Fields of `asbru.dialects.codec.Quirks` that differ."""
    example_model: str
    """A model to show in examples."""
    source: str
    date: str
    note: str | None = None
    """What is uncertain."""


class Family(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What holds for some models, at every host or at some of them."""

    models: tuple[str, ...]
    """Patterns (as of `fnmatch`) of `canonical` names."""
    hosts: tuple[str, ...] = ()
    """Known providers; empty: wherever the models are."""
    quirks: dict[str, bool | int | str | None] = {}
    facts: ModelFacts = ModelFacts()
    source: str
    date: str
    note: str | None = None


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text("utf-8"))


@cache
def known_providers() -> Mapping[str, KnownProvider]:
    """Every known provider by name, in the order of the file."""
    tables = {name: table for name, table in _file().items() if name != _FAMILIES}
    return {name: msgspec.convert({"name": name, **table}, KnownProvider) for name, table in tables.items()}


def takes_any_key(providers: Mapping[str, Provider]) -> frozenset[str]:
    """The configured providers that are known to look at no key, whatever keys are configured for them.

    People write some key for them all the same: ``EMPTY`` for vLLM, and the sandbox has one built in.
    """
    known = known_providers()
    found = {name: known.get(provider.like or name) for name, provider in providers.items()}
    return frozenset(
        name for name, facts in found.items() if facts is not None and (facts.keyless or facts.key is not None)
    )


def foreign_key_forms(providers: Mapping[str, Provider]) -> dict[str, tuple[str, ...]]:
    """Configured provider -> how keys begin that are certainly another vendor's.

    A provider of another name is a vendor's own when it is at that vendor's host. One on this machine is taken for a
    stand-in of every vendor whose dialect it speaks.
    """
    forms = {form for known in known_providers().values() for form in known.key_forms}
    return {name: tuple(sorted(forms - _own_key_forms(name, provider))) for name, provider in providers.items()}


def _own_key_forms(name: str, provider: Provider) -> set[str]:
    known = known_providers()
    facts = known.get(provider.like or name)
    if facts is not None:
        # What the gateway starts itself may see any key.
        owners = [facts] if facts.base_url is not None else list(known.values())
    else:
        host = _host(provider.base_url)
        local = is_loopback(host)
        owners = [
            each
            for each in known.values()
            if host == _host(each.base_url) or (local and provider.dialect in (each.dialect, *each.dialects))
        ]
    return {form for owner in owners for form in owner.key_forms}


def _host(url: str | None) -> str:
    return (urlsplit(url).hostname or "") if url is not None and "{" not in url else ""


@cache
def families() -> tuple[Family, ...]:
    """Every row about models, in the order of the file."""
    return msgspec.convert(_file()[_FAMILIES], tuple[Family, ...])


def billed_by(providers: Mapping[str, Provider]) -> dict[str, str]:
    """Configured provider -> who bills for it, as far as its name does not tell."""
    known = known_providers()
    found = {name: known.get(provider.like or name) for name, provider in providers.items()}
    return {
        name: facts.name if facts.billed_by is None else facts.billed_by
        for name, facts in found.items()
        if facts is not None and (facts.billed_by is not None or facts.name != name)
    }
