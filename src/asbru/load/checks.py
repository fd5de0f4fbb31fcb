"""What no single field can say: names that lead nowhere, entries that nothing can reach, values that contradict.

Every check is of a complete configuration and notes what it finds with its place; none raises. Each entry that
could never take effect is refused, because an operator who wrote it believes that it does. What a name means and which
key may serve it is asked of `asbru.policy`, which decides it for requests too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import cast
from urllib.parse import urlsplit

from asbru.config import Config, Provider, VirtualKey
from asbru.headers import may_be_kept
from asbru.load.credentials import check_credentials
from asbru.load.decode import Decoder
from asbru.load.problems import Path, nearest, quoted
from asbru.load.quirks import check_quirks
from asbru.policy.keys import compile_provider
from asbru.secrets import VIRTUAL_KEY_PREFIX, digest
from asbru.server.listen import unresolvable
from asbru.upstream.dial import tls_context
from asbru.upstream.origin import Origin
from asbru.upstream.proxy import proxy_for
from asbru.upstream.reach import rule_fault

Note = Callable[[Path, str], object]

UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104  (every address of this machine)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+")


def check(config: Config, environ: Mapping[str, str], decoder: Decoder) -> None:
    """Note at ``decoder`` everything that is wrong with a complete configuration."""
    note = decoder.note
    _check_auth(config, note)
    _check_default_provider(config, note)
    if config.server.public_url is not None and (fault := _url_fault(config.server.public_url)) is not None:
        note(("server", "public_url"), fault)
    for index, origin in enumerate(config.server.cors.origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            note(("server", "cors", "origins", index), "must be what browsers send, such as https://app.example, or *")
    for name, provider in config.providers.items():
        _check_provider(config, name, provider, environ, note)
        check_credentials(provider, ("providers", name), note)
        check_quirks(provider, ("providers", name), decoder)
    _check_aliases(config, note)
    _check_virtual_keys(config, note)
    if config.stream.ping_s >= config.stream.idle_s:
        note(("stream", "ping_s"), "must be below `stream.idle_s`, or no ping is ever sent")
    _check_fetch(config, note)
    for name in config.prices:
        _place(config, name, ("prices", name), note)
    if not decoder.problems:
        _check_reach(config, note)


def open_to_others(config: Config) -> str | None:
    """Why ``serve`` refuses this without ``--insecure-open``, or None: anybody in reach could spend the keys."""
    if config.auth.required or is_loopback(config.server.host):
        return None
    if (fault := unresolvable(config.server.host)) is not None:
        return fault
    return "reachable from other machines, and no key is required: configure `virtual_keys` or `auth.master_key`"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach what listens on ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_auth(config: Config, note: Note) -> None:
    auth = config.auth
    if auth.master_key is not None and auth.master_key.reveal().lower().startswith(VIRTUAL_KEY_PREFIX):
        note(("auth", "master_key"), f"must not begin with {VIRTUAL_KEY_PREFIX}, as virtual keys do")
    if auth.required and auth.master_key is None and not config.virtual_keys:
        note(("auth", "required"), "is true, but there is neither a virtual key nor a master key: nobody gets in")


def _check_fetch(config: Config, note: Note) -> None:
    fetch = config.fetch
    if fetch.enabled and not fetch.hosts:
        note(("fetch", "hosts"), 'names no host, so nothing could be fetched; ["*"] allows every one')
    for index, rule in enumerate(fetch.hosts):
        if (fault := rule_fault(rule)) is not None:
            note(("fetch", "hosts", index), fault)


def _check_default_provider(config: Config, note: Note) -> None:
    name = config.routing.default_provider
    if name is not None and name not in config.providers:
        note(("routing", "default_provider"), _unknown_provider(config, name))


def _unknown_provider(config: Config, name: str) -> str:
    return f"{quoted(name)} is not a configured provider{nearest(name, config.providers, 'configured are')}"


def _twice(names: Iterable[str]) -> Iterable[tuple[int, str, int]]:
    """Every repetition: its position, the name, the position of the first."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            yield index, name, first[name]
        first.setdefault(name, index)


# Providers


def _check_provider(config: Config, name: str, provider: Provider, environ: Mapping[str, str], note: Note) -> None:
    path: Path = ("providers", name)
    if provider.base_url is not None:
        fault = _url_fault(provider.base_url)
        if fault is None and _is_own_address(config, provider.base_url):
            fault = "is this gateway's own address: its requests would go round in a circle"
        if fault is not None:
            note((*path, "base_url"), fault)
        else:
            _check_proxy(provider, provider.base_url, environ, (*path, "proxy"), note)
    if provider.envelope is not None and provider.dialect != "anthropic":
        note((*path, "envelope"), "goes with the dialect `anthropic` only")
    _check_tls(provider, (*path, "tls"), note)
    for direction in ("request", "response"):
        _check_headers(provider, direction, (*path, f"{direction}_headers"), note)
    if provider.breaker.pause_s > provider.breaker.max_pause_s:
        note((*path, "breaker", "pause_s"), "must not be above `max_pause_s`")
    _check_keys(name, provider, (*path, "keys"), note)


def _check_keys(name: str, provider: Provider, path: Path, note: Note) -> None:
    for index, repeated, first in _twice(key.name or "" for key in provider.keys):
        note((*path, index, "name"), f"{quoted(repeated)} is the name of keys[{first}] already")
    for index, key in enumerate(provider.keys):
        here = (*path, index)
        if not key.models:
            note((*here, "models"), 'an empty list allows nothing; leave it out or write ["*"]')
        _check_patterns(name, key.models, (*here, "models"), note)
        _check_patterns(name, key.exclude, (*here, "exclude"), note)
        if "*" in key.exclude:
            note((*here, "exclude"), "`*` leaves this key nothing to serve; remove the key instead")


def _check_patterns(provider: str, patterns: tuple[str, ...], path: Path, note: Note) -> None:
    for index, pattern in enumerate(patterns):
        if any(char.isspace() for char in pattern):
            note((*path, index), "a model's name has no space in it; give each pattern an entry of its own")
        elif pattern.startswith(f"{provider}/"):
            note((*path, index), f"give the model without {quoted(f'{provider}/')}")


def _url_fault(url: str) -> str | None:
    """What is wrong with a URL that paths are added to; never quotes it, it may hold a password."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds a space or a character that a URL may not have"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "must begin with https:// or http://"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    host = parts.hostname or ""
    if port == 0 or not (_HOST.fullmatch(host) or "[" in parts.netloc):
        return "has no valid host and port"
    try:
        host.encode("idna")  # as the resolver will have it: no label is empty or longer than 63 characters
    except UnicodeError:
        return "has no valid host and port"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment"
    for added in ("/v1/messages", "/chat/completions", "/responses"):
        if parts.path.rstrip("/").endswith(added.removeprefix("/v1")):
            return f"must end before `{added}`, which is added"
    return None


def _is_own_address(config: Config, url: str) -> bool:
    parts = urlsplit(url)
    host, own = parts.hostname or "", config.server.host
    if (parts.port or (443 if parts.scheme == "https" else 80)) != config.server.port:
        return False
    return host == own or (is_loopback(host) and (is_loopback(own) or own in UNSPECIFIED))


def _check_proxy(provider: Provider, url: str, environ: Mapping[str, str], path: Path, note: Note) -> None:
    parts = urlsplit(url)
    origin = Origin("https" if parts.scheme == "https" else "http", parts.hostname or "", parts.port or 443)
    try:
        proxy_for(origin, None if provider.proxy is None else provider.proxy.reveal(), environ)
    except ValueError as error:
        note(path, str(error))


def _check_tls(provider: Provider, path: Path, note: Note) -> None:
    tls = provider.tls
    missing = False
    for field in ("ca_file", "client_cert_file", "client_key_file"):
        name = cast("str | None", getattr(tls, field))
        if name is not None and not FilePath(name).is_file():
            note((*path, field), f"there is no file {quoted(name)}")
            missing = True
    if not missing and (tls.ca_file is not None or tls.client_cert_file is not None):
        try:
            tls_context(tls.ca_file, tls.client_cert_file, tls.client_key_file)
        except ValueError as error:
            note(path, str(error))
    if tls.client_key_file is not None and tls.client_cert_file is None:
        note((*path, "client_key_file"), "is of no use without `client_cert_file`")


def _check_headers(provider: Provider, direction: str, path: Path, note: Note) -> None:
    rules = provider.request_headers if direction == "request" else provider.response_headers
    for index, name in enumerate(rules.keep):
        if not may_be_kept(direction == "request", name):
            note((*path, "keep", index), f"{quoted(name)} is not a header that stops by default and may be kept")


# Models


def _place(config: Config, name: str, path: Path, note: Note) -> tuple[str, str] | None:
    """``provider/model`` in two, when the provider is a configured one."""
    provider, slash, model = name.partition("/")
    if not slash or not provider or not model:
        example = f"{next(iter(config.providers))}/{name.strip('/')}"
        note(path, f"must be provider/model, such as {quoted(example)}")
    elif provider not in config.providers:
        note(path, _unknown_provider(config, provider))
    else:
        return provider, model
    return None


def _check_aliases(config: Config, note: Note) -> None:
    for alias, candidates in config.models.items():
        path: Path = ("models", alias)
        if not candidates:
            note(path, "has no candidates")
        for index, repeated, first in _twice(candidates):
            note((*path, index), f"{quoted(repeated)} is entry [{first}] already")
        for index, candidate in enumerate(candidates):
            placed = _place(config, candidate, (*path, index), note)
            if placed is not None and "*" in placed[1]:
                note((*path, index), "must name one model, not a pattern")


def _check_reach(config: Config, note: Note) -> None:
    """What the keys' own lists keep from ever being asked for."""
    policies = {name: compile_provider(name, provider) for name, provider in config.providers.items()}
    for name, policy in policies.items():
        for position, key in enumerate(policy.keys):
            for alias in key.aliases:
                if not key.may_serve(alias):
                    path: Path = ("providers", name, "keys", position, "aliases", alias)
                    note(path, "is never used: this key's `models` and `exclude` keep it from both names")
    for alias, candidates in config.models.items():
        for index, candidate in enumerate(candidates):
            provider, _, model = candidate.partition("/")
            if not config.auth.allow_direct_keys and not policies[provider].may_serve(model):
                note(("models", alias, index), f"no key of {quoted(provider)} may serve {quoted(model)}")


# Virtual keys


def _check_virtual_keys(config: Config, note: Note) -> None:
    keys = config.virtual_keys
    for index, repeated, first in _twice(key.name for key in keys):
        note(("virtual_keys", index, "name"), f"{quoted(repeated)} is the name of virtual_keys[{first}] already")
    digests = [digest(key.value.reveal()) if key.value else key.digest or str(index) for index, key in enumerate(keys)]
    for index, _, first in _twice(digests):
        note(("virtual_keys", index), f"is the same key as virtual_keys[{first}]")
    for index, key in enumerate(keys):
        _check_virtual_key(config, key, ("virtual_keys", index), note)


def _check_virtual_key(config: Config, key: VirtualKey, path: Path, note: Note) -> None:
    if key.value is None and key.digest is None:
        note(path, "needs a `value` or a `digest`; `asbru keys generate` makes both")
    elif key.value is not None and key.digest is not None:
        note(path, "has both a `value` and a `digest`; give one of them")
    if key.value is not None and not _is_virtual_key(key.value.reveal()):
        note((*path, "value"), f"must begin with {VIRTUAL_KEY_PREFIX}; `asbru keys generate` makes one")
    if key.expires_at is not None and not _is_time(key.expires_at):
        note((*path, "expires_at"), "must be a time with its offset (RFC 3339), such as 2027-01-31T12:00:00Z")
    for index, repeated, first in _twice(each.name for each in key.providers):
        note((*path, "providers", index), f"{quoted(repeated)} is entry [{first}] already")
    for index, each in enumerate(key.providers):
        here = (*path, "providers", index)
        if each.name not in config.providers:
            note((*here, "name"), _unknown_provider(config, each.name))
        _check_patterns(each.name, each.models, (*here, "models"), note)


def _is_virtual_key(text: str) -> bool:
    return text.lower().startswith(VIRTUAL_KEY_PREFIX) and len(text) > len(VIRTUAL_KEY_PREFIX)


def _is_time(text: str) -> bool:
    try:
        return bool(_RFC_3339.fullmatch(text)) and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
