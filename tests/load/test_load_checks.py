"""What no single field can say: each entry that could never take effect is refused, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asbru.config import Auth, Config, Server
from asbru.load import load, open_to_others
from asbru.policy.auth import Authenticator
from asbru.policy.router import Table

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]

EU = "{dialect: anthropic, base_url: 'https://eu.example', keys: [{value: k}]}"
DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        # auth and routing
        ("auth: {master_key: SK-BF-x}", "auth.master_key", "must not begin with sk-bf-, as virtual keys do"),
        (
            "auth: {required: true}",
            "auth.required",
            "is true, but there is neither a virtual key nor a master key: nobody gets in",
        ),
        (
            "routing: {default_provider: sandbx}",
            "routing.default_provider",
            "`sandbx` is not a configured provider; did you mean `sandbox`?",
        ),
        ("stream: {ping_s: 300}", "stream.ping_s", "must be below `stream.idle_s`, or no ping is ever sent"),
        (
            "server: {cors: {origins: ['*', 'https://app.example', 'https://app.example/']}}",
            "server.cors.origins[2]",
            "must be what browsers send, such as https://app.example, or *",
        ),
        (
            "fetch: {enabled: true}",
            "fetch.hosts",
            'names no host, so nothing could be fetched; ["*"] allows every one',
        ),
        (
            "fetch: {hosts: [files.example.com, 'https://a.example']}",
            "fetch.hosts[1]",
            "must be a host, such as files.example.com or *.example.com, with a port where it is not the usual one",
        ),
        ("server: {public_url: 'https://u:p@host'}", "server.public_url", "must not hold a user name or password"),
        # aliases
        ("models: {fast: []}", "models.fast", "has no candidates"),
        (
            "models: {fast: [sandbx/a]}",
            "models.fast[0]",
            "`sandbx` is not a configured provider; did you mean `sandbox`?",
        ),
        (
            "models: {fast: [zzz/a]}",
            "models.fast[0]",
            "`zzz` is not a configured provider; configured are: `sandbox`",
        ),
        ("models: {fast: [fast]}", "models.fast[0]", "must be provider/model, such as `sandbox/fast`"),
        ("models: {fast: [sandbox/]}", "models.fast[0]", "must be provider/model, such as `sandbox/sandbox`"),
        ("models: {fast: [sandbox/a, sandbox/a]}", "models.fast[1]", "`sandbox/a` is entry [0] already"),
        ("models: {fast: ['sandbox/a*']}", "models.fast[0]", "must name one model, not a pattern"),
        # headers
        (
            "providers: {sandbox: {request_headers: {keep: [x-api-key]}}}",
            "providers.sandbox.request_headers.keep[0]",
            "`x-api-key` is not a header that stops by default and may be kept",
        ),
        (
            "providers: {sandbox: {response_headers: {keep: [server]}}}",
            "providers.sandbox.response_headers.keep[0]",
            "`server` is not a header that stops by default and may be kept",
        ),
        # prices
        (
            "prices: {sandbx/a: {input: 1, output: 1}}",
            "prices.sandbx/a",
            "`sandbx` is not a configured provider; did you mean `sandbox`?",
        ),
        ("prices: {a: {input: 1, output: 1}}", "prices.a", "must be provider/model, such as `sandbox/a`"),
        # virtual keys
        (
            "virtual_keys: [{name: a}]",
            "virtual_keys[0]",
            "needs a `value` or a `digest`; `asbru keys generate` makes both",
        ),
        (
            f"virtual_keys: [{{name: a, value: sk-bf-a, digest: '{DIGEST}'}}]",
            "virtual_keys[0]",
            "has both a `value` and a `digest`; give one of them",
        ),
        (
            "virtual_keys: [{name: a, value: sk-a}]",
            "virtual_keys[0].value",
            "must begin with sk-bf-; `asbru keys generate` makes one",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-}]",
            "virtual_keys[0].value",
            "must begin with sk-bf-; `asbru keys generate` makes one",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a}, {name: a, value: sk-bf-b}]",
            "virtual_keys[1].name",
            "`a` is the name of virtual_keys[0] already",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a}, {name: b, value: sk-bf-a}]",
            "virtual_keys[1]",
            "is the same key as virtual_keys[0]",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a, expires_at: 2027-01-31}]",
            "virtual_keys[0].expires_at",
            "must be a time with its offset (RFC 3339), such as 2027-01-31T12:00:00Z",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a, expires_at: '2027-02-31T12:00:00Z'}]",
            "virtual_keys[0].expires_at",
            "must be a time with its offset (RFC 3339), such as 2027-01-31T12:00:00Z",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a, providers: [{name: sandbx}]}]",
            "virtual_keys[0].providers[0].name",
            "`sandbx` is not a configured provider; did you mean `sandbox`?",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a, providers: [{name: sandbox}, {name: sandbox}]}]",
            "virtual_keys[0].providers[1]",
            "`sandbox` is entry [0] already",
        ),
        (
            "virtual_keys: [{name: a, value: sk-bf-a, providers: [{name: sandbox, models: [sandbox/a]}]}]",
            "virtual_keys[0].providers[0].models[0]",
            "give the model without `sandbox/`",
        ),
    ],
)
def test_an_entry_that_could_not_take_effect(complaints: Complaints, text: str, path: str, says: str) -> None:
    assert complaints(text) == {path: says}


@pytest.mark.parametrize(
    ("settings", "path", "says"),
    [
        (
            "keys: [{value: a, name: x}, {value: b, name: x}]",
            "keys[1].name",
            "`x` is the name of keys[0] already",
        ),
        (
            "keys: [{value: a, name: key-2}, {value: b}]",
            "keys[1].name",
            "`key-2` is the name of keys[0] already",
        ),
        (
            "keys: [{value: a, models: []}]",
            "keys[0].models",
            'an empty list allows nothing; leave it out or write ["*"]',
        ),
        ("keys: [{value: a, models: [eu/a]}]", "keys[0].models[0]", "give the model without `eu/`"),
        (
            "keys: [{value: a, exclude: ['a, b']}]",
            "keys[0].exclude[0]",
            "a model's name has no space in it; give each pattern an entry of its own",
        ),
        (
            "keys: [{value: a, exclude: ['*']}]",
            "keys[0].exclude",
            "`*` leaves this key nothing to serve; remove the key instead",
        ),
        (
            "keys: [{value: a, models: [b], aliases: {c: d}}]",
            "keys[0].aliases.c",
            "is never used: this key's `models` and `exclude` keep it from both names",
        ),
        ("breaker: {pause_s: 5, max_pause_s: 1}", "breaker.pause_s", "must not be above `max_pause_s`"),
        ("tls: {ca_file: /no/such}", "tls.ca_file", "there is no file `/no/such`"),
        (f"tls: {{client_key_file: '{__file__}'}}", "tls.client_key_file", "is of no use without `client_cert_file`"),
        (
            "proxy: socks5://proxy:1080",
            "proxy",
            "the configured proxy cannot be used; expected http://[user:password@]host:port",
        ),
    ],
)
def test_a_providers_settings(complaints: Complaints, settings: str, path: str, says: str) -> None:
    text = f"providers: {{eu: {{dialect: anthropic, base_url: 'https://eu.example', {settings}}}}}"
    assert complaints(text) == {f"providers.eu.{path}": says}


def test_a_proxy_of_the_environment_is_checked_too(complaints: Complaints, loads: Loads) -> None:
    text = f"providers: {{eu: {EU}}}"
    says = "HTTPS_PROXY cannot be used; expected http://[user:password@]host:port"
    assert complaints(text, {"HTTPS_PROXY": "socks5://hunter2@proxy"}) == {"providers.eu.proxy": says}
    assert loads(text, {"HTTPS_PROXY": "http://proxy:3128"}).providers["eu"].proxy is None


def test_a_provider_can_have_no_proxy_whatever_the_environment_says(loads: Loads) -> None:
    environ = {"HTTPS_PROXY": "socks5://never.looked.at", "NONE": ""}
    for proxy in ('""', "env.NONE"):
        provider = loads(f"providers: {{eu: {{{EU[1:-1]}, proxy: {proxy}}}}}", environ).providers["eu"]
        assert provider.proxy is not None and provider.proxy.reveal() == ""


def test_an_alias_that_no_key_may_serve(complaints: Complaints, loads: Loads) -> None:
    text = """
providers: {eu: {dialect: anthropic, base_url: 'https://eu.example', keys: [{value: k, models: ["claude-*"]}]}}
models: {fast: [eu/claude-x, eu/gpt-y]}
"""
    assert complaints(text) == {"models.fast[1]": "no key of `eu` may serve `gpt-y`"}
    assert loads(text + "auth: {allow_direct_keys: true}").models == {"fast": ["eu/claude-x", "eu/gpt-y"]}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("eu.example", "must begin with https:// or http://"),
        ("ftp://eu.example", "must begin with https:// or http://"),
        ("https://", "has no valid host and port"),
        ("https://eu.example:0", "has no valid host and port"),
        ("https://eu.example:99999", "is not a URL"),
        ("https://eu.example:x", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://eu_.ex$mple", "has no valid host and port"),
        (f"https://{'a' * 64}.example", "has no valid host and port"),
        ("https://eu..example", "has no valid host and port"),
        ("https://user@eu.example", "must not hold a user name or password"),
        ("https://eu.example?x=1", "must not have a query or a fragment"),
        ("https://eu.example/?", "must not have a query or a fragment"),
        ("https://eu.example/#x", "must not have a query or a fragment"),
        ("https://eu.example/a b", "holds a space or a character that a URL may not have"),
        ("https://eü.example", "holds a space or a character that a URL may not have"),
        (
            "https://eu.example/v1/messages",
            "must end before `/v1/messages`, which is added",
        ),
        ("http://127.0.0.1:8080", "is this gateway's own address: its requests would go round in a circle"),
        ("http://localhost:8080/x", "is this gateway's own address: its requests would go round in a circle"),
    ],
)
def test_a_base_url_that_cannot_be_used(complaints: Complaints, url: str, says: str) -> None:
    assert complaints(f"providers: {{eu: {{dialect: anthropic, base_url: '{url}'}}}}") == {
        "providers.eu.base_url": says
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://eu.example",
        "http://10.0.0.1:8000/prefix/v1",
        f"https://{'a' * 63}.example.",
        "https://[2001:db8::1]:8443/x",
        "http://127.0.0.1:8081",
        "http://10.0.0.1:8080",
        "https://api.eu-west.example.",
    ],
)
def test_a_base_url_that_can_be_used(loads: Loads, url: str) -> None:
    assert loads(f"providers: {{eu: {{dialect: anthropic, base_url: '{url}'}}}}").providers["eu"].base_url == url


@pytest.mark.parametrize(("host", "own"), [("0.0.0.0", True), ("::", True), ("10.0.0.5", False), ("::1", True)])
def test_ones_own_address_depends_on_what_is_listened_on(
    loads: Loads, complaints: Complaints, host: str, own: bool
) -> None:
    text = (
        f"{{server: {{host: '{host}'}}, providers: {{eu: {{dialect: anthropic, base_url: 'http://127.0.0.1:8080'}}}}}}"
    )
    if own:
        assert list(complaints(text)) == ["providers.eu.base_url"]
    else:
        assert loads(text).server.host == host


@pytest.mark.parametrize(
    ("host", "required", "is_open"),
    [
        ("127.0.0.1", False, False),
        ("127.8.9.10", False, False),
        ("localhost", False, False),
        ("::1", False, False),
        ("[::1]", False, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("192.168.1.5", False, True),
        ("gateway.example", False, True),
        ("localhost.example", False, True),
        ("0.0.0.0", True, False),
    ],
)
def test_a_gateway_that_others_reach_needs_a_key(host: str, required: bool, is_open: bool) -> None:
    config = Config(server=Server(host=host), auth=Auth(required=required))
    assert (open_to_others(config) is not None) is is_open


def test_the_example_loads_and_the_request_path_takes_it() -> None:
    environ = {
        "ASBRU_MASTER_KEY": "operator",
        "ANTHROPIC_API_KEY": "sk-ant-a",
        "EU_KEY": "eu",
        "TEAM_A_KEY": "sk-bf-team-a",
        "OPENAI_API_KEY": "sk-o",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "s",
    }
    config = load(Path(__file__).parents[2] / "docs" / "asbru.example.yaml", environ)
    assert Authenticator(config).required
    assert set(Table(config).aliases) == set(config.models)
