"""What is left to judge about a response's head when the parser has found it valid."""

from __future__ import annotations

from asbru.headers import ResponseHead
from asbru.upstream.origin import Limits

_LEAST_FIELD_BYTES = 4  # "a:\r\n"


class Refused(Exception):
    """The response cannot be used; the text says why. Raised inside the parser's callbacks, to stop it."""


def read(raw: bytes, limits: Limits) -> ResponseHead:
    """Raises `Refused` for a head over its limits, or with codings that we do not know.

    ``raw`` is all up to and with the first empty line; empty when the parser saw the end of a head elsewhere.
    """
    if not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise Refused("its head does not begin with HTTP/1.1 or HTTP/1.0, or does not end with the first empty line")
    if len(raw) > limits.max_header_bytes:
        raise Refused(f"a head over {limits.max_header_bytes} bytes")
    if len(raw) > limits.max_headers * _LEAST_FIELD_BYTES and raw.count(b"\n") > limits.max_headers + 2:
        raise Refused(f"more than {limits.max_headers} header fields")
    head = ResponseHead(raw)
    if b"transfer-encoding" in head.said and (
        head.said[b"transfer-encoding"].lower() != b"chunked" or b"transfer-encoding" in head.repeated
    ):
        raise Refused("a transfer coding other than chunked")
    return head
