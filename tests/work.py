"""Counting the work that a parser does, in bytes and characters: what it searches, copies and joins.

`Bytes`, `Buffer` and `Text` behave as ``bytes``, ``bytearray`` and ``str`` and add to a `Work` what each operation
goes through. A parser gets them as its input, and in the place of the ``bytearray`` that it makes for itself
(`counted`). Time is not measured, so the outcome is the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest


class Work:
    """How many bytes (or characters) were gone through, over all."""

    done = 0


def _searched(size: int, found: int, start: int, width: int) -> int:
    return (found + width if found >= 0 else size) - min(start, size)


class _Counting:
    """The operations of ``bytes`` and ``bytearray`` whose cost depends on a length."""

    def find(self, sub: Any, start: int = 0, *end: int) -> int:
        found: int = super().find(sub, start, *end)  # type: ignore[misc]
        Work.done += _searched(len(self), found, start, len(sub))  # type: ignore[arg-type]
        return found

    def count(self, sub: Any, *where: int) -> int:
        Work.done += len(self)  # type: ignore[arg-type]
        return super().count(sub, *where)  # type: ignore[misc,no-any-return]

    def __contains__(self, sub: Any) -> bool:
        return self.find(sub if isinstance(sub, bytes) else bytes((sub,))) >= 0

    def __getitem__(self, key: Any) -> Any:
        got = super().__getitem__(key)  # type: ignore[misc]
        if not isinstance(key, slice):
            return got
        Work.done += len(got)
        return type(self)(got)  # type: ignore[call-arg]

    def __add__(self, other: Any) -> Any:
        made = super().__add__(other)  # type: ignore[misc]
        Work.done += len(made)
        return type(self)(made)  # type: ignore[call-arg]

    def lstrip(self, *chars: Any) -> Any:
        made = super().lstrip(*chars)  # type: ignore[misc]
        Work.done += len(self)  # type: ignore[arg-type]
        return type(self)(made)  # type: ignore[call-arg]


class Bytes(_Counting, bytes):  # type: ignore[misc]
    """Input that counts."""

    def __radd__(self, other: bytes) -> Bytes:
        Work.done += len(other) + len(self)
        return Bytes(bytes(other) + bytes(self))


class Buffer(_Counting, bytearray):  # type: ignore[misc]
    """A buffer that counts. Appending to it costs what is appended; what leaves it at its head costs nothing."""

    def __iadd__(self, other: Any) -> Buffer:
        Work.done += len(other)
        super().__iadd__(bytes(other))
        return self


class Text(str):
    """Text that counts what it is joined to, one after another; ``"".join`` is as long as what it makes."""

    def __radd__(self, other: str) -> Text:
        Work.done += len(other) + len(self)
        return Text(str(other) + str(self))

    def __add__(self, other: str) -> Text:
        Work.done += len(other) + len(self)
        return Text(str(self) + str(other))


@pytest.fixture
def work() -> Iterator[Work]:
    """From here on, what is done is counted."""
    Work.done = 0
    yield Work()
    Work.done = 0


def counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *patterns: str) -> None:
    """Have a module's ``bytearray`` count, and its searches with the patterns of these names."""
    monkeypatch.setattr(module, "bytearray", Buffer, raising=False)
    for name in patterns:
        search = getattr(module, name)

        def counting(source: bytes, start: int = 0, search: Any = search) -> re.Match[bytes] | None:
            match: re.Match[bytes] | None = search(source, start)
            Work.done += (match.end() if match else len(source)) - start
            return match

        monkeypatch.setattr(module, name, counting)


def cut(data: bytes, size: int) -> list[bytes]:
    """In pieces of that many bytes."""
    return [Bytes(data[at : at + size]) for at in range(0, len(data), size)]
