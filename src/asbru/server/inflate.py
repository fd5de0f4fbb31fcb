"""A request body that came compressed, inflated within bounds. Pure; meant to run in a thread, off the event loop.

The bound is on what comes out, checked while it comes out, so a small body that would inflate to gigabytes costs no
more than the limit. Concatenated gzip members are one body (RFC 1952 §2.2); their number is bounded too, because
each costs a copy of what follows it.
"""

from __future__ import annotations

import zlib

from asbru.errors import GatewayError

_GZIP_WBITS = 31  # gzip framing, 32 KiB window
MAX_MEMBERS = 64


def gunzip(data: bytes, limit_bytes: int) -> bytes:
    """The inflated body.

    Raises `GatewayError`: ``too_large`` beyond ``limit_bytes``, ``invalid_request`` for what is not gzip or not whole.
    """
    pieces: list[bytes] = []
    left_bytes = limit_bytes
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            # One byte more than may come, to tell "exactly the limit" from "more".
            piece = member.decompress(data, left_bytes + 1)
        except zlib.error:
            raise broken() from None
        left_bytes -= len(piece)
        if left_bytes < 0:
            raise GatewayError("too_large", f"The request body is larger than {limit_bytes} bytes once it is inflated")
        if not member.eof:
            raise broken()
        pieces.append(piece)
        data = member.unused_data
        if not data:
            return b"".join(pieces)
    raise GatewayError("invalid_request", f"The gzip body has more than {MAX_MEMBERS} members")


def broken() -> GatewayError:
    return GatewayError("invalid_request", "The request body is not valid gzip, as its content-encoding says it is")
