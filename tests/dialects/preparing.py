"""For tests of `prepare`: requests in few words, prepared for a dialect that has words for nothing.

Its table approximates everything, so that whatever is met shows; a test that needs another verdict says which.
"""

from __future__ import annotations

import json
from typing import Any

from asbru.dialects import messages
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import FIELDS, Losses, Row, Verdict
from asbru.dialects.messages import Block, Request, Text, ToolResult
from asbru.dialects.prepare import prepare

Json = dict[str, Any]

MARK: Json = {"type": "ephemeral"}
PNG: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
CALL: Json = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}


def prepared(
    turns: list[Json] | None = None, *, native: tuple[str, ...] = (), verdicts: dict[str, Verdict] | None = None,
    quirks: Json | None = None, facts: Json | None = None, **fields: Any,
) -> tuple[Request, Context, Losses]:  # fmt: skip
    body = {"model": "m", "max_tokens": 100, "messages": turns or [user("Hi")], **fields}
    table = {field: Row((verdicts or {}).get(field, "approximated"), "a note") for field in FIELDS}
    losses = Losses(table)
    context = Context(
        provider="p",
        model="m",
        shown_model="m",
        message_id="msg_1",
        quirks=Quirks(**quirks or {}),
        facts=Model(**facts or {}),
    )
    return prepare(messages.parse(json.dumps(body).encode()), context, losses, native), context, losses


def user(*content: Json | str) -> Json:
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in content]}


def assistant(*content: Json | str) -> Json:
    return {**user(*content), "role": "assistant"}


def system(*content: Json | str, **more: Any) -> Json:
    return {**user(*content), "role": "system", **more}


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said, **more}


def result(*content: Json | str, id: str = "call_1", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": user(*content)["content"], **more}


def said(request: Request) -> list[tuple[str, list[str]]]:
    """The turns as role and texts; what is no text by its type."""
    return [(turn.role, [_words(block) for block in turn.content]) for turn in request.messages]


def _words(block: Block) -> str:
    if isinstance(block, ToolResult):
        return "result: " + " | ".join(map(_words, block.content))
    return block.text if isinstance(block, Text) else block.type


def found(losses: Losses) -> set[str]:
    return set(losses.found)


def tool(name: str, **more: Any) -> Json:
    return {"name": name, "input_schema": {"type": "object", "properties": {}}, **more}
