"""Takes what Anthropic would refuse to read out of a body that is relayed to an Anthropic-dialect provider.

Some of it is known before it is sent, some only from the provider's refusal (`without_thinking`).

A conversation that was answered by another provider holds thinking blocks whose signatures the gateway sealed
(blobs.py), and its web searches and citations of web pages, whose encrypted parts bear the same mark. Only the messages
that hold one are rewritten; every other byte stays.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects import json_text, splice
from asbru.dialects.blobs import PREFIX, is_sealed
from asbru.dialects.bounds import contains

_MARK = PREFIX.encode("ascii")


def without_sealed(body: bytes) -> bytes:
    """The body without thinking blocks that the gateway sealed; the same object when there is none.

    Raises `splice.SpliceError` when the messages are not a list of objects.
    """
    if not contains(body, _MARK):
        return body
    members = splice.split(body)
    span = members.spans.get("messages")
    if span is None:
        return body
    try:
        kept = [_message(bytes(turn)) for turn in splice.turns(body[span[0] : span[1]])]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise splice.SpliceError("messages: Input should be a valid list of messages") from error
    messages = b"[" + b",".join(message for message in kept if message) + b"]"
    return splice.replace(body, members, {"messages": messages})


def without_thinking(body: bytes) -> bytes:
    """The body without any reasoning in earlier turns; the same object when there is none.

    For a provider that refused a signature as another's. Reasoning with a budget is switched off within a tool loop,
    since Claude refuses to think where the turn that it continues does not begin with thinking.
    Raises `splice.SpliceError` when the messages are not a list of objects.
    """
    members = splice.split(body)
    try:
        turns = msgspec.json.decode(members.get("messages") or b"[]", type=list[dict[str, Any]])
        thinking = msgspec.json.decode(members.get("thinking") or b"{}", type=dict[str, Any] | None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise splice.SpliceError("messages: Input should be a valid list of messages") from error
    kept = [turn for turn in map(_without_reasoning, turns) if turn.get("content") != []]
    if kept == turns:
        return body
    changes: dict[str, bytes | None] = {"messages": json_text.encode(kept)}
    if (thinking or {}).get("type") == "enabled" and _continues_a_tool_call(kept):
        changes["thinking"] = b'{"type":"disabled"}'
    return splice.replace(body, members, changes)


def _without_reasoning(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    kept = [block for block in content if not (isinstance(block, dict) and block.get("type") in _REASONING)]
    return turn if len(kept) == len(content) else {**turn, "content": kept}


def _continues_a_tool_call(turns: list[dict[str, Any]]) -> bool:
    content = turns[-1].get("content") if turns else None
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


_REASONING = frozenset({"thinking", "redacted_thinking"})


def _message(raw: bytes) -> bytes:
    """One message without sealed blocks, as it came when it holds none; empty when nothing is left of it."""
    if _MARK not in raw:
        return raw
    message = msgspec.json.decode(raw, type=dict[str, Any])
    content = message.get("content")
    if not isinstance(content, list):
        return raw
    searches = {str(block.get("tool_use_id")) for block in content if _is_sealed_search(block)}
    kept = []
    for block in content:
        if (
            _is_sealed_block(block)
            or _is_sealed_search(block)
            or (isinstance(block, dict) and str(block.get("id")) in searches)
        ):
            continue
        kept.append(_without_citations(block))
    if kept == content:
        return raw
    return splice.replace(raw, splice.split(raw), {"content": json_text.encode(kept)}) if kept else b""


def _is_sealed_block(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    field = {"thinking": "signature", "redacted_thinking": "data"}.get(str(block.get("type")))
    return field is not None and _is_mark(block.get(field))


def _is_sealed_search(block: object) -> bool:
    """Whether it is the result of another provider's web search."""
    if not isinstance(block, dict) or block.get("type") != "web_search_tool_result":
        return False
    found = block.get("content")
    return isinstance(found, list) and any(isinstance(page, dict) and _is_mark(page.get(_PAGE)) for page in found)


def _without_citations(block: Any) -> Any:
    """The block without citations of pages that another provider found; the same object when it has none."""
    citations = block.get("citations") if isinstance(block, dict) else None
    if not isinstance(citations, list):
        return block
    kept = [each for each in citations if not (isinstance(each, dict) and _is_mark(each.get(_INDEX)))]
    if len(kept) == len(citations):
        return block
    rest = {name: value for name, value in block.items() if name != "citations"}
    return {**rest, "citations": kept} if kept else rest


_PAGE = "encrypted_content"
_INDEX = "encrypted_index"


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and is_sealed(value)
