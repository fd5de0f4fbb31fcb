"""What an upstream said before our write to it failed: typically a 413 or 401 that came early."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

READ_BYTES = 65_536


def unread(transport: asyncio.Transport) -> Iterator[bytes]:
    """What lies unread in the socket of a transport that has just failed; nothing more can come.

    With TLS it cannot be read past the transport, and there is nothing.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or transport.get_extra_info("sslcontext") is not None:
        return
    while True:
        try:
            data = os.read(sock.fileno(), READ_BYTES)
        except OSError:  # that was all, or the reset itself
            return
        if not data:
            return
        yield data
