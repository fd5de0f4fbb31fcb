"""Images and documents by URL, for targets that fetch none: found in a request, and replaced once they were fetched.

A codec says which kinds nobody fetches for its target (`Codec.unfetched`); `carry` finds those in a request and puts
what was fetched in their place, as base64, which every codec has words for. Who fetches, and what may be fetched, is
`asbru.fetch`'s. What is not there yet gets a stand-in, so that whatever else is wrong with a request is known before
anything is fetched for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Block, Document, Image, Json, Request, Source, ToolResult

Kind = Literal["image", "document"]


class Wanted(NamedTuple):
    """What is to be fetched."""

    kind: Kind
    url: str


class Media(NamedTuple):
    """What a URL led to, in base64."""

    media_type: str
    data: str


class Refused(NamedTuple):
    """Why a URL led to nothing; ``reason`` is shown to the client."""

    reason: str


Fetched = Mapping[Wanted, Media | Refused]

_STAND_INS: dict[Kind, Media] = {
    "image": Media("image/png", "iVBORw0KGgo="),
    "document": Media("application/pdf", "JVBERi0="),
}


def carry(request: Request, kinds: Collection[Kind], fetched: Fetched, losses: Losses) -> list[Wanted]:
    """Put what was fetched in the place of its URLs; returns what is still to be fetched, each once.

    Changes ``request``. Raises `LossyError`, which names the place, for a URL that led to nothing.
    """
    missing: dict[Wanted, None] = {}
    for kind, path, block in _places(request) if kinds else ():
        if kind not in kinds:
            continue
        url = _url(block)
        if not url:
            raise LossyError(f"{path}.{kind}.source.url", "Field required")
        wanted = Wanted(kind, url)
        media = fetched.get(wanted)
        if isinstance(media, Refused):
            raise LossyError(f"{path}.{kind}.source.url", media.reason)
        if media is None:
            missing[wanted] = None
            media = _STAND_INS[kind]
        if isinstance(block, dict):
            block["source"] = {"type": "base64", "media_type": media.media_type, "data": media.data}
        else:
            block.source = Source(type="base64", media_type=media.media_type, data=media.data)
        losses.note("emulated", f"{kind}.url", "fetched by the gateway", path)
    return list(missing)


_Place = tuple[Kind, str, Image | Document | Json]


def _places(request: Request) -> Iterator[_Place]:
    """Every image and document by URL, with its path; inside a document of content they are still JSON."""
    for index, turn in enumerate(request.messages):
        yield from _among(turn.content, f"messages.{index}.content")


def _among(blocks: list[Block], path: str) -> Iterator[_Place]:
    for position, block in enumerate(blocks):
        where = f"{path}.{position}"
        match block:
            case ToolResult():
                yield from _among(block.content, f"{where}.content")
            case Image() if block.source.type == "url":
                yield "image", where, block
            case Document() if block.source.type == "url":
                yield "document", where, block
            case Document() if block.source.type == "content" and isinstance(block.source.content, list):
                for place, part in enumerate(block.source.content):
                    source = part.get("source")
                    if part.get("type") == "image" and isinstance(source, dict) and source.get("type") == "url":
                        yield "image", f"{where}.source.content.{place}", part


def _url(block: Image | Document | Json) -> str | None:
    url = block["source"].get("url") if isinstance(block, dict) else block.source.url
    return url if isinstance(url, str) else None
