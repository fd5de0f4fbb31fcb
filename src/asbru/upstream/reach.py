"""Which URLs of a client's choosing the gateway may fetch, and from which addresses. Pure.

A URL is the caller's, so it is read strictly: what a lenient parser would understand in one way and the next one in
another is refused. Its host must be one that the operator allows (`Hosts`). And since a name may lead anywhere, every
address it has is judged by `admits` when the connection is made, on the very address that is connected to: a number
written in an unusual way, a name that resolves to a private address, and one that changes in between (DNS rebinding)
all come to nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from asbru.policy.patterns import Patterns
from asbru.upstream.origin import Origin

MAX_URL_CHARS = 8192

_PORTS: dict[str, int] = {"http": 80, "https": 443}
_LABELS = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\](:\d*)?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_AS_IT_IS = "%/:=&?~+!$,;'@()*[]"
"""What is not percent-encoded on its way, besides letters, digits and ``-._``: a signature may be over it."""
_RULE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._*-]+))(?::(\d{1,5}|\*))?")


class Url(NamedTuple):
    """A URL to be fetched: where, and the path and query to ask for there."""

    origin: Origin
    target: bytes

    @property
    def host(self) -> bytes:
        """The ``host`` header's value."""
        origin = self.origin
        named = f"[{origin.host}]" if ":" in origin.host else origin.host
        return (named if origin.port == _PORTS[origin.scheme] else origin.authority).encode("ascii")


def parse(text: str, *, allow_http: bool) -> Url:
    """The URL; raises ValueError whose text says what is wrong with it."""
    if len(text) > MAX_URL_CHARS:
        raise ValueError(f"must have at most {MAX_URL_CHARS} characters")
    if _UNSAFE.search(text):
        raise ValueError("holds a space or a character that a URL may not have")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    scheme: Literal["http", "https"]
    if parts.scheme == "https":
        scheme = "https"
    elif parts.scheme == "http" and allow_http:
        scheme = "http"
    else:
        raise ValueError(f"must begin with https://{' or http://' if allow_http else ''}")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if port == 0:
        raise ValueError("has no valid port")
    host = _host(parts.netloc, parts.hostname or "")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(Origin(scheme, host, port or _PORTS[scheme]), quote(target, safe=_AS_IT_IS).encode("ascii"))


def _host(netloc: str, host: str) -> str:
    """The host as it is looked up and compared: lower case, ASCII, without the root's dot."""
    try:
        if "[" in netloc or "]" in netloc:
            if not _BRACKETED.fullmatch(netloc):
                raise ValueError("has no valid host")
            return str(IPv6Address(host))
        # Full-width digits and dots, and everything else that a resolver would take for something plainer.
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except (AddressValueError, UnicodeError):
        raise ValueError("has no valid host") from None
    if len(name) > 253 or not _LABELS.fullmatch(name):
        raise ValueError("has no valid host")
    return name


def rule_fault(rule: str) -> str | None:
    """What is wrong with an entry of the operator's hosts."""
    found = _RULE.fullmatch(rule)
    if found is None:
        return "must be a host, such as files.example.com or *.example.com, with a port where it is not the usual one"
    try:
        if found[1] is not None:
            IPv6Address(found[1])
    except AddressValueError:
        return "is not an address"
    return None


class Hosts:
    """The hosts that the operator allows; ``*`` in one stands for any run of characters.

    An entry without a port allows the scheme's usual one only; ``:*`` allows any.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules: list[tuple[Patterns, str | None]] = []
        for rule in rules:
            found = _RULE.fullmatch(rule)
            if found is None:
                raise ValueError(f"{rule!r} {rule_fault(rule)}")
            host = found[2].lower().removesuffix(".") if found[1] is None else str(IPv6Address(found[1]))
            self._rules.append((Patterns([host]), found[3]))

    def allow(self, origin: Origin) -> bool:
        """Whether something may be fetched from there."""
        return any(
            hosts.allow(origin.host)
            and (port == "*" or origin.port == (_PORTS[origin.scheme] if port is None else int(port)))
            for hosts, port in self._rules
        )


# Addresses: IANA's registries of special-purpose addresses, and where clouds put what instances may ask. The tables
# are our own because what `ipaddress` calls private or global has changed between patch releases of Python.

_NEVER = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",  # this host: Linux takes it for loopback
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's wire server: in public space, and not public
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "192.0.0.0/24",  # IETF protocol assignments; Oracle's metadata
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/128",
        "fd00:ec2::/32",  # Amazon's metadata
        "fd20:ce::254/128",  # Google's metadata
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, long gone
        "ff00::/8",  # multicast
    )
]
_PRIVATE = [
    ip_network(each)
    for each in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
]
_GLOBAL_V6 = ip_network("2000::/3")
"""All of IPv6 that has been given out; what lies outside is private at best."""
_TUNNELS = [(ip_network("64:ff9b::/96"), 0), (ip_network("2002::/16"), 80), (ip_network("::/96"), 0)]
"""IPv6 addresses with an IPv4 address inside, and how far up: NAT64, 6to4, "compatible"."""


def admits(address: str, *, allow_private: bool) -> bool:
    """Whether something may be fetched from an address; link-local, metadata and multicast never."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        inner = _embedded(found)
        if inner is not None:
            return admits(str(inner), allow_private=allow_private)
        if found.scope_id is not None:
            return False
    if any(found in network for network in _NEVER):
        return False
    if allow_private:
        return True
    if found.version == 6 and found not in _GLOBAL_V6:
        return False
    return not any(found in network for network in _PRIVATE)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end at."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if int(address) <= 1:  # unspecified and loopback
        return None
    for network, shift in _TUNNELS:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None
