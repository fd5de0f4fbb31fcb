"""Anthropic's client tools as custom tools, for providers that do not know them by name.

The client executes these itself; the model only has to call them with the documented input. Schemas and descriptions
follow contract/anthropic.md §2.4 and Anthropic's public tool references.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects.messages import Tool

Json = dict[str, Any]

_STRING: Json = {"type": "string"}
_INTEGER: Json = {"type": "integer"}
_RANGE: Json = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


def _object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": required}


_BASH = (
    "Run a command in a persistent bash session. `restart` starts a new one.",
    _object([], command=_STRING, restart={"type": "boolean"}),
)
_EDITOR = (
    "View, create and edit text files. `view` shows a file (optionally `view_range`) or a directory, `create` writes "
    "`file_text`, `str_replace` replaces the one occurrence of `old_str` by `new_str`, `insert` puts `insert_text` "
    "after line `insert_line`.",
    _object(
        ["command", "path"],
        command={"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        path=_STRING,
        view_range=_RANGE,
        file_text=_STRING,
        old_str=_STRING,
        new_str=_STRING,
        insert_line=_INTEGER,
        insert_text=_STRING,
    ),
)
_MEMORY = (
    "Keep notes in files under /memories: `view`, `create`, `str_replace`, `insert`, `delete`, `rename`.",
    _object(
        ["command"],
        command={"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
        path=_STRING,
        view_range=_RANGE,
        file_text=_STRING,
        old_str=_STRING,
        new_str=_STRING,
        insert_line=_INTEGER,
        insert_text=_STRING,
        old_path=_STRING,
        new_path=_STRING,
    ),
)
_COMPUTER = (
    "Use a computer by mouse, keyboard and screenshots. Coordinates are pixels [x, y].",
    _object(
        ["action"],
        action={
            "type": "string",
            "enum": [
                "key",
                "type",
                "mouse_move",
                "left_click",
                "left_click_drag",
                "right_click",
                "middle_click",
                "double_click",
                "triple_click",
                "left_mouse_down",
                "left_mouse_up",
                "hold_key",
                "scroll",
                "wait",
                "screenshot",
                "cursor_position",
                "zoom",
            ],
        },
        coordinate=_RANGE,
        start_coordinate=_RANGE,
        text=_STRING,
        scroll_direction={"type": "string", "enum": ["up", "down", "left", "right"]},
        scroll_amount=_INTEGER,
        duration={"type": "number"},
        region={"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
    ),
)
_BY_PREFIX: dict[str, tuple[str, Json]] = {
    "bash_": _BASH,
    "text_editor_": _EDITOR,
    "memory_": _MEMORY,
    "computer_20": _COMPUTER,
}


def custom(tool: Tool) -> Tool | None:
    """The custom tool that stands for a client tool; None for a type that is not one."""
    kind = tool.type or ""
    for prefix, (description, schema) in _BY_PREFIX.items():
        if kind.startswith(prefix):
            return msgspec.structs.replace(tool, type=None, description=description, input_schema=schema)
    return None
