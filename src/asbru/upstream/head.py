"""A response's head: where it ends, for the parser, and what is left to judge when that has found it valid."""

from __future__ import annotations

from collections.abc import Iterator

from asbru.headers import ResponseHead
from asbru.upstream.origin import Limits

_LEAST_FIELD_BYTES = 4  # "a:\r\n"
_END = b"\r\n\r\n"


class Refused(Exception):
    """The response cannot be used; the text says why. Raised inside the parser's callbacks, to stop it."""


class Heads:
    """Cuts the heads of one response, interim ones and the final one, out of what comes, in linear time."""

    __slots__ = ("_complete", "_held")

    def __init__(self) -> None:
        self._held = bytearray()
        """What came of a head whose end has not come yet."""
        self._complete = b""

    def clear(self) -> None:
        """The next response follows."""
        self._held.clear()
        self._complete = b""

    def take(self) -> bytes:
        """The head of which the parser has been given the end; empty when it sees an end elsewhere."""
        head, self._complete = self._complete, b""
        return head

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What to give the parser of `data`, piece by piece: no more than the end of one interim head at a time."""
        if not self._held:
            data = data.lstrip(b"\r\n")
        at = 0
        while at < len(data):
            known_bytes = len(self._held)
            if known_bytes:
                self._held += data
                end = self._held.find(_END, max(0, known_bytes - 3)) + 4
            else:
                end = data.find(_END, at) + 4
            if end < 4:
                if not known_bytes:
                    self._held += data[at:]
                yield data[at:]
                return
            if known_bytes:
                self._complete = bytes(self._held[:end])
                self._held.clear()
                end -= known_bytes
            else:
                self._complete = data[at:end]
            if not self._complete.startswith(b"HTTP/1.1 1"):
                yield data[at:]
                return
            yield data[at:end]
            at = end


def read(raw: bytes, limits: Limits) -> ResponseHead:
    """Raises `Refused` for a head over its limits, or with codings that we do not know.

    ``raw`` is what `Heads.take` gave: all up to and with the first empty line.
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
