"""What is wrong with a configuration, said so that its author can act on it.

A `Problem` is one fault at one place; a `ConfigError` is all of them at once. Neither ever holds a secret: values are
quoted only where they are names, and through `quoted`, which hides whatever looks like a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""What a configuration file holds, whatever its format."""

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top, such as ``("providers", "anthropic", "keys", 0)``."""

_PLAIN = re.compile(r"[A-Za-z0-9_/:@*-]+")
_MAX_SHOWN = 20
_MAX_QUOTED_CHARS = 80


class Problem(msgspec.Struct, frozen=True):
    """One fault; ``line`` counts from 1 where the format tells."""

    path: Path
    message: str
    line: int | None = None


class ConfigError(Exception):
    """The configuration is wrong; ``str()`` is what the operator is shown, a line for each problem."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: problem.line or 0)
        lines = [_line(file, problem) for problem in self.problems[:_MAX_SHOWN]]
        more = len(self.problems) - _MAX_SHOWN
        if more > 0:
            lines.append(f"{file}: and {more} more")
        super().__init__("\n".join(lines))

    def as_dict(self) -> dict[str, object]:
        """The same for programs."""
        problems = [{"path": dotted(each.path), "line": each.line, "message": each.message} for each in self.problems]
        return {"file": self.file, "problems": problems}


def _line(file: str, problem: Problem) -> str:
    parts = [file if problem.line is None else f"{file}:{problem.line}"]
    if problem.path:
        parts.append(dotted(problem.path))
    return ": ".join([*parts, problem.message])


def dotted(path: Path) -> str:
    """``providers.anthropic.keys[0].weigth``; a key with other characters stands in quotation marks."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if _PLAIN.fullmatch(part) and quoted(part) == f"`{part}`" else quoted(part)
        text += f".{key}" if text else key
    return text


def quoted(text: str) -> str:
    """A name from the file in backquotes, shortened, and hidden when it looks like a credential."""
    if text.lower().startswith("sk-"):
        return "`sk-…`"
    shown = "".join(char if char.isprintable() else "?" for char in text[:_MAX_QUOTED_CHARS])
    return f"`{shown}…`" if len(text) > _MAX_QUOTED_CHARS else f"`{shown}`"


def without_quotes(text: str) -> str:
    """A parser's message without what it quotes from the file."""
    return re.sub(r"""(['"])(.*?)\1""", lambda match: match[0] if len(match[2]) < 3 else "…", text)


def nearest(name: str, valid: Iterable[str], noun: str = "") -> str:
    """``; did you mean `weight`?`` or, when nothing is near, what there is (``noun`` says of what)."""
    import difflib  # only a wrong configuration pays for it

    known = sorted(valid)
    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {quoted(lowered[near[0]])}?"
    if not known:
        return f"; there are no {noun}" if noun else ""
    shown = ", ".join(quoted(each) for each in known[:_MAX_SHOWN])
    return f"; {noun or 'known here'}: {shown}{', …' if len(known) > _MAX_SHOWN else ''}"
