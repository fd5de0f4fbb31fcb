r"""A string that a regular expression accepts, made by reading the expression and never by matching.

Reads what JSON schemas commonly hold: literals, classes, ``\d \w \s``, groups, alternatives, repeats, anchors, back
references. Look-arounds are taken as satisfied. The first alternative and the fewest repeats are written. Reading is
linear in the pattern and what is written is bounded, so a pattern cannot make it slow, whatever it would do to a
matcher.
"""

from __future__ import annotations

MAX_PATTERN = 1_000
MAX_DEPTH = 50
MAX_LENGTH = 10_000

ESCAPES = {
    "d": "0",
    "w": "a",
    "s": " ",
    "D": "a",
    "W": "-",
    "S": "a",
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "f": "\f",
    "v": "\v",
}
INSIDE = {"d": "0123456789", "w": "abcdefghijklmnopqrstuvwxyz0123456789_", "s": " \t\n"}
CANDIDATES = "a0A -_.zZ9!"
"""What is tried for a class that says what it is not."""


class Unreadable(Exception):
    """Too long, too deep or not a regular expression."""


def matching(pattern: str, least: int = 0) -> str:
    """A string for the pattern, with ``least`` characters if its open repeats have room; empty if unreadable."""
    try:
        made = _Reader(pattern, 0).read()
        return made if len(made) >= least else _Reader(pattern, least).read()
    except Unreadable:
        return ""


class _Reader:
    def __init__(self, pattern: str, more: int) -> None:
        if len(pattern) > MAX_PATTERN:
            raise Unreadable
        self.pattern = pattern
        self.at = 0
        self.more = more
        """Extra rounds for repeats without an upper limit."""
        self.groups: list[str] = []

    def read(self) -> str:
        made = self.alternatives(0)
        if self.at < len(self.pattern):
            raise Unreadable
        return made[:MAX_LENGTH]

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        found = self.peek()
        if not found:
            raise Unreadable
        self.at += 1
        return found

    def alternatives(self, depth: int) -> str:
        """The first of ``a|b|c``; the others are read and dropped."""
        if depth > MAX_DEPTH:
            raise Unreadable
        first = self.sequence(depth)
        while self.peek() == "|":
            self.take()
            self.sequence(depth)
        return first

    def sequence(self, depth: int) -> str:
        made = ""
        while self.peek() not in ("", "|", ")"):
            unit = self.unit(depth)
            least, most = self.repeat()
            rounds = min(least + self.more, MAX_LENGTH) if most is None else least
            made = (made + unit * min(rounds, MAX_LENGTH // max(1, len(unit))))[:MAX_LENGTH]
        return made

    def unit(self, depth: int) -> str:
        match self.take():
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "[":
                return self.one_of_class()
            case "(":
                return self.group(depth)
            case "\\":
                return self.escape()
            case literal:
                return literal

    def group(self, depth: int) -> str:
        silent = False
        captures = True
        if self.peek() == "?":
            self.take()
            kind = self.take()
            captures = False
            if kind in "=!":
                silent = True
            elif kind in "P<":
                captures, silent = self.named(kind)
            elif kind not in ":>":
                raise Unreadable
        made = self.alternatives(depth + 1)
        if self.take() != ")":
            raise Unreadable
        if captures:
            self.groups.append(made)
        return "" if silent else made

    def named(self, kind: str) -> tuple[bool, bool]:
        """Behind ``(?<`` or ``(?P``: a name, or a look behind. Says whether it captures and whether it is silent."""
        if kind == "P" and self.take() != "<":
            raise Unreadable
        if self.peek() in ("=", "!"):
            self.take()
            return False, True
        while self.take() != ">":
            pass
        return True, False

    def escape(self) -> str:
        letter = self.take()
        if letter in "bBAZz":
            return ""
        if letter in "123456789":
            index = int(letter) - 1
            return self.groups[index] if index < len(self.groups) else ""
        if letter in "xu":
            return self.code(2 if letter == "x" else 4)
        return ESCAPES.get(letter, letter)

    def code(self, digits: int) -> str:
        number = self.pattern[self.at : self.at + digits]
        self.at += digits
        try:
            return chr(int(number, 16))
        except ValueError:
            raise Unreadable from None

    def one_of_class(self) -> str:
        negated = self.peek() == "^"
        if negated:
            self.take()
        members: list[tuple[str, str]] = []
        while self.peek() != "]" or not members:
            low = self.member()
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]") and len(low) == 1:
                self.take()
                members.append((low, self.member()))
            else:
                members += [(letter, letter) for letter in low]
        self.take()
        if not negated:
            return members[0][0]
        free = (letter for letter in CANDIDATES if not any(low <= letter <= high for low, high in members))
        return next(free, "~")

    def member(self) -> str:
        """One member of a class; a shorthand stands for several letters."""
        letter = self.take()
        if letter != "\\":
            return letter
        shorthand = self.take()
        if shorthand in "xu":
            return self.code(2 if shorthand == "x" else 4)
        return INSIDE.get(shorthand) or ESCAPES.get(shorthand, shorthand)

    def repeat(self) -> tuple[int, int | None]:
        """How often the last unit comes: fewest and most; no limit is None."""
        bounds: tuple[int, int | None] = (1, 1)
        match self.peek():
            case "*":
                bounds = (0, None)
            case "+":
                bounds = (1, None)
            case "?":
                bounds = (0, 1)
            case "{":
                return self.braces()
            case _:
                return bounds
        self.take()
        self.laziness()
        return bounds

    def laziness(self) -> None:
        if self.peek() in ("?", "+"):
            self.take()

    def braces(self) -> tuple[int, int | None]:
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : end].partition(",") if end > 0 else ("", "", "")
        if not low.isdecimal() or not (high.isdecimal() or not high):
            return 1, 1  # a literal brace: it is the next unit
        self.at = end + 1
        self.laziness()
        return min(int(low), MAX_LENGTH), (None if comma and not high else int(high or low))
