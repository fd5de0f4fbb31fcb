"""A gateway credential inside something else: quotes, a second scheme, invisible characters, base64, percent-encoding.

Such a value is not the credential, and looking only at how it begins would take it for a provider's key and send it
upstream. So every value of a credential header that is not a gateway credential itself is searched for one: for the
prefix of virtual keys anywhere in it, and for the gateway's other credentials, which have no prefix, by digest.

Pure. What is compared with secrets are digests, so that time tells nothing about them. The work is bounded.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from itertools import islice
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from asbru.secrets import VIRTUAL_KEY_PREFIX

_MAX_FORMS = 12
_MAX_RUNS = 8
_MAX_WORDS = 64
_MAX_STARTS = 8
_MAX_SECRET_CHARS = 1024
_LEAST_PLAIN_CHARS = 6
"""A shorter secret is looked for as it is, but not without its punctuation."""

_base64_runs = re.compile(rb"[A-Za-z0-9+/_-]{8,}").finditer
_STANDARD = bytes.maketrans(b"-_", b"+/")
_escape = re.compile(r"\\+u([0-9a-fA-F]{4})")
_gaps = re.compile(r"[^A-Za-z0-9._~+/!#$%&*?@^|-]+").finditer
_scheme = re.compile(r"(?i)(?:bearer|basic|token|api[-_]?key|key)[ :=]*").match
_not_plain = re.compile(r"[^a-z0-9]+")
_not_prefix = re.compile(r"[^a-z0-9-]+")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d"), "-")


class WrappedCredentials:
    """Finds gateway credentials inside other values."""

    __slots__ = ("_digests", "_plain")

    def __init__(self, secrets: Iterable[str], digests: Collection[bytes]) -> None:
        """``secrets`` are credentials whose text is known, ``digests`` those of all."""
        self._digests = frozenset(digests)
        plain = (_plain(secret) for secret in secrets)
        self._plain = frozenset(_digest(each) for each in plain if len(each) >= _LEAST_PLAIN_CHARS)

    def within(self, value: bytes) -> bool:
        """Whether a gateway credential is somewhere in the value, damaged or whole."""
        return any(_holds_prefix(form) or self._holds_secret(form) for form in _forms(value))

    def _holds_secret(self, text: str) -> bool:
        if not self._digests:
            return False
        for part in _parts(text):
            if _digest(part) in self._digests:
                return True
            plain = _plain(part)
            if len(plain) >= _LEAST_PLAIN_CHARS and _digest(plain) in self._plain:
                return True
        return False


def _forms(value: bytes) -> Iterator[str]:
    """The value's text, and what it decodes to, once and twice."""
    forms = [(value, 0)]
    for data, depth in forms:  # it grows meanwhile
        text = _text(data)
        yield text
        if depth == 2:
            continue
        decoded = []
        if b"%" in data:
            decoded.append(unquote_to_bytes(data))
        if "\\u" in text:
            decoded.append(_escape.sub(lambda code: chr(int(code[1], 16)), text).encode("utf-8", "replace"))
        for run in islice(_base64_runs(data), _MAX_RUNS):
            decoded += (_from_base64(run[0]), _from_hex(run[0]))
        forms += [(each, depth + 1) for each in decoded if each][: _MAX_FORMS - len(forms)]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _from_base64(run: bytes) -> bytes:
    """What the run decodes to; empty when that is no text."""
    run = run.translate(_STANDARD)[: len(run) - (len(run) % 4 == 1)]
    decoded = binascii.a2b_base64(run + b"=" * (-len(run) % 4))
    if decoded.isascii():
        return decoded
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return b""
    return decoded


def _from_hex(run: bytes) -> bytes:
    """What the run decodes to; empty when that is no text."""
    try:
        decoded = binascii.a2b_hex(run)
    except binascii.Error:
        return b""
    return decoded if decoded.isascii() else b""


def _holds_prefix(text: str) -> bool:
    if not text.isascii():
        text = normalize("NFKC", text).translate(_DASHES)
    return VIRTUAL_KEY_PREFIX in _not_prefix.sub("", text.lower().replace("_", "-"))


def _parts(text: str) -> Iterator[str]:
    """The text's first words, and all from one of the very first on; without a scheme at their beginning too."""
    gaps = [gap.span() for gap in islice(_gaps(text), _MAX_WORDS)]
    start = 0
    for count, (end, behind) in enumerate((*gaps, (len(text), 0))):
        if 0 < end - start <= _MAX_SECRET_CHARS:
            yield from _without_scheme(text[start:end])
        if count < _MAX_STARTS and end < len(text) and len(text) - start <= _MAX_SECRET_CHARS:
            yield from _without_scheme(text[start:])
        start = behind


def _without_scheme(part: str) -> Iterator[str]:
    yield part
    scheme = _scheme(part)
    if scheme is not None and scheme.end() < len(part):
        yield part[scheme.end() :]


def _plain(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return _not_plain.sub("", (text if text.isascii() else normalize("NFKC", text)).lower())


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()
