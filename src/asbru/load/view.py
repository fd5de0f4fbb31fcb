"""A configuration as people see it: whole without its secrets, or in the few lines that a start prints."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from asbru.config import Config, Provider, ProviderKey
from asbru.secrets import HIDDEN, Secret
from asbru.upstream.catalog import known_providers

_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (listened on, but not an address to call)
_MAX_ALIASES = 10


def redacted(config: Config) -> dict[str, object]:
    """The configuration as plain values, each secret as the reference it came from or as ``***``."""
    plain: dict[str, object] = msgspec.to_builtins(config, enc_hook=_origin)
    return plain


def _origin(value: object) -> str:
    if isinstance(value, Secret):
        return value.origin
    raise TypeError(f"a {type(value).__name__} in the configuration")


def describe(config: Config, port: int | None = None, file: str | None = None) -> list[str]:
    """What a start prints; ``port`` is the one that was taken when the configuration says 0, ``file`` what was read."""
    port = config.server.port if port is None else port
    lines = [f"asbru listens on {_url(config.server.host, port)}"]
    if file is not None:
        lines.append(f"  configuration: {file}")
    return [*lines, *summary(config), "try:", f"  {_curl(config, port)}"]


def summary(config: Config) -> list[str]:
    """Providers, aliases and access in a line each."""
    lines: list[str] = []
    for name, provider in config.providers.items():
        where = provider.base_url or "built in"
        keys = ", ".join(f"{key.name} ({_key_origin(key)})" for key in provider.keys) or "none"
        speaks = f"{provider.dialect} in {provider.envelope}'s envelope" if provider.envelope else provider.dialect
        lines.append(f"  provider {name}: {speaks}, {where}; keys: {keys}")
    if config.models:
        more = len(config.models) - _MAX_ALIASES
        shown = ", ".join(list(config.models)[:_MAX_ALIASES])
        lines.append(f"  aliases: {shown}{f' and {more} more' if more > 0 else ''}")
    lines.append(f"  auth: {_auth(config)}")
    return lines


def _key_origin(key: ProviderKey) -> str:
    """Where a credential comes from, never what it is."""
    if key.value is not None:
        return key.value.origin
    if key.aws is not None:
        held = key.aws.access_key_id
        source = held.origin if held else f"profile {key.aws.profile}" if key.aws.profile else "found at the start"
        return f"AWS, {source}"
    return "Google Cloud" if key.google is not None else "Microsoft Entra"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _auth(config: Config) -> str:
    auth = config.auth
    count = len(config.virtual_keys)
    parts = [
        "required" if auth.required else "not required",
        f"{count} virtual key{'' if count == 1 else 's'}",
        *_closed(config),
        "no master key" if auth.master_key is None else f"master key ({auth.master_key.origin})",
    ]
    if auth.allow_direct_keys:
        parts.append("callers' own provider keys are used")
    return ", ".join(parts)


def _closed(config: Config) -> list[str]:
    """How many virtual keys may not use files and batches; ``asbru check`` shows which."""
    closed = sum(not key.files_and_batches for key in config.virtual_keys)
    return [f"files and batches closed to {closed} of them"] if closed else []


def _curl(config: Config, port: int) -> str:
    """One line for a shell; a key stands in it only as the name of its variable."""
    host = config.server.host
    url = _url(_UNSPECIFIED.get(host, host), port)
    request = {
        "model": _example_model(config),
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    body = msgspec.json.encode(request).decode().replace("'", "'\\''")
    credential = f'-H "x-api-key: ${_key_variable(config)}" ' if config.auth.required else ""
    return (
        f"curl {url}/v1/messages {credential}-H 'anthropic-version: 2023-06-01' "
        f"-H 'content-type: application/json' -d '{body}'"
    )


def _key_variable(config: Config) -> str:
    """The environment variable of a key that is let in; ``KEY`` when none came from a variable."""
    secrets = [key.value for key in config.virtual_keys if key.active] + [config.auth.master_key]
    for secret in secrets:
        if secret is not None and secret.origin != HIDDEN:
            kind, _, name = secret.origin.replace("os.environ/", "env.").partition(".")
            if kind == "env":
                return name
    return "KEY"


def _example_model(config: Config) -> str:
    """A name that this gateway places: an alias, or a model of the default provider, or of any."""
    if config.models:
        return next(iter(config.models))
    default = config.routing.default_provider
    for name, provider in sorted(config.providers.items(), key=lambda item: item[0] != default):
        for model in _models(name, provider):
            return model if name == default else f"{name}/{model}"
    return "MODEL"


def _models(name: str, provider: Provider) -> Iterator[str]:
    yield from provider.models
    for key in provider.keys:
        yield from key.aliases
        yield from (pattern for pattern in key.models if "*" not in pattern)
    known = known_providers().get(provider.like or name)
    if known is not None:
        yield known.example_model
