"""Where a request goes: model name -> ordered targets, and target -> key (contract/gateway.md §3).

`Table` is compiled from the configuration once and never changes; a request costs it a few dict lookups. What changes
over time (what providers list, which keys cool down, chance) is an argument.

A model name is placed by the first of these rules that applies:

1. ``alias``: the whole name is a configured alias, slashes or not. Its candidates in order. (The names in a virtual
   key's lists are models; where one of them is, letter by letter, also an alias, rule 3 goes first.)
2. ``named``: the part before the first slash is a configured provider.
3. ``virtual_key``: the caller's virtual key has providers with weight that allow the name. One is chosen by weight, the
   others follow by descending weight unless the request brought its own fallbacks. Where it is known which providers
   have the model, the others are not considered.
4. ``catalog``: a provider is known to list it (or its configuration names it). The default provider if it is one of
   them, otherwise the first configured one that the caller may use.
5. ``default``: the default provider. A name is never refused for being unknown, so 404 means there is no default.

A name with a client's decoration (``claude-opus-4-8[1m]``) that is no alias itself is placed by its base name.

A fallback is an alias, or ``provider/model``, or a model of the first target's provider. What the caller may not use is
left out of the plan; when nothing of the primary is left the answer is the reason for its first candidate. A key that
has to be pinned (``x-bf-api-key``) is checked against the plan by `Table.pinned`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from operator import attrgetter
from typing import NamedTuple

from asbru.config import Config
from asbru.errors import GatewayError
from asbru.policy.auth import Grant, Principal, VirtualKeyPolicy
from asbru.policy.choice import rendezvous, weighted
from asbru.policy.health import Cooldowns
from asbru.policy.keys import Key, ProviderPolicy, compile_providers

Catalog = Mapping[str, tuple[str, ...]]
"""Model id -> the providers known to list it."""

_MAX_NAME_CHARS = 512
_MAX_PLANS = 1_000
_MAX_SHOWN_CHARS = 100
_MAX_COMPARED = 500  # the search for the nearest name takes up to 10 ms then

_DECORATION = re.compile(r"\[[0-9]+[km]\]\Z", re.IGNORECASE)
"""What Claude Code's users put behind a model's name to choose its context window."""

_weight = attrgetter("weight")


def _share(key: Key) -> float:
    """A key's share of its pool: its weight; in a pool without any all are equal."""
    return key.weight or 1.0


class Target(NamedTuple):
    """A provider and the model name asked of it (before the aliases of the key that will serve).

    ``model`` is "" for a request without one, such as those about files.
    """

    provider: str
    model: str


def wants_long_context(model: str) -> bool:
    """Whether the name's decoration asks for a context of a million tokens."""
    return model[-4:].lower() == "[1m]"


class Plan(NamedTuple):
    """Where a request goes, and why. ``left_out`` is for the dry run."""

    targets: list[Target]
    rule: str
    left_out: list[tuple[Target, GatewayError]]


class Table:
    """The routing of one configuration; raises `ValueError` naming the entry that cannot work."""

    __slots__ = ("_catalog", "_configured", "_plans", "aliases", "default_provider", "providers")

    def __init__(
        self,
        config: Config,
        takes_any_key: Collection[str] = (),
        foreign_forms: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """``takes_any_key`` names the providers that check no key, ``foreign_forms`` keys that are another vendor's."""
        self.providers = compile_providers(config.providers, takes_any_key, foreign_forms or {})
        self.default_provider = _default_provider(config)
        self._plans: dict[tuple[str, str, str], tuple[VirtualKeyPolicy | None, list[Target]]] = {}
        self._catalog: Catalog | None = None
        self._configured: dict[str, tuple[str, ...]] = {}
        """What the configuration itself says about which provider has a model."""
        for name, provider in self.providers.items():
            for model in provider.models:
                self._configured[model] = (*self._configured.get(model, ()), name)
        self.aliases: dict[str, tuple[Target, ...]] = {
            alias: tuple(self._alias_target(alias, candidate) for candidate in candidates)
            for alias, candidates in config.models.items()
        }

    def _alias_target(self, alias: str, candidate: str) -> Target:
        target = self._split(candidate)
        if target is None and self.default_provider is not None:
            target = Target(self.default_provider, candidate)
        if target is None or not target.model:
            raise ValueError(f"models.{alias}: {candidate!r} is not provider/model of a configured provider")
        return target

    # Plans

    def targets(
        self,
        model: str,
        fallbacks: Sequence[str],
        principal: Principal,
        catalog: Catalog,
        *,
        rand: float,
        session: str | None = None,
    ) -> list[Target]:
        """The targets to try, in order, without duplicates: at least one. Raises as `plan` does."""
        # fast path: what was planned for the same caller and model; test_router compares it with `plan`.
        # Never where chance or the conversation has a say, nor for a caller's own key, which is a principal of its own.
        if fallbacks or principal.direct is not None:
            return self.plan(model, fallbacks, principal, catalog, rand=rand, session=session).targets
        if catalog is not self._catalog or len(self._plans) > _MAX_PLANS:
            self._plans = {}
            self._catalog = catalog
        key = principal.kind, principal.name, model
        known = self._plans.get(key)
        if known is not None and known[0] is principal.key:
            return known[1].copy()
        plan = self.plan(model, fallbacks, principal, catalog, rand=rand, session=session)
        if plan.rule != "virtual_key":
            self._plans[key] = principal.key, plan.targets.copy()
        return plan.targets

    def plan(
        self,
        model: str,
        fallbacks: Sequence[str],
        principal: Principal,
        catalog: Catalog,
        *,
        rand: float,
        session: str | None = None,
    ) -> Plan:
        """The targets and how they came about.

        Raises `GatewayError`: not_found, invalid_request (a name is empty or too long), and for the primary alone
        model_blocked, provider_blocked or virtual_key_required.
        """
        _check_name(model, "model")
        model = self.base_name(model)
        primary, rule = self._primary(model, principal, catalog, rand, session, more=not fallbacks)
        targets: list[Target] = []
        left_out: list[tuple[Target, GatewayError]] = []
        self._admit(primary, principal, targets, left_out)
        if not targets:
            raise left_out[0][1]
        for index, fallback in enumerate(fallbacks):
            _check_name(fallback, f"fallbacks.{index}")
            self._admit(self._fallback(self.base_name(fallback), targets[0].provider), principal, targets, left_out)
        return Plan(targets, rule, left_out)

    def base_name(self, model: str) -> str:
        """The name without a client's decoration, unless it is an alias as it stands."""
        return model if model in self.aliases else _DECORATION.sub("", model)

    def _admit(
        self,
        candidates: Sequence[Target],
        principal: Principal,
        targets: list[Target],
        left_out: list[tuple[Target, GatewayError]],
    ) -> None:
        for target in candidates:
            if target in targets:
                continue
            own_key = not targets and self._takes(principal, target.provider)
            refusal = self._refusal(principal, target.provider, target.model, own_key=own_key)
            if refusal is None:
                targets.append(target)
            else:
                left_out.append((target, refusal))

    def _primary(
        self, model: str, principal: Principal, catalog: Catalog, rand: float, session: str | None, *, more: bool
    ) -> tuple[Sequence[Target], str]:
        alias = self.aliases.get(model)
        target = self._split(model)
        grants = principal.key.grants if principal.key is not None else None
        if grants is not None and target is None:
            eligible = self._eligible(model, grants, catalog, exactly=alias is not None)
            if eligible:
                return _by_weight(model, eligible, rand, session, more=more), "virtual_key"
        if alias is not None:
            return alias, "alias"
        if target is not None:
            if not target.model:
                raise GatewayError("invalid_request", "model: a model must follow the provider's name")
            return (target,), "named"
        known = self._known(model, catalog)
        if known:
            allowed = (name for name in known if self._refusal(principal, name, model, own_key=False) is None)
            takes = (name for name in known if self._takes(principal, name))
            return (Target(next(allowed, next(takes, known[0])), model),), "catalog"
        if self.default_provider is not None:
            return (Target(self.default_provider, model),), "default"
        raise self._not_found(model, principal, catalog)

    def _eligible(self, model: str, grants: Mapping[str, Grant], catalog: Catalog, *, exactly: bool) -> list[Grant]:
        """The grants of a virtual key that may serve a bare name."""
        allowed = [
            grant
            for grant in grants.values()
            if grant.weight > 0
            and (model in grant.models.exact if exactly else grant.models.allow(model))
            and grant.provider in self.providers
            and self.providers[grant.provider].may_serve(model)
        ]
        known = self._known(model, catalog)
        return [grant for grant in allowed if grant.provider in known] or allowed

    def _known(self, model: str, catalog: Catalog) -> tuple[str, ...]:
        """The configured providers known to have a model, the default provider first."""
        listed = (*catalog.get(model, ()), *self._configured.get(model, ()))
        if not listed:
            return ()
        default = self.default_provider
        return tuple(sorted((name for name in self.providers if name in listed), key=lambda name: name != default))

    def _fallback(self, name: str, provider: str) -> Sequence[Target]:
        alias = self.aliases.get(name)
        if alias is not None:
            return alias
        target = self._split(name)
        if target is not None and not target.model:
            raise GatewayError("invalid_request", "fallbacks: a model must follow the provider's name")
        return (target or Target(provider, name),)

    def _split(self, name: str) -> Target | None:
        provider, slash, model = name.partition("/")
        return Target(provider, model) if slash and provider in self.providers else None

    # Permissions

    def may(self, principal: Principal, provider: str, model: str) -> None:
        """Raises `GatewayError` when the principal may not use the model there (as the first candidate)."""
        refusal = self._refusal(principal, provider, model, own_key=self._takes(principal, provider))
        if refusal is not None:
            raise refusal

    def _refusal(self, principal: Principal, provider: str, model: str, *, own_key: bool) -> GatewayError | None:
        """Why the principal may not use a target, or None; ``own_key``: it would be served with the caller's own."""
        policy = self.providers.get(provider)
        if policy is None:
            return GatewayError("not_found", f"There is no provider {_shown(provider)} here")
        key = principal.key
        if key is not None and key.grants is not None:
            grant = key.grants.get(provider)
            if grant is None:
                return GatewayError(
                    "provider_blocked", f"The virtual key {key.name!r} may not use the provider {provider!r}"
                )
            if model and not grant.models.allow(model):
                return GatewayError(
                    "model_blocked", f"The virtual key {key.name!r} may not use {_shown(model)} at {provider!r}"
                )
        if not principal.gateway_keys and (policy.keyless or not own_key):
            return GatewayError("virtual_key_required", f"A virtual key is required to use the provider {provider!r}")
        if not own_key and not policy.may_serve(model):
            return GatewayError("model_blocked", f"No key of the provider {provider!r} may serve {_shown(model)}")
        return None

    def _takes(self, principal: Principal, provider: str) -> bool:
        """Whether the provider would be served with the caller's own key, were it the first target."""
        return provider in self.providers and self.providers[provider].takes(principal.direct)

    # Keys

    def keys(self, provider: str) -> tuple[Key, ...]:
        """The provider's whole pool."""
        return self.providers[provider].keys

    def choose_key(
        self,
        provider: str,
        model: str,
        *,
        now: float,
        rand: float,
        tried: Collection[str],
        cooling: Cooldowns,
        pin: str | None = None,
        session: str | None = None,
        even_cooling: bool = False,
    ) -> Key | None:
        """The key to use next; None when no key that may serve the model is left.

        Never one in ``tried`` (names). A key that cools down is passed over, unless it is pinned, or ``even_cooling``
        says that there is nothing else: then the provider's own answer is worth more than a guess at it.
        Raises `GatewayError` invalid_request when ``pin`` is no key of this provider.
        """
        policy = self.providers[provider]
        keys = policy.keys
        if pin is not None:
            key = _pinned(policy, pin)
            return key if key.name not in tried and key.may_serve(model) else None
        if len(keys) == 1 and not tried and not cooling:
            # fast path: one key and nothing against it; test_router compares it with the general case
            return keys[0] if keys[0].may_serve(model) else None
        usable = [key for key in policy.pool(model) if key.name not in tried]
        if cooling and not even_cooling:
            usable = [key for key in usable if not cooling.cooling(provider, key.name, model, now)]
        if session is not None and len(usable) > 1:
            return rendezvous(usable, _share, _key_id, session)
        return weighted(usable, _share, rand)

    def pinned(self, targets: Sequence[Target], pin: str) -> list[Target]:
        """The targets that the pinned key can serve; raises `GatewayError` when there is none."""
        holders = [target for target in targets if _find(self.providers[target.provider], pin) is not None]
        if not holders:
            _pinned(self.providers[targets[0].provider], pin)
        kept = [target for target in holders if _pinned(self.providers[target.provider], pin).may_serve(target.model)]
        if not kept:
            raise GatewayError("model_blocked", f"The key {_shown(pin)} may not serve {_shown(holders[0].model)}")
        return kept

    # Lists

    def visible_models(self, principal: Principal, listed: Mapping[str, Sequence[str]]) -> list[str]:
        """The names a principal may ask for: aliases, then each provider's models as ``listed`` and configured.

        A model of the default provider is shown by its bare id, unless that is an alias; others as ``provider/id``.
        """
        names = {alias: None for alias, targets in self.aliases.items() if any(self._usable(principal, targets))}
        default = self.default_provider
        for provider in sorted(self.providers, key=lambda name: name != default):
            known = (*listed.get(provider, ()), *self.providers[provider].models, *_granted(principal, provider))
            for model in dict.fromkeys(known):
                if any(self._usable(principal, (Target(provider, model),))):
                    bare = provider == default and model not in names and self._split(model) is None
                    names[model if bare else f"{provider}/{model}"] = None
        return list(names)

    def listed_targets(self, name: str, catalog: Catalog) -> Sequence[Target]:
        """What a name from a list of models stands for, whoever asks; empty when no rule places it."""
        alias = self.aliases.get(name)
        if alias is not None:
            return alias
        target = self._split(name)
        if target is not None:
            return (target,)
        providers = self._known(name, catalog) or ((self.default_provider,) if self.default_provider else ())
        return [Target(provider, name) for provider in providers]

    def resource_targets(self, principal: Principal) -> list[Target]:
        """The providers whose files and batches the principal may use, the default one first; raises when none."""
        default = self.default_provider
        candidates = [Target(name, "") for name in sorted(self.providers, key=lambda name: name != default)]
        targets: list[Target] = []
        left_out: list[tuple[Target, GatewayError]] = []
        self._admit(candidates, principal, targets, left_out)
        if not targets:
            raise left_out[0][1] if left_out else GatewayError("not_found", "No provider is configured")
        return targets

    def _usable(self, principal: Principal, targets: Sequence[Target]) -> Iterator[Target]:
        for target in targets:
            own_key = self._takes(principal, target.provider)
            if self._refusal(principal, target.provider, target.model, own_key=own_key) is None:
                yield target

    def _not_found(self, model: str, principal: Principal, catalog: Catalog) -> GatewayError:
        if not self.providers:
            return GatewayError("not_found", "No provider is configured")
        near: list[str] = []
        if len(model) <= _MAX_SHOWN_CHARS:
            known = list(dict.fromkeys((*self.aliases, *self._configured, *catalog)))[:_MAX_COMPARED]
            near = get_close_matches(model, known, n=3, cutoff=0.6)
            near = [name for name in near if any(self._usable(principal, self.listed_targets(name, catalog)))]
        hint = f"the nearest known are {', '.join(near)}" if near else "name its provider, as in provider/model"
        return GatewayError("not_found", f"model: no provider is known for {_shown(model)}; {hint}")


def _default_provider(config: Config) -> str | None:
    named = config.routing.default_provider
    if named is not None:
        if named not in config.providers:
            raise ValueError(f"routing.default_provider: {named!r} is not a configured provider")
        return named
    if "anthropic" in config.providers:
        return "anthropic"
    return next(iter(config.providers)) if len(config.providers) == 1 else None


def _by_weight(
    model: str, eligible: Sequence[Grant], rand: float, session: str | None, *, more: bool
) -> Sequence[Target]:
    """The provider chosen for a bare name, and with ``more`` the others after it."""
    if session is not None:
        first = rendezvous(eligible, _weight, _grant_provider, session)
    else:
        first = weighted(eligible, _weight, rand)
    others = [grant for grant in eligible if grant is not first] if more else []
    others.sort(key=_weight, reverse=True)
    return [Target(grant.provider, model) for grant in (first, *others) if grant is not None]


_grant_provider = attrgetter("provider")
_key_id = attrgetter("id")


def _find(policy: ProviderPolicy, pin: str) -> Key | None:
    return next((key for key in policy.keys if pin in (key.name, key.id)), None)


def _pinned(policy: ProviderPolicy, pin: str) -> Key:
    key = _find(policy, pin)
    if key is None:
        raise GatewayError("invalid_request", f"x-bf-api-key: {policy.name!r} has no key {_shown(pin)}")
    return key


def _check_name(name: str, field: str) -> None:
    if not 0 < len(name) <= _MAX_NAME_CHARS:
        raise GatewayError("invalid_request", f"{field}: String should have 1 to {_MAX_NAME_CHARS} characters")


def _shown(name: str) -> str:
    """A name from outside, in quotation marks and no longer than a line."""
    return repr(name if len(name) <= _MAX_SHOWN_CHARS else f"{name[:_MAX_SHOWN_CHARS]}…")


def _granted(principal: Principal, provider: str) -> list[str]:
    """The models that a virtual key names at a provider."""
    grants = principal.key.grants if principal.key is not None else None
    grant = grants.get(provider) if grants is not None else None
    return sorted(grant.models.exact) if grant is not None else []
