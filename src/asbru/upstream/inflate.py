"""gzip and deflate bodies, decoded in bounded steps. Sans-I/O.

The client asks for ``identity``; some upstreams compress all the same, and a body that must be understood (a
translated one, an error) is then decoded here. A relayed body is never touched.

`Inflater.feed` takes compressed bytes and gives at most ``step_bytes`` of plain ones; while `pending` is true,
`more` gives the rest before the next `feed`. `end` says whether the stream was whole. All raise ``zlib.error``.
"""

from __future__ import annotations

import zlib

_GZIP = zlib.MAX_WBITS | 16
_RAW = -zlib.MAX_WBITS
MAX_MEMBERS = 64
"""The most gzip members of one body: each costs a copy of what follows it."""

ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})


class Inflater:
    """One compressed body. ``encoding`` is one of `ENCODINGS`."""

    __slots__ = ("_begun", "_decoder", "_gzip", "_input", "_members", "_step_bytes", "pending")

    def __init__(self, encoding: bytes, step_bytes: int) -> None:
        self._gzip = encoding != b"deflate"
        self._step_bytes = step_bytes
        self._decoder = zlib.decompressobj(_GZIP) if self._gzip else None
        self._input = b""
        self._begun = False
        self._members = 1
        self.pending = False

    def feed(self, data: bytes) -> bytes:
        """Some of what ``data`` decodes to; must not be called while `pending`."""
        self._begun = self._begun or bool(data)
        self._input += data
        if self._decoder is None:
            if len(self._input) < 2:
                return b""
            self._decoder = zlib.decompressobj(_deflate_window(self._input))
        return self.more()

    def more(self) -> bytes:
        """The next of it."""
        decoder = self._decoder
        assert decoder is not None  # `pending` is set by what follows alone
        if decoder.eof and self._input:
            if not self._gzip:
                raise zlib.error("data after the end of the deflate stream")
            self._members += 1
            if self._members > MAX_MEMBERS:
                raise zlib.error("too many gzip members")
            decoder = self._decoder = zlib.decompressobj(_GZIP)  # RFC 1952: members may follow one another
        plain = decoder.decompress(self._input, self._step_bytes)
        self._input = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        self.pending = bool(self._input) or len(plain) == self._step_bytes
        return plain

    def end(self) -> None:
        """Raise when the body stopped in the middle; a body of no bytes at all is whole."""
        if self._begun and (self._decoder is None or not self._decoder.eof):
            raise zlib.error("the compressed body is cut short")


def _deflate_window(start: bytes) -> int:
    # "deflate" is zlib by RFC 9110 §8.4.1.2; some servers send it raw. RFC 1950 §2.2 makes the first two bytes tell.
    is_zlib = start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else _RAW
