"""Takes reasoning that is not Anthropic's out of a body that is relayed to an Anthropic-dialect provider.

A conversation that was answered by another provider holds thinking blocks whose signatures the gateway sealed
(blobs.py). Anthropic would refuse them. Only the messages that hold one are rewritten; every other byte stays.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects import splice
from asbru.dialects.blobs import PREFIX, is_sealed

_MARK = PREFIX.encode("ascii")


def without_sealed(body: bytes) -> bytes:
    """The body without thinking blocks that the gateway sealed; the same object when there is none.

    Raises `splice.SpliceError` when the messages are not a list of objects.
    """
    if _MARK not in body:
        return body
    members = splice.split(body)
    span = members.spans.get("messages")
    if span is None:
        return body
    try:
        items = msgspec.json.decode(body[span[0] : span[1]], type=list[msgspec.Raw])
        kept = [_message(bytes(item)) for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise splice.SpliceError("messages: Input should be a valid list of messages") from error
    messages = b"[" + b",".join(message for message in kept if message) + b"]"
    return splice.replace(body, members, {"messages": messages})


def _message(raw: bytes) -> bytes:
    """One message without sealed blocks, as it came when it holds none; empty when nothing is left of it."""
    if _MARK not in raw:
        return raw
    message = msgspec.json.decode(raw, type=dict[str, Any])
    content = message.get("content")
    if not isinstance(content, list):
        return raw
    kept = [block for block in content if not _is_sealed_block(block)]
    if len(kept) == len(content):
        return raw
    return splice.replace(raw, splice.split(raw), {"content": msgspec.json.encode(kept)}) if kept else b""


def _is_sealed_block(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    field = {"thinking": "signature", "redacted_thinking": "data"}.get(str(block.get("type")))
    value = block.get(field) if field is not None else None
    return isinstance(value, str) and is_sealed(value)
