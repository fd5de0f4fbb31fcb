"""The lines of a valid JSON or TOML file's values, which the parsers of both keep to themselves.

Only messages use them: a value whose line is not found has none, and never a wrong value.
"""

from __future__ import annotations

import json
import re
import tomllib

from asbru.load.problems import Path, Value

_json_mark = re.compile(r'"(?:[^"\\]|\\.)*+"|[][{},:\n]|[^][{},:\s"]+')
_toml_header = re.compile(r"\s*\[(\[?)([^\n]+?)\]\]?\s*(?:#.*)?")
_toml_key = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*+"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*+"|'[^']*'))*)\s*="""
)
_toml_long_text = re.compile(r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'', re.DOTALL)


def json_lines(text: str) -> dict[Path, int]:
    """The line of every key and list entry of a valid JSON text, counted from 1."""
    lines: dict[Path, int] = {}
    path: list[str | int] = []
    wants_key = False
    line = 1
    for mark in _json_mark.findall(text):
        if mark == "\n":
            line += 1
            continue
        if mark in "]}":
            path.pop()
            wants_key = False
            continue
        if mark == ",":
            last = path[-1]
            wants_key = isinstance(last, str)
            if isinstance(last, int):
                path[-1] = last + 1
            continue
        if mark == ":":
            continue
        if wants_key:
            path[-1] = json.loads(mark)
            lines[tuple(path)] = line
            wants_key = False
            continue
        if path and isinstance(path[-1], int):
            lines[tuple(path)] = line
        if mark == "{":
            path.append("")
            wants_key = True
        elif mark == "[":
            path.append(0)
    return lines


def toml_lines(text: str, value: Value) -> dict[Path, int]:
    """The line of the tables and of the keys that begin a line of a valid TOML text, counted from 1."""
    lines: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    plain = _toml_long_text.sub(lambda long: "\n" * long[0].count("\n"), text)
    for number, line in enumerate(plain.split("\n"), 1):
        if (key := _toml_key.match(line)) is not None:
            path = (*table, *_parts(key[1]))
        elif (header := _toml_header.fullmatch(line)) is not None:
            path = _in_arrays(_parts(header[2]), counts)
            if header[1]:
                index = counts[path] = counts.get(path, -1) + 1
                lines.setdefault(path, number)
                path = (*path, index)
            if not _exists(value, path):
                continue  # the entry of a list, such as `[1],`
            table = path
        else:
            continue
        if _exists(value, path):
            lines.setdefault(path, number)
    return lines


def _parts(key: str) -> Path:
    """A dotted key's parts; empty for what is none."""
    try:
        made: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ("",)
    parts: list[str] = []
    while isinstance(made, dict):
        ((part, made),) = made.items()
        parts.append(part)
    return tuple(parts)


def _in_arrays(parts: Path, counts: dict[Path, int]) -> Path:
    """A table's path with the index of each array on its way, which is the last one's."""
    path: Path = ()
    for at, part in enumerate(parts):
        path = (*path, part)
        if path in counts and at < len(parts) - 1:
            path = (*path, counts[path])
    return path


def _exists(value: Value, path: Path) -> bool:
    for part in path:
        inner = dict[str | int, Value](enumerate(value) if isinstance(value, list) else ())
        inner.update(value if isinstance(value, dict) else {})
        if part not in inner:
            return False
        value = inner[part]
    return True
