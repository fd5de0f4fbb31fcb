"""The key pools of providers, compiled: which key may serve which model, and under what name it asks for it.

A key may serve a model when its allow-list has the name asked for or the name that its alias makes of it, and its
deny-list has neither. A provider without keys gets one that holds no secret, so that everything else treats it alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from math import isfinite

import msgspec

from asbru.config import Breaker, Provider, ProviderKey
from asbru.policy.patterns import Patterns
from asbru.secrets import Secret

OWN_KEY = "(own)"
"""What attempts and records call the caller's own provider key; no configured key can have this name."""
KEYLESS = "(none)"
"""The name of the key that stands for none, at a provider that needs none."""

_ID_CHARS = 12


class Key(msgspec.Struct, frozen=True):
    """One stored credential for a provider."""

    name: str
    id: str
    """Stable and safe to show: made from the provider's and the key's names, not from the secret."""
    secret: Secret | None
    """None: it signs by other means, or there is none at all."""
    weight: float
    models: Patterns
    exclude: Patterns
    aliases: Mapping[str, str]

    def may_serve(self, model: str) -> bool:
        """Whether this key may be used for the model asked for; always for "", a request without a model."""
        if not model:
            return True
        if not self.aliases:
            return self.models.allow(model) and not self.exclude.allow(model)
        sent = self.aliases.get(model, model)
        if self.exclude.allow(model) or (sent is not model and self.exclude.allow(sent)):
            return False
        return self.models.allow(model) or (sent is not model and self.models.allow(sent))

    def upstream_model(self, model: str) -> str:
        """The name to send upstream for the model asked for."""
        return self.aliases.get(model, model)


class ProviderPolicy(msgspec.Struct, frozen=True):
    """What deciding needs of one provider."""

    name: str
    keys: tuple[Key, ...]
    keyless: bool
    """It needs no key, so that any key would be let in there."""
    models: tuple[str, ...]
    """The models that the configuration itself names: listed ones, keys' aliases, allow-lists without a ``*``."""
    max_retries: int
    breaker: Breaker
    foreign_forms: tuple[str, ...] = ()
    """How keys begin that are another vendor's: a caller's own of such a form is not sent there."""

    def may_serve(self, model: str) -> bool:
        """Whether any key may serve the model; one without weight may when it is pinned."""
        return any(key.may_serve(model) for key in self.keys)

    def takes(self, own: Secret | None) -> bool:
        """Whether a caller's own key, where there is one, may be sent there."""
        return own is not None and not own.reveal().startswith(self.foreign_forms)

    def pool(self, model: str) -> list[Key]:
        """The keys that share the requests for a model; without weight only if none with weight may."""
        keys = [key for key in self.keys if key.may_serve(model)]
        return [key for key in keys if key.weight > 0] or keys


def compile_provider(
    name: str, provider: Provider, takes_any_key: bool = False, foreign_forms: tuple[str, ...] = ()
) -> ProviderPolicy:
    """Raises `ValueError` naming the entry that cannot work; ``takes_any_key``: what keys it has, it does not check."""
    keys = tuple(_compile(name, number, key) for number, key in enumerate(provider.keys))
    names = [key.name for key in keys]
    for index, key_name in enumerate(names):
        if key_name in names[:index]:
            raise ValueError(f"providers.{name}.keys[{index}]: there are two keys named {key_name!r}")
    known = dict.fromkeys(provider.models)
    for key in keys:
        known |= dict.fromkeys((*key.aliases, *sorted(key.models.exact)))
    return ProviderPolicy(
        name=name,
        keys=keys or (Key(KEYLESS, _id(name, KEYLESS), None, 1.0, Patterns("*"), Patterns(()), {}),),
        keyless=takes_any_key or not keys,
        models=tuple(known),
        max_retries=provider.max_retries,
        breaker=provider.breaker,
        foreign_forms=foreign_forms,
    )


def compile_providers(
    providers: Mapping[str, Provider], takes_any_key: Collection[str], foreign_forms: Mapping[str, tuple[str, ...]]
) -> dict[str, ProviderPolicy]:
    """All of a configuration's; raises as `compile_provider` does."""
    return {
        name: compile_provider(name, provider, name in takes_any_key, foreign_forms.get(name, ()))
        for name, provider in providers.items()
    }


def _compile(provider: str, index: int, key: ProviderKey) -> Key:
    where = f"providers.{provider}.keys[{index}]"
    if not isfinite(key.weight):
        raise ValueError(f"{where}.weight: must be a finite number")
    value = key.value.reveal() if key.value is not None else ""
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError(f"{where}.value: holds a character that cannot stand in a header, such as a line break")
    name = key.name or f"key-{index + 1}"
    return Key(
        name,
        _id(provider, name),
        key.value,
        key.weight,
        Patterns(key.models),
        Patterns(key.exclude),
        dict(key.aliases),
    )


def _id(provider: str, key: str) -> str:
    return sha256(f"{provider}/{key}".encode()).hexdigest()[:_ID_CHARS]
