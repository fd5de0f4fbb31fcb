"""The language the request tables are written in: shapes that check plain JSON values.

A `Shape` is called with a value and the path to it. It returns when the value fits and raises `ApiError` when it does
not, worded as the real API words it: ``<path>: <what is wrong>``, for example ``max_tokens: Field required`` or
``messages.0.content.0.text.text: Input should be a valid string``. The first thing that is wrong is the one reported.
Blocks told apart by ``type`` have their type in the path, as in the real texts.

Nothing here knows what a message is; the tables are in `request_shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from asbru.sandbox.answers import ApiError

Path = tuple[str | int, ...]
Shape = Callable[[object, Path], None]
Fields = Mapping[str, Shape]


def wrong(path: Path, message: str) -> NoReturn:
    where = ".".join(str(step) for step in path)
    raise ApiError(400, f"{where}: {message}" if where else message)


def anything(value: object, path: Path) -> None:
    """Any JSON value."""


def flag(value: object, path: Path) -> None:
    if not isinstance(value, bool):
        wrong(path, "Input should be a valid boolean")


def text(*, pattern: str | None = None, least: int = 0, most: int | None = None) -> Shape:
    compiled = re.compile(pattern) if pattern else None

    def check(value: object, path: Path) -> None:
        if not isinstance(value, str):
            wrong(path, "Input should be a valid string")
        if len(value) < least:
            wrong(path, f"String should have at least {least} character{'s' if least != 1 else ''}")
        if most is not None and len(value) > most:
            wrong(path, f"String should have at most {most} character{'s' if most != 1 else ''}")
        # `$` also matches before a final newline, which the real API's regular expressions do not.
        if compiled and (not compiled.search(value) or value.endswith("\n")):
            wrong(path, f"String should match pattern '{pattern}'")

    return check


def number(*, least: float | None = None, most: float | None = None, whole: bool = False) -> Shape:
    kind = "integer" if whole else "number"

    def check(value: object, path: Path) -> None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            wrong(path, f"Input should be a valid {kind}")
        if least is not None and value < least:
            wrong(path, f"Input should be greater than or equal to {least}")
        if most is not None and value > most:
            wrong(path, f"Input should be less than or equal to {most}")

    return check


def one_of(*allowed: str) -> Shape:
    quoted = [f"'{name}'" for name in allowed]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def check(value: object, path: Path) -> None:
        if not isinstance(value, str) or value not in allowed:
            wrong(path, f"Input should be {listed}")

    return check


def maybe(shape: Shape) -> Shape:
    """The shape or ``null``."""

    def check(value: object, path: Path) -> None:
        if value is not None:
            shape(value, path)

    return check


def many(shape: Shape, *, least: int = 0, most: int | None = None) -> Shape:
    def check(value: object, path: Path) -> None:
        if not isinstance(value, list):
            wrong(path, "Input should be a valid list")
        if len(value) < least:
            wrong(path, f"List should have at least {least} item{'s' if least != 1 else ''} after validation")
        if most is not None and len(value) > most:
            wrong(path, f"List should have at most {most} items after validation, not {len(value)}")
        for index, item in enumerate(value):
            shape(item, (*path, index))

    return check


def either(plain: Shape, items: Shape) -> Shape:
    """A string, or else the other shape: ``content`` and ``system`` take both."""

    def check(value: object, path: Path) -> None:
        (plain if isinstance(value, str) else items)(value, path)

    return check


def table(shape: Shape) -> Shape:
    """An object with any keys whose values all have the shape."""

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "Input should be an object")
        for key, item in value.items():
            shape(item, (*path, key))

    return check


def record(required: Fields, optional: Fields | None = None, *, open: bool = False) -> Shape:
    """An object with these fields; others are refused unless it is ``open``."""
    fields = {**required, **(optional or {})}

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "Input should be an object")
        for name, shape in fields.items():
            if name in value:
                shape(value[name], (*path, name))
            elif name in required:
                wrong((*path, name), "Field required")
        if not open:
            for name in value:
                if name not in fields:
                    wrong((*path, name), "Extra inputs are not permitted")

    return check


def tagged(shapes: Mapping[str, Shape], *, default: str | None = None, quiet: bool = False) -> Shape:
    """An object whose ``type`` chooses its shape; the shapes need not name ``type`` themselves.

    ``default`` is the type when there is none (or null). ``quiet`` leaves the type out of the path.
    """
    expected = ", ".join(f"'{name}'" for name in sorted(shapes))

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "Input should be an object")
        tag = value.get("type")
        tag = default if tag is None else tag
        if tag is None:
            wrong((*path, "type"), "Field required")
        if not isinstance(tag, str) or tag not in shapes:
            wrong(path, f"Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}")
        rest = {name: item for name, item in value.items() if name != "type"}
        shapes[tag](rest, path if quiet else (*path, tag))

    return check
