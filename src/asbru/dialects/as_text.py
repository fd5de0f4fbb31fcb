"""Blocks for targets that have no words for them: search results and documents as text, images checked on the way.

What is rendered says where it is from. Whatever cannot be rendered is met in `Losses` or refused with its path.
"""

from __future__ import annotations

from collections.abc import Iterable

from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Block, Document, Image, MessagesError, SearchResult, Text, blocks

_IMAGE_SOURCES = frozenset({"base64", "url", "file"})


def search_result_text(block: SearchResult) -> Text:
    """A search result as text that says where it is from."""
    body = "\n".join(part.text for part in block.content)
    text = f'<search_result source="{block.source}" title="{block.title}">\n{body}\n</search_result>'
    return Text(text=text, cache_control=block.cache_control)


def checked_image(block: Image, path: str, losses: Losses) -> list[Block]:
    """The image, where its source is known and whole."""
    source = block.source
    if source.type not in _IMAGE_SOURCES:
        losses.meet("block.unknown", path)
        return []
    losses.meet(f"image.{source.type}", path)
    if source.type == "base64":
        for field in ("media_type", "data"):
            if not getattr(source, field):
                raise LossyError(f"{path}.source.{field}", "Field required")
    return [block]


def document_text(block: Document, path: str, losses: Losses) -> list[Block]:
    """A document of text as text blocks, its title and context said, its images kept."""
    names = "".join(
        f' {name}="{value}"' for name, value in (("title", block.title), ("context", block.context)) if value
    )
    source = block.source
    plain = source.data or "" if source.type == "text" else source.content
    if isinstance(plain, str):
        return [Text(text=f"<document{names}>\n{plain}\n</document>", cache_control=block.cache_control)]
    try:
        parts = blocks(source.content, f"{path}.source.content")
    except MessagesError as error:
        raise LossyError(path, str(error)) from None
    kept: list[Block] = []
    for position, part in enumerate(parts):
        where = f"{path}.source.content.{position}"
        if isinstance(part, Image):
            kept += checked_image(part, where, losses)
        elif isinstance(part, Text):
            kept.append(part)
        else:
            losses.meet("block.unknown", where)
    end = Text(text="\n</document>", cache_control=block.cache_control)
    return join_texts([Text(text=f"<document{names}>\n"), *kept, end])


def join_texts(parts: Iterable[Block]) -> list[Block]:
    """The same parts with neighbouring texts made one."""
    joined: list[Block] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(text=last.text + part.text, cache_control=part.cache_control or last.cache_control)
        else:
            joined.append(part)
    return joined
