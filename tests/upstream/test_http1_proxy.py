"""Which proxy for which origin: the environment's rules, as curl and the SDKs follow them."""

from __future__ import annotations

import pytest

from asbru.upstream.http1 import Origin, Proxy, proxy_for

API = Origin("https", "api.anthropic.com", 443)
PLAIN = Origin("http", "llm.example", 8000)
ENV = {"HTTPS_PROXY": "http://secure:3128", "HTTP_PROXY": "http://plain:3128", "ALL_PROXY": "http://all:3128"}


@pytest.mark.parametrize(
    ("origin", "environ", "host"),
    [
        (API, {}, None),
        (API, ENV, "secure"),
        (PLAIN, ENV, "plain"),
        (API, {"HTTP_PROXY": "http://plain:3128"}, None),
        (PLAIN, {"HTTPS_PROXY": "http://secure:3128"}, None),
        (API, {"ALL_PROXY": "http://all:3128"}, "all"),
        (API, {"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "lower"),
        (API, {"https_proxy": "", "HTTPS_PROXY": "http://upper:1"}, "upper"),
        (API, {"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_environment_names_a_proxy(origin: Origin, environ: dict[str, str], host: str | None) -> None:
    proxy = proxy_for(origin, None, environ)
    assert (proxy and proxy.host) == host


@pytest.mark.parametrize(
    ("no_proxy", "host", "exempt"),
    [
        ("*", "api.example.com", True),
        ("", "api.example.com", False),
        (" , ,", "api.example.com", False),
        ("example.com", "api.example.com", True),
        ("example.com", "example.com", True),
        (".example.com", "api.example.com", True),
        (".example.com", "example.com", True),
        ("*.example.com", "api.example.com", True),
        ("EXAMPLE.com", "API.Example.COM", True),
        ("example.com", "api.example.com.", True),
        ("example.com", "notexample.com", False),
        ("api.example.com", "example.com", False),
        ("other.org, example.com", "api.example.com", True),
        ("example.com:443", "api.example.com", True),
        ("example.com:8443", "api.example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.1/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:444", "10.1.2.3", False),
        ("0.0.0.0/0", "api.example.com", False),
        ("2", "10.1.2.2", False),
        ("fd00::/8", "fd12::1", True),
        ("[fd12::1]", "fd12::1", True),
        ("[fd12::1]:443", "fd12::1", True),
        ("[fd12::1]:444", "fd12::1", False),
        ("fd12::1", "fd12::2", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, exempt: bool) -> None:
    origin = Origin("https", host, 443)
    for variable in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(origin, None, {**ENV, variable: no_proxy}) is None) == exempt


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9", "::1"]
)
def test_loopback_is_reached_directly_unless_configured(host: str) -> None:
    origin = Origin("http", host, 8000)
    assert proxy_for(origin, None, ENV) is None
    assert proxy_for(origin, "http://p:1", ENV) == Proxy("p", 1)


def test_the_configured_proxy_wins() -> None:
    environ = {**ENV, "NO_PROXY": "*"}
    assert proxy_for(API, "http://p:1", environ) == Proxy("p", 1)
    assert proxy_for(API, "", ENV) is None


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://p:3128", Proxy("p", 3128)),
        ("http://p", Proxy("p", 80)),
        ("p:3128", Proxy("p", 3128)),
        ("http://p:3128/", Proxy("p", 3128)),
        ("http://[fd12::1]:3128", Proxy("fd12::1", 3128)),
        ("http://user:pass@p:1", Proxy("p", 1, b"Basic dXNlcjpwYXNz")),
        ("http://us%40er:p%3Ass@p:1", Proxy("p", 1, b"Basic dXNAZXI6cDpzcw==")),
        ("http://user@p:1", Proxy("p", 1, b"Basic dXNlcjo=")),
    ],
)
def test_proxy_urls(url: str, proxy: Proxy) -> None:
    assert proxy_for(API, url, {}) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "https://u:s3cret@p:1",
        "socks5://u:s3cret@p:1",
        "http://u:s3cret@",
        "http://u:s3cret@p:port",
        "http://u:s3cret@p:99999",
        "http://u:s3cret@p:1/path",
        "http://u:s3cret@[p:1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="the configured proxy") as caught:
        proxy_for(API, url, {})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ValueError, match="HTTPS_PROXY"):
        proxy_for(API, None, {"HTTPS_PROXY": url})


def test_a_proxy_does_not_show_its_credentials() -> None:
    proxy = Proxy("p", 1, b"Basic dXNlcjpwYXNz")
    assert f"{proxy} {proxy!r}" == "Proxy(p:1, with credentials) Proxy(p:1, with credentials)"
    assert repr(Proxy("p", 1)) == "Proxy(p:1)"


def test_connect_head() -> None:
    assert Proxy("p", 1).connect_head(API) == (
        b"CONNECT api.anthropic.com:443 HTTP/1.1\r\nhost: api.anthropic.com:443\r\n\r\n"
    )
    assert Proxy("p", 1, b"Basic x").connect_head(Origin("https", "fd12::1", 443)) == (
        b"CONNECT [fd12::1]:443 HTTP/1.1\r\nhost: [fd12::1]:443\r\nproxy-authorization: Basic x\r\n\r\n"
    )
