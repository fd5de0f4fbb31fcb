"""The language the request tables are written in: shapes that check plain JSON values.

A `Shape` is called with a value and the path to it. It returns when the value fits and raises `ApiError` when it does
not, worded as the real API words it: ``<path>: <what is wrong>``, for example ``max_tokens: Field required`` or
``messages.0.content.0.text.text: Input should be a valid string``. The first thing that is wrong is the one reported.
Blocks told apart by ``type`` have their type in the path, as in the real texts.

What is raised is a `Misfit`, which also says what is wrong in facts, for other dialects to word. Nothing here knows
what a message is; the tables are in `request_shapes`, those of other dialects in ``speeches``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, NoReturn

from asbru.sandbox.answers import ApiError

Path = tuple[str | int, ...]
Shape = Callable[[object, Path], None]
Fields = Mapping[str, Shape]


What = Literal["missing", "unknown", "type", "choice", "tag", "below", "above", "short", "long", "pattern", "other"]
"""``choice`` and ``tag``: not one of those there are, as a value and as the ``type`` of an object; ``short`` and
``long`` are of texts and lists."""


class Misfit(ApiError):
    """Where a value does not fit and why; as an `ApiError`, in the Messages API's words."""

    def __init__(self, path: Path, message: str, what: What, expected: object, value: object) -> None:
        where = ".".join(str(step) for step in path)
        super().__init__(400, f"{where}: {message}" if where else message)
        self.path = path
        self.said = message
        """The same without where."""
        self.what = what
        self.expected = expected
        """What would fit: a JSON type, a bound, a pattern, or a tuple of values."""
        self.value = value


def wrong(path: Path, message: str, what: What = "other", expected: object = None, value: object = None) -> NoReturn:
    raise Misfit(path, message, what, expected, value)


def anything(value: object, path: Path) -> None:
    """Any JSON value."""


def flag(value: object, path: Path) -> None:
    if not isinstance(value, bool):
        wrong(path, "Input should be a valid boolean", "type", "boolean", value)


def text(*, pattern: str | None = None, least: int = 0, most: int | None = None) -> Shape:
    compiled = re.compile(pattern) if pattern else None

    def check(value: object, path: Path) -> None:
        if not isinstance(value, str):
            wrong(path, "Input should be a valid string", "type", "string", value)
        if len(value) < least:
            message = f"String should have at least {least} character{'s' if least != 1 else ''}"
            wrong(path, message, "short", least, value)
        if most is not None and len(value) > most:
            message = f"String should have at most {most} character{'s' if most != 1 else ''}"
            wrong(path, message, "long", most, value)
        # `$` also matches before a final newline, which the real API's regular expressions do not.
        if compiled and (not compiled.search(value) or value.endswith("\n")):
            wrong(path, f"String should match pattern '{pattern}'", "pattern", pattern, value)

    return check


def number(*, least: float | None = None, most: float | None = None, whole: bool = False) -> Shape:
    kind = "integer" if whole else "number"

    def check(value: object, path: Path) -> None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            wrong(path, f"Input should be a valid {kind}", "type", kind, value)
        if least is not None and value < least:
            wrong(path, f"Input should be greater than or equal to {least}", "below", least, value)
        if most is not None and value > most:
            wrong(path, f"Input should be less than or equal to {most}", "above", most, value)

    return check


def one_of(*allowed: str) -> Shape:
    quoted = [f"'{name}'" for name in allowed]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def check(value: object, path: Path) -> None:
        if not isinstance(value, str) or value not in allowed:
            wrong(path, f"Input should be {listed}", "choice", allowed, value)

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
            wrong(path, "Input should be a valid list", "type", "array", value)
        if len(value) < least:
            message = f"List should have at least {least} item{'s' if least != 1 else ''} after validation"
            wrong(path, message, "short", least, value)
        if most is not None and len(value) > most:
            message = f"List should have at most {most} items after validation, not {len(value)}"
            wrong(path, message, "long", most, value)
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
            wrong(path, "Input should be an object", "type", "object", value)
        for key, item in value.items():
            shape(item, (*path, key))

    return check


def record(required: Fields, optional: Fields | None = None, *, open: bool = False) -> Shape:
    """An object with these fields; others are refused unless it is ``open``."""
    fields = {**required, **(optional or {})}

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "Input should be an object", "type", "object", value)
        for name, shape in fields.items():
            if name in value:
                shape(value[name], (*path, name))
            elif name in required:
                wrong((*path, name), "Field required", "missing")
        if not open:
            for name in value:
                if name not in fields:
                    wrong((*path, name), "Extra inputs are not permitted", "unknown")

    return check


def tagged(shapes: Mapping[str, Shape], *, default: str | None = None, quiet: bool = False) -> Shape:
    """An object whose ``type`` chooses its shape; the shapes need not name ``type`` themselves.

    ``default`` is the type when there is none (or null). ``quiet`` leaves the type out of the path.
    """
    expected = ", ".join(f"'{name}'" for name in sorted(shapes))

    def check(value: object, path: Path) -> None:
        if not isinstance(value, dict):
            wrong(path, "Input should be an object", "type", "object", value)
        tag = value.get("type")
        tag = default if tag is None else tag
        if tag is None:
            wrong((*path, "type"), "Field required", "missing")
        if not isinstance(tag, str) or tag not in shapes:
            message = f"Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}"
            wrong(path, message, "tag", tuple(shapes), tag)
        rest = {name: item for name, item in value.items() if name != "type"}
        shapes[tag](rest, path if quiet else (*path, tag))

    return check
