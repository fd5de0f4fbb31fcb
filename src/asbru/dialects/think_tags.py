"""Reasoning that a host leaves at the head of the text, between ``<think>`` and ``</think>``."""

from __future__ import annotations

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """Text in, pieces of reasoning and of text out, whatever the text is cut into.

    Only a tag at the very beginning counts: further back, models write of tags.
    """

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._state = "before"
        self._held = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Pieces in order, each with whether it is reasoning."""
        if self._state == "text":
            return [(False, text)]
        text, self._held = self._held + text, ""
        if self._state == "before":
            begun = text.lstrip()
            if len(begun) < len(_OPEN) and _OPEN.startswith(begun):
                self._held = text
                return []
            if not begun.startswith(_OPEN):
                self._state = "text"
                return [(False, text)]
            self._state, text = "thinking", begun[len(_OPEN) :]
        if self._state == "thinking":
            thought, closed, rest = text.partition(_CLOSE)
            if not closed:
                cut = _unfinished(thought)
                self._held = thought[cut:]
                return [(True, thought[:cut])] if cut else []
            self._state = "after"
            return [piece for piece in ((True, thought), *self._after(rest)) if piece[1]]
        return self._after(text)

    def _after(self, text: str) -> list[tuple[bool, str]]:
        """Blank lines between the tag and the answer belong to neither."""
        text = text.lstrip()
        if text:
            self._state = "text"
        return [(False, text)] if text else []

    def end(self) -> list[tuple[bool, str]]:
        """What was held, now that nothing follows."""
        held, self._held = self._held, ""
        return [(self._state == "thinking", held)] if held else []


def _unfinished(text: str) -> int:
    """Where the beginning of a closing tag stands at the end; the length when there is none."""
    for length in range(min(len(_CLOSE) - 1, len(text)), 0, -1):
        if _CLOSE.startswith(text[-length:]):
            return len(text) - length
    return len(text)
