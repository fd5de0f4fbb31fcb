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
_STEP_BYTES = 262_144
"""What goes in and comes out at a time: other threads run between two steps."""


def gunzip(data: bytes, limit_bytes: int) -> bytes:
    """The inflated body.

    Raises `GatewayError`: ``too_large`` beyond ``limit_bytes``, ``invalid_request`` for what is not gzip or not whole.
    """
    pieces: list[bytes] = []
    left_bytes = limit_bytes
    members = 0
    member: zlib._Decompress | None = None
    for start in range(0, len(data), _STEP_BYTES):
        rest, more = data[start : start + _STEP_BYTES], False
        while rest or more:
            if member is None or (member.eof and rest):
                members += 1
                if members > MAX_MEMBERS:
                    raise GatewayError("invalid_request", f"The gzip body has more than {MAX_MEMBERS} members")
                member = zlib.decompressobj(_GZIP_WBITS)
            try:
                piece = member.decompress(rest, _STEP_BYTES)
            except zlib.error:
                raise broken() from None
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise GatewayError(
                    "too_large", f"The request body is larger than {limit_bytes} bytes once it is inflated"
                )
            pieces.append(piece)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            more = len(piece) == _STEP_BYTES and not member.eof
    if member is None or not member.eof:
        raise broken()
    return b"".join(pieces)


def broken() -> GatewayError:
    return GatewayError("invalid_request", "The request body is not valid gzip, as its content-encoding says it is")
