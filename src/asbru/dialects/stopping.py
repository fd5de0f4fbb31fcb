"""Stop sequences that the gateway itself watches for, because the provider takes fewer or none.

A `Watch` stands between a decoder's text and the client. It lets text through as soon as no sequence can begin in it,
so less than the longest sequence is held back, and it cuts before the sequence that is complete first, as the Messages
API does: the sequence itself is not part of the answer. Where the text is cut into pieces changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from asbru.dialects.losses import Losses, LossyError

MAX_CHARS = 1000
"""The most characters of a sequence that the gateway watches for; every piece of text is compared with it."""
MAX_SEQUENCES = 64
"""The most sequences that the gateway watches for."""
MAX_TOTAL_CHARS = 4000
"""The most characters of all of them together."""


def divide(sequences: Sequence[str], most: int, losses: Losses) -> tuple[list[str], list[str]]:
    """The sequences that go upstream, ``most`` at most, and those that the gateway watches for (`Context`)."""
    native = [sequence for sequence in sequences if sequence][:most]
    watched = [sequence for sequence in sequences if sequence][most:]
    for sequence in watched:
        if len(sequence) > MAX_CHARS:
            raise LossyError("stop_sequences", f"This model takes none of more than {MAX_CHARS} characters")
    if len(watched) > MAX_SEQUENCES:
        raise LossyError("stop_sequences", f"This model takes at most {most + MAX_SEQUENCES}")
    if sum(map(len, watched)) > MAX_TOTAL_CHARS:
        behind = f" after the first {most}" if most else ""
        raise LossyError("stop_sequences", f"This model takes at most {MAX_TOTAL_CHARS} characters in all{behind}")
    if watched:
        losses.note("emulated", "stop_sequences", f"the provider takes {most}; the gateway watches for the others")
    return native, watched


class Watch:
    """One block of text at a time. ``matched`` is the sequence that was met; from then on nothing comes through."""

    __slots__ = ("_held", "_longest", "_sequences", "matched")

    def __init__(self, sequences: Sequence[str]) -> None:
        """None of the ``sequences`` may be empty."""
        self._sequences = tuple(sequences)
        self._longest = max(map(len, self._sequences), default=0)
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """What can be let through now."""
        if self.matched is not None:
            return ""
        # What was held back has none in it, so each is searched where it could end in what is new.
        known = len(self._held) + 1
        text = self._held + text
        found = [
            (start + len(each), start, each)
            for each in self._sequences
            if (start := text.find(each, max(0, known - len(each)))) >= 0
        ]
        if found:
            _, start, self.matched = min(found)
            self._held = ""
            return text[:start]
        keep = self._beginning(text)
        self._held = text[keep:]
        return text[:keep]

    def end(self) -> str:
        """The text is over: what was held back after all."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Where in the text a sequence may have begun that is not complete; its length when nowhere."""
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            if any(sequence.startswith(text[start:]) for sequence in self._sequences):
                return start
        return len(text)
