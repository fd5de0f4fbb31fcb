"""What a model can do at a host: the one look-up, (host, model) to quirks and facts.

Four sources, each going before those above it: models.json (facts.py); the known provider's row in providers.toml; the
rows of the model's family there, in their order; what the configuration says. What nobody says is unknown, and unknown
is not yes: codecs leave out what a model is not known to take, and name it as a loss.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from asbru.config import ModelFacts, Provider
from asbru.dialects.codec import Model, Quirks
from asbru.upstream.catalog import families, known_providers
from asbru.upstream.facts import canonical, table

_MAX_CACHED = 1000
_MAX_NAME_CHARS = 200  # a longer name is none, and would be kept


class Known(NamedTuple):
    """What is known of one model at one host."""

    quirks: Quirks
    facts: Model


class Capabilities:
    """What is known of one provider's models. ``host`` is the known provider that it is, or its own name."""

    __slots__ = ("_cache", "_configured", "_facts", "_families", "_host", "_tables")

    def __init__(self, host: str, settings: Provider) -> None:
        known = known_providers().get(host)
        self._tables = () if known is None else known.models_of or (known.name,)
        self._host = {} if known is None else known.quirks
        # What the loader filled in from the provider's row is not the operator's own word.
        self._configured = {
            name: value
            for name, value in settings.quirks.items()
            if name not in self._host or self._host[name] != value
        }
        self._facts = settings.model_facts
        self._families = [family for family in families() if not family.hosts or host in family.hosts]
        self._cache: dict[str, Known] = {}

    def of(self, model: str) -> Known:
        """What is known of a model, by the name it is asked for upstream."""
        known = self._cache.get(model)
        if known is None:
            if len(model) > _MAX_NAME_CHARS:
                return self._find("")
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            known = self._cache[model] = self._find(model)
        return known

    def _find(self, model: str) -> Known:
        quirks: dict[str, Any] = dict(self._host)
        facts = table().find(self._tables, model)
        name = canonical(model)
        for family in self._families:
            if any(fnmatchcase(name, pattern) or fnmatchcase(model, pattern) for pattern in family.models):
                quirks |= family.quirks
                facts = _over(facts, family.facts)
        found = msgspec.convert(quirks | self._configured, Quirks)
        if not found.images:
            facts = replace(facts, images=False)
        own = self._facts.get(model)
        return Known(found, facts if own is None else _over(facts, own))

    def listed(self) -> tuple[str, ...]:
        """Every model in the provider's tables, for a provider that cannot be asked for its own."""
        return tuple(dict.fromkeys(name for each in self._tables for name in table().models.get(each, {})))


def _over(facts: Model, more: ModelFacts) -> Model:
    """The facts with what else is said."""
    return replace(facts, **{name: value for name, value in asdict(more).items() if value is not None})
