"""What a configuration leaves unsaid, filled in: known providers, usual environment variables, names, defaults.

Afterwards every provider has a dialect, a base URL (but for an embedded one, which gets its own when it is started)
and named keys; ``auth.required`` and ``routing.default_provider`` are decided. Nothing that was said is changed, except
that URLs lose their trailing slash.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from asbru.config import Auth, Config, Provider, ProviderKey
from asbru.load.decode import Decoder
from asbru.load.problems import nearest
from asbru.secrets import Secret
from asbru.upstream.catalog import KnownProvider, known_providers

MASTER_KEY_VARIABLE = "ASBRU_MASTER_KEY"
PREFERRED_PROVIDER = "anthropic"
SANDBOX = "sandbox"


def complete(config: Config, environ: Mapping[str, str], decoder: Decoder) -> Config:
    """The whole configuration; what cannot be completed is noted at ``decoder``."""
    known = known_providers()
    said = dict(config.providers)
    for name, facts in known.items():
        if name not in said and _usual_variable(facts, environ) is not None:
            said[name] = Provider()
    if not said:
        said[SANDBOX] = Provider()
    providers = {
        name: _known(provider, known[name], config.auth.allow_direct_keys, environ, decoder)
        if name in known
        else _other(name, provider, known, decoder)
        for name, provider in said.items()
    }
    auth = _auth(config, environ, decoder)
    routing = config.routing
    if routing.default_provider is None:
        routing = replace(routing, default_provider=_default_provider(providers))
    server = replace(config.server, public_url=_trimmed(config.server.public_url))
    return replace(config, server=server, providers=providers, auth=auth, routing=routing)


def _other(name: str, provider: Provider, known: Mapping[str, KnownProvider], decoder: Decoder) -> Provider:
    missing = [field for field in ("dialect", "base_url") if getattr(provider, field) is None]
    if missing:
        needs = " and ".join(f"`{field}`" for field in missing)
        hint = nearest(name, known, "known providers")
        decoder.note(("providers", name), f"not a known provider, so it needs {needs}{hint}")
    return replace(provider, base_url=_trimmed(provider.base_url), keys=_named(provider.keys))


def _known(
    provider: Provider, facts: KnownProvider, direct: bool, environ: Mapping[str, str], decoder: Decoder
) -> Provider:
    keys = provider.keys
    path = ("providers", facts.name)
    variable = _usual_variable(facts, environ)
    if not keys and facts.key is not None:
        keys = (ProviderKey(name=facts.name, value=Secret(facts.key, "built-in")),)
    elif not keys and variable is not None and provider.base_url is None:
        secret = decoder.secret(f"env.{variable}", (*path, "keys"))
        keys = (ProviderKey(value=secret),) if isinstance(secret, Secret) else ()
    elif not keys and not direct and provider.base_url is None:
        decoder.note(path, f"has no key: give it `keys`, or set {' or '.join(facts.env)}")
    elif not keys and not direct:
        # The usual variable's key goes to the usual place only; for another, the configuration must say so.
        usual = f"[{{value: env.{facts.env[0]}}}]"
        decoder.note(path, f"has no key: with a `base_url` of its own it needs `keys`, such as {usual}")
    return replace(
        provider,
        dialect=provider.dialect or facts.dialect,
        base_url=_trimmed(provider.base_url) or facts.base_url,
        keys=_named(keys),
    )


def _usual_variable(facts: KnownProvider, environ: Mapping[str, str]) -> str | None:
    return next((name for name in facts.env if environ.get(name, "").strip()), None)


def _trimmed(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


def _named(keys: tuple[ProviderKey, ...]) -> tuple[ProviderKey, ...]:
    return tuple(key if key.name else replace(key, name=f"key-{index}") for index, key in enumerate(keys, 1))


def _auth(config: Config, environ: Mapping[str, str], decoder: Decoder) -> Auth:
    auth = config.auth
    # Set but empty is noted as a fault: who set it believes that a key is required.
    if auth.master_key is None and MASTER_KEY_VARIABLE in environ:
        secret = decoder.secret(f"env.{MASTER_KEY_VARIABLE}", ("auth", "master_key"))
        auth = replace(auth, master_key=secret if isinstance(secret, Secret) else None)
    if auth.required is None:
        auth = replace(auth, required=bool(config.virtual_keys) or auth.master_key is not None)
    return auth


def _default_provider(providers: Mapping[str, Provider]) -> str | None:
    if PREFERRED_PROVIDER in providers:
        return PREFERRED_PROVIDER
    return next(iter(providers)) if len(providers) == 1 else None
