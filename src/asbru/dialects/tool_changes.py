"""Tools that a conversation has loaded, added or removed in its middle (contract/anthropic.md §2.2, §2.4)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from asbru.dialects.losses import LossyError
from asbru.dialects.messages import Json, Tool, ToolResult, Turn, Unknown


def changes(turns: Iterable[Turn]) -> tuple[set[str], list[Tool], set[str]]:
    """How the conversation has changed its tools: names that were loaded, tools that were added, names removed."""
    loaded: set[str] = set()
    added: dict[str, Tool] = {}
    removed: set[str] = set()
    for index, turn in enumerate(turns):
        for block in turn.content:
            if isinstance(block, ToolResult):
                for part in block.content:
                    if isinstance(part, Unknown) and part.type == "tool_reference":
                        loaded.add(str(part.raw.get("tool_name")))
            elif isinstance(block, Unknown) and block.type in ("tool_addition", "tool_removal"):
                change = block.raw.get("tool")
                tool = _changed(change if isinstance(change, dict) else {}, f"messages.{index}")
                if block.type == "tool_removal":
                    removed.add(tool.name)
                    continue
                removed.discard(tool.name)
                if tool.input_schema is None and tool.is_custom:
                    loaded.add(tool.name)
                else:
                    added[tool.name] = tool
    return loaded, list(added.values()), removed


def _changed(change: Json, path: str) -> Tool:
    """The tool that an addition or removal is about: its definition, or no more than its name."""
    if change.get("type") != "tool_definition":
        return Tool(name=str(change.get("name")))
    try:
        return msgspec.convert(change.get("definition"), Tool)
    except msgspec.ValidationError as error:
        raise LossyError(f"{path}.content", str(error)) from None
