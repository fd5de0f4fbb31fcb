"""Fetches what clients name by URL, for targets that cannot: the one place where a client chooses what is connected to.

Off unless the operator says otherwise, and bounded on every side: hosts by the operator's list, addresses by
`upstream.reach` at the moment of connecting, redirects by number and each judged anew, bytes and URLs per request, time
per URL, connections for all requests together, types by what the server says and what the bytes are. No proxy is used,
since it would look names up for itself, and nothing of the client's or the gateway's own goes along: no credential, no
cookie, no header.

What went wrong is told to the client in words that do not say what lies at an address that may not be reached.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable
from functools import partial
from urllib.parse import urljoin

from asbru import config
from asbru.dialects.by_url import Kind, Media, Refused, Wanted
from asbru.upstream.http1 import Limits, Pool, Response, UpstreamError
from asbru.upstream.providers import user_agent
from asbru.upstream.reach import Hosts, Url, admits, parse

MAX_REDIRECTS = 3
MAX_CONNECTIONS = 64
"""At a time, for all requests together; who waits for one is on his own time."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TYPES: dict[Kind, dict[str, str]] = {
    "image": {
        "image/jpeg": "image/jpeg",
        "image/jpg": "image/jpeg",
        "image/png": "image/png",
        "image/gif": "image/gif",
        "image/webp": "image/webp",
    },
    "document": {"application/pdf": "application/pdf"},
}
"""What a server may call it -> what it is."""
_PDF_WITHIN_BYTES = 1024
"""How far down readers look for the beginning of a PDF."""


class _Refusal(Exception):
    """Why a URL leads to nothing, for the client."""


class _Budget:
    """The bytes that a request may still fetch."""

    __slots__ = ("_left_bytes", "_limit_bytes")

    def __init__(self, limit_bytes: int, fetched: Iterable[Media | Refused]) -> None:
        used = (len(media.data) // 4 * 3 - media.data.count("=", -2) for media in fetched if isinstance(media, Media))
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes - sum(used)

    def require(self, size_bytes: int) -> None:
        """Raises `_Refusal` when so much is not left."""
        if size_bytes > self._left_bytes:
            raise _Refusal(f"more than {self._limit_bytes} bytes would have to be fetched for this request")

    def take(self, size_bytes: int) -> None:
        self.require(size_bytes)
        self._left_bytes -= size_bytes


class Fetcher:
    """Fetches as one configuration allows."""

    __slots__ = ("_admits", "_context", "_hosts", "_limits", "_places", "_settings")

    def __init__(self, settings: config.Fetch, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._hosts = Hosts(settings.hosts)
        self._context = context
        self._admits = partial(admits, allow_private=settings.allow_private)
        within_s = settings.timeout_s
        self._limits = Limits(max_connections=1, connect_s=within_s, first_byte_s=within_s, idle_s=within_s)
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def fetch(self, wanted: Iterable[Wanted], fetched: dict[Wanted, Media | Refused]) -> None:
        """Fetch all of it at once, beside what a request has ``fetched`` already, and add what each URL led to.

        A URL that leads to nothing is not tried again for this request. Cancelling closes every connection.
        """
        settings = self._settings
        budget = _Budget(settings.max_bytes, fetched.values())
        async with asyncio.TaskGroup() as group:
            for each in wanted:
                if len(fetched) >= settings.max_per_request:
                    most = settings.max_per_request
                    fetched[each] = Refused(f"at most {most} URLs are fetched for one request")
                    continue
                fetched[each] = Refused("was not fetched")  # its place is taken; replaced below
                group.create_task(self._into(fetched, each, budget))

    async def _into(self, fetched: dict[Wanted, Media | Refused], wanted: Wanted, budget: _Budget) -> None:
        fetched[wanted] = await self._media(wanted, budget)

    async def _media(self, wanted: Wanted, budget: _Budget) -> Media | Refused:
        too_late = Refused(f"could not be fetched within {self._settings.timeout_s:g} s")
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._places:
                return await self._follow(wanted, budget)
        except _Refusal as refusal:
            return Refused(str(refusal))
        except TimeoutError:
            return too_late
        except UpstreamError as error:
            if error.kind in ("connect_timeout", "first_byte_timeout", "idle_timeout"):
                return too_late
            return Refused(_SAID.get(error.kind, "could not be fetched: the connection broke"))

    async def _follow(self, wanted: Wanted, budget: _Budget) -> Media:
        text = wanted.url
        for _ in range(1 + MAX_REDIRECTS):
            try:
                url = parse(text, allow_http=self._settings.allow_http)
            except ValueError as error:
                raise _Refusal(str(error)) from None
            if not self._hosts.allow(url.origin):
                raise _Refusal("the operator does not allow fetching from this host")
            found = await self._ask(url, wanted.kind, budget)
            if isinstance(found, Media):
                return found
            try:
                text = urljoin(text, found)
            except ValueError:
                raise _Refusal("was redirected to what is not a URL") from None
        raise _Refusal(f"was redirected more than {MAX_REDIRECTS} times")

    async def _ask(self, url: Url, kind: Kind, budget: _Budget) -> Media | str:
        """What is there, or where it says to go instead."""
        accept = ", ".join(dict.fromkeys(_TYPES[kind].values())).encode("ascii")
        head = b"GET %b HTTP/1.1\r\nhost: %b\r\naccept: %b\r\naccept-encoding: identity\r\n%bconnection: close\r\n\r\n"
        pool = Pool(url.origin, self._limits, ssl_context=self._context, admits=self._admits)
        try:
            response = await pool.request(head % (url.target, url.host, accept, user_agent()), method=b"GET")
            try:
                if response.status in _REDIRECTS:
                    location = _said(response, b"location")
                    if not location:
                        raise _Refusal("was redirected to what is not a URL")
                    return location
                if response.status != 200:
                    raise _Refusal(f"could not be fetched: the status was {response.status}")
                return await _read(response, kind, budget)
            finally:
                response.close()
        finally:
            await pool.close()


_SAID = {
    "connect": "could not be fetched: its host could not be reached at an address that is allowed",
    "tls": "could not be fetched: no secure connection could be made",
    "protocol": "could not be fetched: the answer was not HTTP",
}


def _said(response: Response, name: bytes) -> str:
    """A field of the response's head; empty where it is missing or no text."""
    value = next((value for found, value in response.headers if found == name), b"")
    return value.decode("ascii") if value.isascii() else ""


async def _read(response: Response, kind: Kind, budget: _Budget) -> Media:
    declared = _said(response, b"content-type").partition(";")[0].strip().lower()
    if declared not in _TYPES[kind]:
        raise _Refusal(f"is not {_WANTED[kind]}: its content-type is another one")
    length = _said(response, b"content-length")
    if length.isdigit():
        budget.require(int(length))
    if not response.inflate():
        raise _Refusal("has a content-encoding that was not asked for")
    data = bytearray()
    while piece := await response.read():
        budget.take(len(piece))
        data += piece
    media_type = sniffed(data)
    if media_type not in _TYPES[kind]:
        raise _Refusal(f"is not {_WANTED[kind]}: its bytes are something else")
    return Media(media_type, base64.b64encode(data).decode("ascii"))


_WANTED: dict[Kind, str] = {"image": "a JPEG, PNG, GIF or WebP image", "document": "a PDF"}


def sniffed(data: bytes | bytearray) -> str | None:
    """What the bytes are; servers say the wrong one of the image types, and providers refuse it then."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.find(b"%PDF-", 0, _PDF_WITHIN_BYTES) >= 0:
        return "application/pdf"
    return None
