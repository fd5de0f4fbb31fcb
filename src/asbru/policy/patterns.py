"""Model patterns: ``*`` stands for any run of characters, every other character for itself.

Compiled once from the configuration, asked on every request: whole names are one set lookup, ``claude-*`` one
``startswith``. Anything more is matched segment by segment, without backtracking, because the name is the caller's:
there is no regular expression here. Case matters, as it does to providers.
"""

from __future__ import annotations

from collections.abc import Iterable


class Patterns:
    """A set of patterns. ``exact`` holds those without a ``*``; ``allows_all``: one of them matches every name."""

    __slots__ = ("_globs", "_prefixes", "allows_all", "exact")

    def __init__(self, patterns: Iterable[str]) -> None:
        globs = [pattern.split("*") for pattern in dict.fromkeys(patterns)]
        self.exact = frozenset(parts[0] for parts in globs if len(parts) == 1)
        starred = [parts for parts in globs if len(parts) > 1]
        self._prefixes = tuple(parts[0] for parts in starred if not any(parts[1:]))
        self._globs = tuple(parts for parts in starred if any(parts[1:]))
        self.allows_all = "" in self._prefixes

    def allow(self, name: str) -> bool:
        """Whether any pattern matches the whole of ``name``."""
        if self.allows_all or name in self.exact or name.startswith(self._prefixes):
            return True
        return bool(self._globs) and any(_matches(parts, name) for parts in self._globs)

    def __repr__(self) -> str:
        shown = sorted({*self.exact, *(f"{prefix}*" for prefix in self._prefixes), *map("*".join, self._globs)})
        return f"Patterns({', '.join(shown)})"


def _matches(parts: list[str], name: str) -> bool:
    """Whether ``name`` is the parts in order with anything between them. The leftmost fit of each part is enough."""
    first, *middle, last = parts
    if not name.startswith(first) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return position <= end
