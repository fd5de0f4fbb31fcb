"""What tests of new connections share: certificates, and the simplest of requests."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

import pytest

from asbru.upstream.http1 import Pool, UpstreamError
from tests.upstream.rawserver import post

LIMIT = 2**22


class Certificates(NamedTuple):
    """PEM files: an authority, and a server's and a client's certificate that it signed; another authority."""

    ca: str
    server: str
    server_key: str
    client: str
    client_key: str
    stranger: str


def server_context(certificates: Certificates, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    if asks:
        context.load_verify_locations(certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that a missing certificate fails the handshake itself
    return context


async def ask(pool: Pool) -> bytes:
    response = await pool.request(post(b"{}"), b"{}")
    assert response.status == 200
    return await response.read_all(LIMIT)


async def refused(pool: Pool, deadline: float | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await pool.request(post(b"{}"), b"{}", deadline=deadline)
    assert not caught.value.responded
    assert repr(pool) == f"<Pool {pool.origin} idle=0 busy=0 waiting=0>"
    return caught.value


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
