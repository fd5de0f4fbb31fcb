"""Known providers: facts about them as data (``data/providers.toml``), so that an operator need not write them.

What a provider is configured to do is `asbru.config`; how it is called is ``providers.py``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

_FILE = Path(__file__).resolve().parent.parent / "data" / "providers.toml"


class KnownProvider(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One provider that may be named without saying what it speaks and where it is."""

    name: str
    dialect: Literal["anthropic"]
    base_url: str | None = None
    """None: the gateway starts it itself, on a socket of its own."""
    credential: Literal["x-api-key", "authorization"]
    """The header that carries its keys."""
    env: tuple[str, ...] = ()
    """Environment variables that usually hold its key; the first that is set counts."""
    key: str | None = None
    """A key that is no secret, for a provider that takes any."""
    example_model: str
    """A model to show in examples."""
    source: str
    date: str


def known_providers() -> dict[str, KnownProvider]:
    """Every known provider by name, in the order of the file."""
    tables = tomllib.loads(_FILE.read_text("utf-8"))
    return {name: msgspec.convert({"name": name, **table}, KnownProvider) for name, table in tables.items()}
