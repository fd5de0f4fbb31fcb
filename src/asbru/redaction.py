"""Taking the credential that was sent out of what an upstream says of a request: error bodies, error events, headers.

The value is known, so nothing is guessed: it is looked for as it is, in JSON's, HTML's and percent-encoding's escapes
(also one inside another), in base64 at any alignment and in hexadecimal, in any case of letters. What is found becomes
`MASK`. Where it was escaped, other escapes of plain characters in the text are resolved as well; a large text with an
escaped value in it becomes `MASK` as a whole, because resolving its escapes one by one would take too long.

Everything about a value that can be computed beforehand is, in `Redactor`; a text without it costs a search for each
of some ten forms.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from functools import lru_cache

MASK = b"***"
LEAST_CHARS = 6
"""A shorter value is no credential, and would be found in ordinary words."""
_ROUNDS = 3
_LARGE_BYTES = 16_384

_escape = re.compile(
    rb"%([0-9a-f]{2})|\\+(?:u00|x)([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}([0-9]{2,3});|\\+(/)", re.IGNORECASE
)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=:@!$*%")
"""What an escape may stand for that is resolved: nothing that would end a text in JSON, HTML or a header."""


class Redactor:
    """Finds some values in texts and masks them."""

    __slots__ = ("_needles",)

    def __init__(self, values: Iterable[str]) -> None:
        found = {form.lower() for value in values if len(value) >= LEAST_CHARS for form in _forms(value)}
        self._needles = sorted(found, key=len, reverse=True)

    def __repr__(self) -> str:
        return "Redactor(***)"

    def also(self, value: str) -> Redactor:
        """One that looks for another value too, as it is: for what is good for one request only."""
        made = Redactor(())
        made._needles = [value.lower().encode("latin-1"), *self._needles]
        return made

    def clean(self, text: bytes) -> bytes:
        """The text without the values; the same object when they are not in it."""
        plain = text
        for _ in range(_ROUNDS):
            lower = plain.lower()
            for needle in self._needles:
                if needle in lower:
                    return self._masked(plain) if plain is text or len(text) <= _LARGE_BYTES else MASK
            if not (b"%" in plain or b"\\" in plain or b"&#" in plain):
                return text
            resolved = _escape.sub(_resolved, plain) if len(text) <= _LARGE_BYTES else _resolved_at_once(lower)
            if resolved == plain:
                return text
            plain = resolved
        return text

    def clean_text(self, text: str) -> str:
        """As `clean`, for text."""
        return self.clean(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def _masked(self, text: bytes) -> bytes:
        for needle in self._needles:
            pieces = text.lower().split(needle)
            if len(pieces) == 1:
                continue
            kept: list[bytes] = []
            at = 0
            for piece in pieces:
                kept.append(text[at : at + len(piece)])
                at += len(piece) + len(needle)
            text = MASK.join(kept)
        return text


NOTHING = Redactor(())


@lru_cache(maxsize=256)
def redactor_of(value: str) -> Redactor:
    """The redactor of one value."""
    return Redactor((value,))


def _resolved(escape: re.Match[bytes]) -> bytes:
    code = escape.lastindex or 0
    if code == 5:
        return b"/"
    number = int(escape[code], 10 if code == 4 else 16)
    return bytes((number,)) if number in _PLAIN else escape[0]


def _resolved_at_once(lower: bytes) -> bytes:
    """A large text, in lower case, without its escapes: good for finding something in it, and for nothing else."""
    if b"&#" in lower:
        for number in _PLAIN:
            for entity in (b"&#x%x;", b"&#%d;"):
                lower = lower.replace(entity % number, bytes((number,)))
    lower = lower.replace(b"=", b"=3d")
    for escape in (b"%", b"\\u00", b"\\x"):
        lower = lower.replace(escape, b"=")
    # quoted-printable: the one such decoder that is not written in Python
    return binascii.a2b_qp(lower.replace(b"\\", b"")).lower()


def _forms(value: str) -> Iterable[bytes]:
    """How a value may stand in a text, but for escapes of plain characters."""
    sent = value.encode("latin-1", "replace")
    yield sent
    yield value.encode("utf-8", "replace")
    yield json.dumps(value)[1:-1].encode("ascii")
    yield json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    yield sent.hex().encode("ascii")
    for before in range(3):
        # Of all that base64 makes of it behind so many bytes, the digits that depend on nothing else.
        digits = base64.b64encode(bytes(before) + sent)[-(-before * 8 // 6) : (before + len(sent)) * 8 // 6]
        yield digits
        yield digits.replace(b"+", b"-").replace(b"/", b"_")
