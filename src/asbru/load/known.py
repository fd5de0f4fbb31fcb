"""One provider, completed from what is known of it: where it is, what it speaks, its usual key, its quirks.

What a configuration says goes before what its environment says, and that before `asbru.upstream.catalog`. A key that is
usually at hand goes to the usual place only: with a ``base_url`` of its own a provider needs ``keys`` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from msgspec.structs import fields, replace

from asbru.config import Aws, Entra, Google, Provider, ProviderKey
from asbru.load.decode import Decoder
from asbru.load.problems import Path, nearest, quoted
from asbru.secrets import Secret
from asbru.upstream.catalog import DEFAULT_HEADERS, KnownProvider, Placeholder

DEFAULT_SERVICE = "bedrock"
_TYPES = {field.name: field.type for field in fields(Provider)}


def usual_variable(facts: KnownProvider, environ: Mapping[str, str]) -> str | None:
    """The environment variable that holds the provider's key."""
    return _first(facts.env, environ)


def configures_itself(facts: KnownProvider, environ: Mapping[str, str]) -> bool:
    """Whether the environment alone says all that the provider needs."""
    if not facts.implicit or usual_variable(facts, environ) is None:
        return False
    needed = _placeholders(facts.base_url or "") - facts.defaults.keys()
    at_hand = {name for name, variables in facts.variables.items() if _first(variables, environ)}
    return _first(facts.url_env, environ) is not None or needed <= at_hand


def complete(
    name: str,
    said: Provider,
    known: Mapping[str, KnownProvider],
    direct: bool,
    environ: Mapping[str, str],
    decoder: Decoder,
) -> Provider:
    """The provider with everything filled in; what is missing is noted at ``decoder``."""
    path: Path = ("providers", name)
    if said.like is not None and said.like not in known:
        decoder.note((*path, "like"), f"{quoted(said.like)} is not a known provider{nearest(said.like, known)}")
        return said
    facts = known.get(said.like or name)
    if facts is None:
        return _named(_other(name, said, known, environ, decoder))
    dialect = said.dialect or facts.dialect
    if said.base_url is None and dialect not in (facts.dialect, *facts.dialects):
        spoken = ", ".join(quoted(each) for each in (facts.dialect, *facts.dialects))
        decoder.note((*path, "dialect"), f"{facts.name} speaks {spoken}; for another, give a `base_url` where it is")
    placed = _placed(said, facts, dialect, environ, decoder, path)
    quirks = {**facts.quirks, **_dated_quirks(placed, facts, dialect), **said.quirks}
    return _named(
        replace(
            placed,
            dialect=dialect,
            envelope=said.envelope or (facts.envelope if dialect == facts.dialect else None),
            credential=said.credential or facts.credential,
            keys=_keys(said, facts, direct, environ, decoder, path),
            quirks=quirks,
            list_models=said.list_models or facts.list_models,
        )
    )


def _other(
    name: str, said: Provider, known: Mapping[str, KnownProvider], environ: Mapping[str, str], decoder: Decoder
) -> Provider:
    """A provider of which nothing is known."""
    path: Path = ("providers", name)
    missing = [field for field in ("dialect", "base_url") if getattr(said, field) is None]
    if missing:
        needs = " and ".join(f"`{field}`" for field in missing)
        hint = nearest(name, known, "known providers")
        decoder.note(path, f"not a known provider, so it needs {needs}{hint}")
    if said.api_version is not None:
        decoder.note((*path, "api_version"), "is of use only for azure-openai; say `like: azure-openai`, or `quirks`")
    signs = any(key.aws is not None for key in said.keys)
    _note_useless(said, {"region"} if signs else set(), decoder, path)
    return replace(
        said,
        base_url=trimmed(said.base_url),
        credential=said.credential or DEFAULT_HEADERS.get(said.dialect or ""),
        keys=tuple(_filled(key, None, environ, decoder, (*path, "keys", at)) for at, key in enumerate(said.keys)),
        list_models=said.list_models or ("none" if said.envelope or said.dialect == "bedrock-converse" else "asked"),
    )


# Where it is


def _placed(
    said: Provider, facts: KnownProvider, dialect: str, environ: Mapping[str, str], decoder: Decoder, path: Path
) -> Provider:
    """With its base URL and what stands in it."""
    dated = facts.dated if said.api_version is not None else None
    if said.api_version is not None and (dated is None or dialect not in dated.paths):
        decoder.note((*path, "api_version"), f"is of no use for {facts.name} with the dialect {quoted(dialect)}")
    url = trimmed(said.base_url)
    if url is None and said.resource is None and (variable := _first(facts.url_env, environ)) is not None:
        url = trimmed(str(decoder.leaf(_TYPES["base_url"], f"env.{variable}", (*path, "base_url")) or ""))
    _note_useless(said, set(facts.variables), decoder, path)
    values: dict[Placeholder, str] = {}
    for field, variables in facts.variables.items():
        value = getattr(said, field) or _from_environment(field, variables, environ, decoder, path)
        value = value or facts.defaults.get(field)
        if value is not None:
            values[field] = value
    template = (dated.base_url if dated else facts.base_urls.get(values.get("region", ""), facts.base_url)) or ""
    if url is not None:
        # Operators write the host alone: the path is as usual, as far as it can be filled in.
        usual_path = template.partition("://")[2].partition("/")[2]
        whole = "/" in url.partition("://")[2] or _placeholders(usual_path) - values.keys()
        template = "" if whole else usual_path
    missing = _placeholders(template) - values.keys()
    if facts.signing == "aws" and "region" not in values:
        missing.add("region")  # signatures name it, wherever the provider is
    for field in sorted(missing):
        usual = " or ".join(facts.variables[field])
        decoder.note(path, f"needs `{field}`, or set {usual}")
    rest = template.format(**values) if not missing else ""
    if url is not None:
        return replace(said, base_url=f"{url}/{rest}" if rest else url, **values)
    return replace(said, base_url=rest or None, **values)


def _note_useless(said: Provider, used: set[Placeholder], decoder: Decoder, path: Path) -> None:
    for field in get_args(Placeholder):
        if getattr(said, field) is not None and field not in used:
            decoder.note((*path, field), "is of no use for this provider")


def _from_environment(
    field: str, variables: tuple[str, ...], environ: Mapping[str, str], decoder: Decoder, path: Path
) -> str | None:
    variable = _first(variables, environ)
    if variable is None:
        return None
    value = decoder.leaf(_TYPES[field], environ[variable].strip(), (*path, field))
    return str(value) if value is not None else None


def _placeholders(template: str) -> set[Placeholder]:
    return {field for field in get_args(Placeholder) if f"{{{field}}}" in template}


def _dated_quirks(said: Provider, facts: KnownProvider, dialect: str) -> dict[str, str]:
    dated = facts.dated
    if said.api_version is None or dated is None or dialect not in dated.paths:
        return {}
    return {"path": dated.paths[dialect], "query": dated.query.replace("{api_version}", said.api_version)}


# Its keys

_SIGNING = {
    "aws": ProviderKey(aws=Aws()),
    "google": ProviderKey(google=Google()),
    "entra": ProviderKey(entra=Entra()),
}


def _keys(
    said: Provider, facts: KnownProvider, direct: bool, environ: Mapping[str, str], decoder: Decoder, path: Path
) -> tuple[ProviderKey, ...]:
    if said.keys:
        return tuple(_filled(key, facts, environ, decoder, (*path, "keys", at)) for at, key in enumerate(said.keys))
    if facts.key is not None:
        return (ProviderKey(name=facts.name, value=Secret(facts.key, "built-in")),)
    usual_place = said.base_url is None
    variable = usual_variable(facts, environ)
    if usual_place and variable is None and decoder.allow_missing and facts.env and not facts.keyless:
        variable = facts.env[0]
    if usual_place and variable is not None:
        secret = decoder.secret(f"env.{variable}", (*path, "keys"))
        return (ProviderKey(value=secret),) if isinstance(secret, Secret) else ()
    if usual_place and facts.signing is not None and (facts.signing != "entra" or _has_entra(environ)):
        return (_filled(_SIGNING[facts.signing], facts, environ, decoder, (*path, "keys")),)
    if direct or facts.keyless:
        return ()
    if usual_place:
        decoder.note(path, f"has no key: give it `keys`, or set {' or '.join(facts.env)}")
    else:
        usual = f"[{{value: env.{facts.env[0]}}}]" if facts.env else f"[{{{facts.signing}: {{}}}}]"
        decoder.note(path, f"has no key: with a `base_url` of its own it needs `keys`, such as {usual}")
    return ()


def _filled(
    key: ProviderKey, facts: KnownProvider | None, environ: Mapping[str, str], decoder: Decoder, path: Path
) -> ProviderKey:
    """A key with what the environment says of it and what is known of its service."""
    if key.aws is not None:
        service = key.aws.service or (facts.service if facts and facts.signing == "aws" else None) or DEFAULT_SERVICE
        return replace(key, aws=replace(_aws(key.aws, environ, decoder, path), service=service))
    if key.entra is not None:
        scope = key.entra.scope or (facts.service if facts and facts.signing == "entra" else None)
        return replace(key, entra=replace(_entra(key.entra, environ, decoder, path), scope=scope))
    return key


def _aws(aws: Aws, environ: Mapping[str, str], decoder: Decoder, path: Path) -> Aws:
    if aws.access_key_id is not None or aws.profile is not None:
        return aws
    if not (environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY")):
        return aws
    names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
    if environ.get("AWS_SESSION_TOKEN"):
        names["session_token"] = "AWS_SESSION_TOKEN"  # noqa: S105  (a variable's name)
    secrets = {field: decoder.secret(f"env.{variable}", (*path, "aws", field)) for field, variable in names.items()}
    return replace(aws, **{field: secret for field, secret in secrets.items() if isinstance(secret, Secret)})


_ENTRA = {
    "tenant_id": "AZURE_TENANT_ID",
    "client_id": "AZURE_CLIENT_ID",
    "federated_token_file": "AZURE_FEDERATED_TOKEN_FILE",
    "authority": "AZURE_AUTHORITY_HOST",
}


def _has_entra(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("AZURE_CLIENT_ID"))


def _entra(entra: Entra, environ: Mapping[str, str], decoder: Decoder, path: Path) -> Entra:
    found: dict[str, object] = {
        field: environ[variable].strip()
        for field, variable in _ENTRA.items()
        if getattr(entra, field) is None and environ.get(variable, "").strip()
    }
    if entra.client_secret is None and environ.get("AZURE_CLIENT_SECRET"):
        secret = decoder.secret("env.AZURE_CLIENT_SECRET", (*path, "entra", "client_secret"))
        if isinstance(secret, Secret):
            found["client_secret"] = secret
    return replace(entra, **found)


# Small things


def _first(variables: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((name for name in variables if environ.get(name, "").strip()), None)


def trimmed(url: str | None) -> str | None:
    """Without its trailing slash."""
    return url.rstrip("/") if url else None


def _named(provider: Provider) -> Provider:
    keys = tuple(key if key.name else replace(key, name=f"key-{at}") for at, key in enumerate(provider.keys, 1))
    return replace(provider, keys=keys)
