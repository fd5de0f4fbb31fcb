"""What the gateway may fetch: URLs read strictly, hosts by the operator's list, addresses by a table."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.upstream.origin import Origin
from asbru.upstream.reach import MAX_URL_CHARS, Hosts, admits, parse, rule_fault

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.0", "192.167.255.255", "100.63.255.255",
    "100.128.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.127.255.255", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
    "::1", "fc00::1", "fd12:3456::1", "2001:db8::1", "2001::1", "3fff::1", "4000::1", "100::1", "64:ff9b:1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2002:c0a8:1::1", "::127.0.0.1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2", "169.254.0.1", "168.63.129.16", "100.100.100.200",
    "192.0.0.192", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fe80::1%1", "fe80::1%eth0", "2606:4700::1111%1", "fec0::1", "ff02::1", "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::169.254.169.254",
    "::ffff:0.0.0.0", "::ffff:0:0", "", "localhost", "1.1.1.1 ", "01.1.1.1", "2130706433", "0x7f.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_admitted(address: str) -> None:
    assert admits(address, allow_private=False)
    assert admits(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_only_where_the_operator_says(address: str) -> None:
    assert not admits(address, allow_private=False)
    assert admits(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_link_local_metadata_and_what_is_no_address_never(address: str) -> None:
    assert not admits(address, allow_private=False)
    assert not admits(address, allow_private=True)


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
def test_nothing_that_python_calls_private_is_admitted(address: IPv4Address | IPv6Address) -> None:
    assert not admits(str(address), allow_private=False)


@given(st.ip_addresses(v=6))
def test_ipv6_is_admitted_only_from_what_has_been_given_out(address: IPv4Address | IPv6Address) -> None:
    given_out = [ip_network("2000::/3"), ip_network("64:ff9b::/96"), ip_network("::/96"), ip_network("::ffff:0:0/96")]
    if not any(address in network for network in given_out):
        assert not admits(str(address), allow_private=False)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_itself(address: IPv4Address | IPv6Address) -> None:
    plain = admits(str(address), allow_private=False)
    number = int(address)
    inside = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 1]
    assert [admits(str(IPv6Address(each)), allow_private=False) for each in inside] == [plain] * 3


def fault(url: str, *, allow_http: bool = False) -> str:
    with pytest.raises(ValueError) as caught:
        parse(url, allow_http=allow_http)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin", "target", "host"),
    [
        ("https://a.example/x.png", "https://a.example:443", b"/x.png", b"a.example"),
        ("HTTPS://A.Example:443", "https://a.example:443", b"/", b"a.example"),
        ("https://a.example:8443/x?y=%2F&z=a+b#part", "https://a.example:8443", b"/x?y=%2F&z=a+b", b"a.example:8443"),
        ("https://a.example./x", "https://a.example:443", b"/x", b"a.example"),
        ("https://a_b.example/ü?q=ü|^", "https://a_b.example:443", b"/%C3%BC?q=%C3%BC%7C%5E", b"a_b.example"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example:443", b"/x", b"xn--bcher-kva.example"),
        ("https://[2606:4700::1111]/x", "https://[2606:4700::1111]:443", b"/x", b"[2606:4700::1111]"),
        ("https://[::FFFF:7f00:1]:99/x", "https://[::ffff:7f00:1]:99", b"/x", b"[::ffff:7f00:1]:99"),
        # Read as names; what they resolve to is judged when it is connected to.
        ("https://2130706433/", "https://2130706433:443", b"/", b"2130706433"),
        ("https://0x7f.1/", "https://0x7f.1:443", b"/", b"0x7f.1"),
        ("https://１２７.0.0.1/", "https://127.0.0.1:443", b"/", b"127.0.0.1"),  # noqa: RUF001
        ("https://127。0。0。1/", "https://127.0.0.1:443", b"/", b"127.0.0.1"),
        ("https://ⓛocalhost/", "https://localhost:443", b"/", b"localhost"),
    ],
)
def test_urls(url: str, origin: str, target: bytes, host: bytes) -> None:
    found = parse(url, allow_http=False)
    assert (str(found.origin), found.target, found.host) == (origin, target, host)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://a.example/", "must begin with https://"),
        ("ftp://a.example/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("data:image/png;base64,AAAA", "must begin with https://"),
        ("//a.example/", "must begin with https://"),
        ("a.example", "must begin with https://"),
        ("", "must begin with https://"),
        ("https:///x", "has no valid host"),
        ("https:a.example", "has no valid host"),
        ("https://user:secret@a.example/", "must not hold a user name or password"),
        ("https://a.example@127.0.0.1/", "must not hold a user name or password"),
        ("https://@a.example/", "must not hold a user name or password"),
        ("https://a.example\\@b.example/", "holds a space or a character that a URL may not have"),
        ("https://a.example/\r\nhost: b", "holds a space or a character that a URL may not have"),
        ("https://a.exa\tmple/", "holds a space or a character that a URL may not have"),
        (" https://a.example/", "holds a space or a character that a URL may not have"),
        ("https://a.example/\x00", "holds a space or a character that a URL may not have"),
        ("https://a.example:0/", "has no valid port"),
        ("https://a.example:65536/", "is not a URL"),
        ("https://a.example:x/", "is not a URL"),
        ("https://a.example:-1/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://[::1]x/", None),
        ("https://[fe80::1%25eth0]/", None),
        ("https://[v1.x]/", None),
        ("https://::1/", None),
        ("https://a..example/", "has no valid host"),
        ("https://a.example../", "has no valid host"),
        ("https://./", "has no valid host"),
        ("https://*.example/", "has no valid host"),
        ("https://a%2eexample/", "has no valid host"),
        ("https://a.example%00.b.example/", "has no valid host"),
        ("https://a.example℀b/", "is not a URL"),
        (f"https://{'a.' * 127}example/", "has no valid host"),
        (f"https://{'a' * 64}.example/", "has no valid host"),
        ("https://a.example/" + "x" * MAX_URL_CHARS, "must have at most 8192 characters"),
    ],
)
def test_urls_that_are_refused(url: str, says: str | None) -> None:
    said = fault(url)
    assert says is None or said == says


def test_http_only_where_the_operator_says() -> None:
    assert parse("http://a.example/x", allow_http=True).origin == Origin("http", "a.example", 80)
    assert parse("http://a.example:443/x", allow_http=True).host == b"a.example:443"
    assert fault("ftp://a.example/", allow_http=True) == "must begin with https:// or http://"


ODD = st.sampled_from(
    [*"@:/\\?#[]%.。．０x0-_ \t\r\n\x00*ａⓛ℀ßİK", "https://", "127.0.0.1", "::1", "a.example", "%2e"]  # noqa: RUF001
)


@given(st.lists(ODD | st.characters(codec="utf-8"), max_size=12).map("".join))
@example("a.example@127.0.0.1")
@example("[::ffff:127.0.0.1]")
def test_whatever_is_parsed_is_one_plain_host_and_one_plain_line(rest: str) -> None:
    try:
        url = parse("https://" + rest, allow_http=False)
    except ValueError as error:
        assert str(error).split()[0] in ("must", "holds", "is", "has")
        return
    host = url.origin.host
    assert host.isascii() and host == host.lower() and not set(host) & set("@/\\?#%[] *") and host.strip(".") == host
    assert 0 < url.origin.port < 65536
    line = b"GET " + url.target + b" HTTP/1.1\r\nhost: " + url.host
    assert url.target.startswith(b"/") and line.count(b" ") == 3 and line.count(b"\r\n") == 1 and line.isascii()
    # Another reader of the same text, given what we send, finds the same host.
    assert parse(f"https://{url.host.decode()}{url.target.decode()}", allow_http=False) == url


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "0177.0.0.1"])
def test_numbers_written_in_an_unusual_way_end_at_the_address_that_is_judged(host: str) -> None:
    origin = parse(f"https://{host}/", allow_http=False).origin
    try:
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except socket.gaierror:  # a resolver that takes no such numbers
        return
    assert not any(admits(str(info[4][0]), allow_private=False) for info in found)


def allowed(rule: str, url: str) -> bool:
    return Hosts([rule]).allow(parse(url, allow_http=True).origin)


@pytest.mark.parametrize(
    ("rule", "url", "allows"),
    [
        ("*", "https://a.example/", True),
        ("*", "http://a.example/", True),
        ("*", "https://a.example:8443/", False),
        ("*:*", "https://a.example:8443/", True),
        ("A.Example", "https://a.example./", True),
        ("a.example.", "https://a.example/", True),
        ("a.example", "https://b.a.example/", False),
        ("a.example", "https://a.example:80/", False),
        ("a.example:80", "https://a.example:80/", True),
        ("a.example:80", "https://a.example/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://example.com.evil.test/", False),
        ("*.example.com", "https://evil.test/.example.com", False),
        ("*.example.com", "https://evil.test/?.example.com", False),
        ("*.example.com", "https://evil.test#.example.com", False),
        ("127.0.0.1:9", "https://127.0.0.1:9/", True),
        ("[::1]", "https://[0:0::1]/", True),
        ("[::1]:9", "https://[::1]/", False),
    ],
)
def test_hosts(rule: str, url: str, allows: bool) -> None:
    assert rule_fault(rule) is None
    assert allowed(rule, url) is allows
    assert not Hosts([]).allow(parse(url, allow_http=True).origin)


@pytest.mark.parametrize(
    "rule", ["https://a.example", "a.example/x", "a b", "u@a.example", "::1", "[x]", "[1.1]", "a:"]
)
def test_entries_that_are_no_hosts(rule: str) -> None:
    assert rule_fault(rule) is not None
