"""The Files API in memory: uploads are kept up to a total size, the oldest go first.

A file's id comes from its name, type and content, so the same upload is the same file. Unlike the real API's, uploaded
files can be downloaded again, so that a client's download can be tried.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from urllib.parse import parse_qsl

import msgspec

from asbru.sandbox import pages
from asbru.sandbox.answers import ApiError, invalid
from asbru.sandbox.ids import EPOCH, identifier
from asbru.sandbox.multipart import Form
from asbru.sandbox.shape import number

Json = dict[str, object]

MAX_FILES = 10_000
MAX_IDS = 100
EXPIRY = number(whole=True, least=3_600, most=7_776_000)


class File(msgspec.Struct, frozen=True):
    id: str
    filename: str
    mime_type: str
    content: bytes
    expires_at: str | None

    def show(self) -> Json:
        return {
            "id": self.id,
            "type": "file",
            "filename": self.filename,
            "mime_type": self.mime_type,
            "size_bytes": len(self.content),
            "created_at": EPOCH,
            "downloadable": True,
            "expires_at": self.expires_at,
        }


def _expiry(form: Form) -> str | None:
    part = form.part("expires_in_seconds")
    if part is None:
        return None
    text = part.content.decode("latin-1")
    EXPIRY(int(text) if text.isdecimal() and len(text) < 10 else None, ("expires_in_seconds",))
    at = datetime.datetime.fromisoformat(EPOCH) + datetime.timedelta(seconds=int(text))
    return at.isoformat().replace("+00:00", "Z")


class Files:
    """A container of file ids, with what is behind them."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[str, File] = OrderedDict()

    def __contains__(self, file_id: object) -> bool:
        return file_id in self._kept

    def add(self, form: Form) -> File:
        """Keep the ``file`` of an uploaded form."""
        part = form.part("file")
        if part is None:
            raise invalid("file: Field required")
        content = bytes(part.content)
        filename = part.filename or "unnamed"
        mime_type = part.content_type or "application/octet-stream"
        file_id = identifier("file", filename.encode(), mime_type.encode(), content)
        file = File(file_id, filename, mime_type, content, _expiry(form))
        self._forget(file_id)
        self._kept[file_id] = file
        self.bytes += len(content)
        while self.bytes > self.max_bytes or len(self._kept) > MAX_FILES:
            self._forget(next(iter(self._kept)))
        return file

    def get(self, file_id: str) -> File:
        file = self._kept.get(file_id)
        if file is None:
            raise ApiError(404, f"File not found: {file_id}")
        return file

    def delete(self, file_id: str) -> Json:
        self.get(file_id)
        self._forget(file_id)
        return {"id": file_id, "type": "file_deleted"}

    def _forget(self, file_id: str) -> None:
        file = self._kept.pop(file_id, None)
        if file is not None:
            self.bytes -= len(file.content)

    def list(self, query: bytes, *, with_ids: bool) -> Json:
        """One page, newest first; ``with_ids``: as the first beta had it, else with ``next_page``."""
        items = [file.show() for file in reversed(self._kept.values())]
        if with_ids:
            return {**pages.page(items, pages.parameters(query))}
        asked = [value for key, value in parse_qsl(query.decode("latin-1")) if key in ("ids", "ids[]")]
        if asked:
            if len(asked) > MAX_IDS:
                raise invalid(f"ids: List should have at most {MAX_IDS} items after validation, not {len(asked)}")
            return {"data": [item for item in items if item["id"] in asked], "next_page": None}
        given = pages.parameters(query)
        cursor = given.pop("page", "")
        found = pages.page(items, {"limit": str(pages.limit_of(given)), "after_id": cursor.removeprefix("page_")})
        return {"data": found["data"], "next_page": f"page_{found['last_id']}" if found["has_more"] else None}
