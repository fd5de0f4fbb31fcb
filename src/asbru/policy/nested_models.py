"""Models that a request names besides its ``model``: the same table decides about them (contract/gateway.md §3).

Only a virtual key with a list of models is held to it here; for every other caller these names are the provider's
business, as is all of the body. A name is judged for each target by itself, because it is that target's provider that
would run the model:

- relayed: an alias stands for its candidate at that provider, a name behind the provider's own name and a slash for
  the model, any other name for itself, all without a client's decoration (``[1m]``). What it stands for must be in
  the list, and is what goes upstream.
- translated: the provider is never sent the name; it must be one that the caller could ask for as ``model``.

A target at which a name is not allowed is left out; when none is left, the answer is the reason for the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from asbru.dialects.named_models import NamedModel
from asbru.errors import GatewayError
from asbru.policy.auth import Principal
from asbru.policy.keys import Key
from asbru.policy.router import Catalog, Table, Target

Names = Mapping[str, Mapping[str, str]]
"""Provider -> name in the request -> the model to ask for there."""

_MAX_SHOWN_CHARS = 100
_NONE: Mapping[str, str] = {}


def is_limited(principal: Principal, targets: Iterable[Target]) -> bool:
    """Whether a virtual key's list of models has a say about any of the targets."""
    grants = principal.key.grants if principal.key is not None else None
    return grants is not None and any(
        target.provider in grants and not grants[target.provider].models.allows_all for target in targets
    )


def admit(
    named: Sequence[NamedModel],
    targets: Sequence[Target],
    principal: Principal,
    table: Table,
    catalog: Catalog,
    relaying: Collection[str],
) -> tuple[list[Target], Names]:
    """The targets at which every named model is allowed, and what the names stand for there.

    ``relaying`` names the providers that get the body as it came. Raises `GatewayError` model_blocked when no target
    is left.
    """
    admitted: list[Target] = []
    names: dict[str, Mapping[str, str]] = {}
    refusals: list[GatewayError] = []
    for target in targets:
        provider = target.provider
        try:
            if provider not in names and is_limited(principal, (target,)):
                names[provider] = _resolved(named, provider, principal, table, catalog, relayed=provider in relaying)
        except GatewayError as refusal:
            refusals.append(refusal)
        else:
            admitted.append(target)
    if not admitted:
        raise refusals[0]
    return admitted, names


def _resolved(
    named: Sequence[NamedModel], provider: str, principal: Principal, table: Table, catalog: Catalog, *, relayed: bool
) -> Mapping[str, str]:
    """The models that the names stand for at a provider; raises `GatewayError` for the first that is not allowed."""
    models: dict[str, str] = {}
    for where, name, _ in named:
        if name in models:
            continue
        try:
            if relayed:
                models[name] = _model_at(provider, name, principal, table)
            else:
                table.plan(name, (), principal, catalog, rand=0.0)
                models[name] = name
        except GatewayError as refusal:
            raise GatewayError("model_blocked", f"{where}: {refusal.message}") from None
    return models


def _model_at(provider: str, name: str, principal: Principal, table: Table) -> str:
    """The model that a name stands for at a provider it is relayed to; raises `GatewayError` as `Table.may` does.

    An alias stands for its candidate there, unless a list of the virtual key has that very name.
    """
    grants = principal.key.grants if principal.key is not None else None
    name = table.base_name(name)
    listed = grants is not None and provider in grants and name in grants[provider].models.exact
    candidates = None if listed else table.aliases.get(name)
    prefix, slash, model = name.partition("/")
    if candidates is not None:
        model = next((candidate.model for candidate in candidates if candidate.provider == provider), "")
    elif not slash or prefix != provider:
        model = name
    if not model:
        raise GatewayError("model_blocked", f"{name[:_MAX_SHOWN_CHARS]!r} names no model of {provider!r}")
    table.may(principal, provider, model)
    return model


def renamed(names: Names, provider: str, key: Key) -> Mapping[str, str]:
    """Names in the request that go upstream as others, when it is sent with this key: the key's aliases count too."""
    models = names.get(provider, _NONE)
    return {name: key.upstream_model(model) for name, model in models.items() if key.upstream_model(model) != name}
