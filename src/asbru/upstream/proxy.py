"""Which proxy leads to an origin, if any. Pure: the environment is an argument.

An https origin is reached through a tunnel (CONNECT); for a plain http one the proxy is sent the request itself, with
an absolute target (RFC 9112 §3.2.2), since many proxies allow CONNECT to port 443 only.

The configuration's own proxy always counts. Otherwise ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` (lower case
wins, as in curl) name one, except for hosts in ``NO_PROXY`` and for loopback, which is never reached through one.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from asbru.upstream.origin import Origin


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy. ``authorization`` is the value of ``proxy-authorization``."""

    host: str
    port: int
    authorization: bytes | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port}{', with credentials' if self.authorization else ''})"

    __str__ = __repr__

    def connect_head(self, origin: Origin) -> bytes:
        """The request that asks the proxy for a tunnel to ``origin``."""
        authority = origin.authority.encode("ascii")
        head = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n" % (authority, authority)
        return head + self.credential_line + b"\r\n"

    @property
    def credential_line(self) -> bytes:
        """The header line that the proxy knows us by; empty when it asks for none."""
        return b"" if self.authorization is None else b"proxy-authorization: %b\r\n" % self.authorization


def proxy_for(origin: Origin, explicit: str | None, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for ``origin``; ``explicit`` is the configuration's (empty: none at all), which wins.

    Raises ValueError for a proxy URL that cannot be used; its text does not hold the URL, which may hold a password.
    """
    if explicit is not None:
        return _parsed(explicit, "the configured proxy") if explicit else None
    if is_loopback(origin.host) or _is_exempt(origin, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    for name in (f"{origin.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if url := environ.get(variable):
                return _parsed(url, variable)
    return None


def _parsed(url: str, source: str) -> Proxy:
    if "://" not in url:
        url = "http://" + url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{source} is not a URL; expected http://[user:password@]host:port") from None
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{source} cannot be used; expected http://[user:password@]host:port")
    authorization = None
    if parts.username is not None:
        credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        authorization = b"Basic " + base64.b64encode(credentials)
    return Proxy(host, port or 80, authorization)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _is_exempt(origin: Origin, no_proxy: str) -> bool:
    return any(_matches(origin, entry.strip()) for entry in no_proxy.split(","))


def _matches(origin: Origin, entry: str) -> bool:
    """One entry of NO_PROXY: ``*``, a name and everything below it, an address or network, each with a port or not."""
    if not entry or entry == "*":
        return bool(entry)
    address = _address(origin.host)
    network = _network(entry)
    if network is None:  # not an address: then a last colon is a port's
        host, colon, port = entry.rpartition(":")
        if colon and port.isdigit():
            if int(port) != origin.port:
                return False
            entry = host
            network = _network(entry.removeprefix("[").removesuffix("]"))
    if network is not None:
        return address is not None and address in network
    name = origin.host.lower().rstrip(".")
    suffix = entry.lower().removeprefix("*").removeprefix(".").rstrip(".")
    return bool(suffix) and address is None and (name == suffix or name.endswith("." + suffix))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None
