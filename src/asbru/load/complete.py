"""What a configuration leaves unsaid, filled in: known providers, usual environment variables, names, defaults.

Afterwards every provider has a dialect, a base URL (but for an embedded one, which gets its own when it is started)
and named keys; ``auth.required``, ``routing.default_provider`` and the virtual keys' ``files_and_batches`` are decided.
Nothing that was said is changed, except that URLs lose their trailing slash.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from asbru.config import Auth, Config, Provider
from asbru.load.decode import Decoder
from asbru.load.known import complete as complete_provider
from asbru.load.known import configures_itself, trimmed
from asbru.policy.isolation import decided
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
        if name not in said and configures_itself(facts, environ):
            said[name] = Provider()
    if not said:
        _note_empty(known, environ, decoder)
        said[SANDBOX] = Provider()
    direct = config.auth.allow_direct_keys
    providers = {
        name: complete_provider(name, provider, known, direct, environ, decoder) for name, provider in said.items()
    }
    auth = _auth(config, environ, decoder)
    routing = config.routing
    if routing.default_provider is None:
        routing = replace(routing, default_provider=_default_provider(providers))
    server = replace(config.server, public_url=trimmed(config.server.public_url))
    whole = replace(config, server=server, providers=providers, auth=auth, routing=routing)
    return replace(whole, virtual_keys=decided(whole))


def _note_empty(known: Mapping[str, KnownProvider], environ: Mapping[str, str], decoder: Decoder) -> None:
    """A usual variable that is set but empty: who set it expects its provider, not the sandbox."""
    for name, facts in known.items():
        for variable in facts.env if facts.implicit else ():
            if variable in environ and not environ[variable].strip():
                decoder.note(("providers", name), f"the environment variable {variable} is empty; set or unset it")


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
