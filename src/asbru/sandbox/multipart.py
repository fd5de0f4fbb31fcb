"""Reading ``multipart/form-data`` as it arrives: sans I/O, with bounded memory.

`Form` is fed bytes in any pieces and gathers the parts. It keeps at most ``limit_bytes`` of content in all, and the
heads of parts within `MAX_HEAD`; beyond that, and for anything malformed, it raises `ApiError`. Preamble and epilogue
are skipped. What the pieces are makes no difference.
"""

from __future__ import annotations

import email.message

from asbru.sandbox.answers import ApiError, invalid

MAX_HEAD = 16_384
MAX_PARTS = 32


class Part:
    """One field of the form."""

    def __init__(self, name: str, filename: str | None, content_type: str | None) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self.content = bytearray()


def boundary_of(content_type: str) -> bytes:
    """The boundary a ``content-type`` names; raises `ApiError` when it is not a form."""
    header = email.message.Message()
    header["content-type"] = content_type
    boundary: object = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise invalid("Content-Type must be multipart/form-data with a boundary")
    if len(boundary) > 200:
        raise invalid("The multipart boundary is too long")
    return boundary.encode("latin-1", "replace")


def _part(head: bytes) -> Part:
    header = email.message.Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        field, _, value = line.partition(":")
        if field.strip():
            header[field.strip()] = value.strip()
    name: object = header.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise invalid("A part of the form has no name")
    filename = header.get_filename()
    return Part(name, filename, header.get_content_type() if "content-type" in header else None)


class Form:
    def __init__(self, boundary: bytes, limit_bytes: int) -> None:
        self.parts: list[Part] = []
        self.done = False
        self._delimiter = b"\r\n--" + boundary
        self._limit = limit_bytes
        self._size = 0
        self._skip = 0
        """Bytes still to drop before the content: the line end of the head."""
        # As if a line had ended before the first byte: the first boundary then looks like every other.
        self._buffer = bytearray(b"\r\n")
        self._read = self._preamble

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while not self.done and self._read():
            pass
        if self.done:
            self._buffer.clear()

    def close(self) -> None:
        """The body has ended; raises `ApiError` when the form has not."""
        if not self.done:
            raise invalid("The multipart form is incomplete")

    def part(self, name: str) -> Part | None:
        return next((part for part in self.parts if part.name == name), None)

    def _preamble(self) -> bool:
        """Skip what stands before the first boundary."""
        at = self._buffer.find(self._delimiter)
        if at < 0:
            del self._buffer[: max(0, len(self._buffer) - len(self._delimiter))]
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._read = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        """Behind a boundary: the end of the form, or the head of a part."""
        if self._buffer.startswith(b"--"):
            self.done = True
            return False
        line = self._buffer.find(b"\r\n")
        if line < 0:
            return self._wait()
        if self._buffer[:line].strip():
            raise invalid("The multipart form is malformed")
        # The line's end stays: a part without any header is then headed by an empty line like any other.
        end = self._buffer.find(b"\r\n\r\n", line)
        if end < 0:
            return self._wait()
        if len(self.parts) == MAX_PARTS:
            raise invalid("The multipart form has too many parts")
        self.parts.append(_part(bytes(self._buffer[line + 2 : end])))
        # A content that is empty has its boundary right behind the head, so the last line end stays as well.
        del self._buffer[: end + 2]
        self._skip = 2
        self._read = self._content
        return True

    def _content(self) -> bool:
        part = self.parts[-1]
        at = self._buffer.find(self._delimiter)
        end = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter))
        if at < 0 and end == 0:
            return False
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        skipped = min(self._skip, len(taken))
        self._skip -= skipped
        taken = taken[skipped:]
        self._size += len(taken)
        if self._size > self._limit:
            raise ApiError(413, f"The file is larger than the sandbox keeps ({self._limit} bytes).")
        part.content += taken
        if at >= 0:
            del self._buffer[: len(self._delimiter)]
            self._read = self._after_boundary
        return at >= 0

    def _wait(self) -> bool:
        if len(self._buffer) > MAX_HEAD:
            raise invalid("The head of a part of the form is too long")
        return False
