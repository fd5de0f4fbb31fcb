"""New connections: name lookup, TCP, CONNECT through a proxy, TLS. The only file that makes sockets for upstreams.

`dial` gives a protocol whose connection stands, or raises `UpstreamError` (``connect``, ``tls``, ``connect_timeout``);
however it ends, no socket is left over. A TLS context takes 20 ms and 1 MB to make: `TlsContexts` shares them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import ssl
from asyncio import FIRST_COMPLETED
from collections.abc import Callable, Sequence
from typing import TypeVar

from asbru.upstream.origin import Kind, Origin, UpstreamError
from asbru.upstream.proxy import Proxy

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Address]
P = TypeVar("P", bound=asyncio.Protocol)
Admits = Callable[[str], bool]
"""Whether an address, as the resolver gave it, may be connected to."""

_STAGGER_S = 0.25
"""RFC 8305 §5: how long an address may keep us before the next one is tried beside it."""
_MAX_PROXY_HEAD_BYTES = 65_536
_KEEPALIVE = [
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))
    if hasattr(socket, name)
]
"""Seconds of silence, seconds between probes, probes: what Anthropic's own SDK sets."""


def tls_context(
    ca_file: str | None = None, client_cert_file: str | None = None, client_key_file: str | None = None
) -> ssl.SSLContext:
    """A verifying client context: ``ca_file`` instead of the system's CAs, and a client certificate, where given.

    Raises ValueError that names the file.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{ca_file}: not a readable CA bundle in PEM ({error})") from error
    if client_cert_file is not None:
        try:
            context.load_cert_chain(client_cert_file, client_key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(
                f"{client_cert_file}: not a usable client certificate with key {client_key_file} ({error})"
            ) from error
    elif client_key_file is not None:
        raise ValueError(f"{client_key_file}: a client key without a client certificate")
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsContexts:
    """The TLS contexts of one configuration: one for each set of settings, however many providers have them."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[tuple[str | None, ...], ssl.SSLContext] = {}

    def of(
        self, ca_file: str | None = None, client_cert_file: str | None = None, client_key_file: str | None = None
    ) -> ssl.SSLContext:
        """`tls_context` of these settings, made when it is first needed."""
        settings = (ca_file, client_cert_file, client_key_file)
        if settings not in self._made:
            self._made[settings] = tls_context(*settings)
        return self._made[settings]


def _no_passphrase() -> str:
    return ""  # without this, OpenSSL asks on the terminal


async def dial(
    origin: Origin,
    make_protocol: Callable[[], P],
    context: ssl.SSLContext | None,
    proxy: Proxy | None,
    connect_s: float,
    admits: Admits | None = None,
) -> P:
    """A new connection to ``origin``, through ``proxy`` if there is one, with TLS if ``context`` is given.

    Without TLS it leads to the proxy itself, which wants requests with absolute targets.

    With ``admits``, which goes with no proxy, only addresses it takes are connected to.
    """
    assert admits is None or proxy is None  # a proxy looks the name up for itself
    stage = "connect to the proxy" if proxy else "connect"
    try:
        async with asyncio.timeout(connect_s):
            host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
            sock = await _connect(host, port, admits)
            if proxy is not None and context is not None:
                stage = "pass the proxy"
                await _tunnel(sock, proxy, origin)
            stage = "finish the TLS handshake" if context else "connect"
            # From here on the socket is the loop's, which closes it however this ends.
            _, protocol = await asyncio.get_running_loop().create_connection(
                make_protocol, sock=sock, ssl=context, server_hostname=origin.host if context else None
            )
            return protocol
    except TimeoutError as error:
        raise UpstreamError("connect_timeout", f"{origin}: could not {stage} within {connect_s:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise UpstreamError("tls", f"{origin}: certificate refused: {error.verify_message}") from error
    except UnicodeError as error:
        raise UpstreamError("connect", f"{origin}: not a host name") from error
    except OSError as error:
        kind: Kind = "tls" if isinstance(error, ssl.SSLError) or "TLS" in stage else "connect"
        raise UpstreamError(kind, f"{origin}: could not {stage}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


async def _connect(host: str, port: int, admits: Admits | None = None) -> socket.socket:
    """A connected socket to the first of the host's addresses that answers, tried as RFC 8305 says.

    One after the other, as most clients do, a network without working IPv6 would cost every connection its time-out.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if admits is not None:
        # The address that was judged is the one that is connected to: no second look-up can say another.
        found = [info for info in found if admits(str(info[4][0]))]
    addresses = _interleaved(found)
    attempts: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("the name has no address")
    try:
        while addresses or attempts:
            if addresses:
                attempts.add(loop.create_task(_connect_one(addresses.pop(0))))
            await asyncio.wait(attempts, timeout=_STAGGER_S if addresses else None, return_when=FIRST_COMPLETED)
            for attempt in [attempt for attempt in attempts if attempt.done()]:
                attempts.remove(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    failure = error
        raise failure
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_discard)
            attempt.cancel()


def _interleaved(found: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The addresses in the resolver's order, but the families taking turns."""
    first = [info for info in found if info[0] == found[0][0]]
    other = [info for info in found if info[0] != found[0][0]]
    return [info for pair in itertools.zip_longest(first, other) for info in pair if info is not None]


async def _connect_one(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # An answer may take ten silent minutes; gateways and NATs forget a connection sooner, and say nothing.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(attempt: asyncio.Task[socket.socket]) -> None:
    """Another address was faster, or the whole call was cancelled."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _tunnel(sock: socket.socket, proxy: Proxy, origin: Origin) -> None:
    """Have the proxy connect us through; raises OSError, and closes the socket, when it does not."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, proxy.connect_head(origin))
        head = b""
        while b"\r\n\r\n" not in head:
            data = await loop.sock_recv(sock, 4096)
            if not data:
                raise OSError("it closed the connection")
            head += data
            if len(head) > _MAX_PROXY_HEAD_BYTES:
                raise OSError("its answer is too long")
        answer = re.match(rb"HTTP/1\.[01] (\d{3})(?: |\r\n)", head)
        if answer is None:
            raise OSError("its answer is not HTTP")
        if not answer[1].startswith(b"2"):
            raise OSError(f"it answered {answer[1].decode()}")
        if not head.endswith(b"\r\n\r\n") or head.count(b"\r\n\r\n") != 1:
            raise OSError("it sent data before the tunnel was used")
    except BaseException:
        sock.close()
        raise
