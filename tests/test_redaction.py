"""A credential is masked in every form that an upstream may say it in, and nothing else is touched."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.redaction import LEAST_CHARS, MASK, Redactor

KEY = "sk-ant-api03-aB+/cD_eF=ghIJ~x"
FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "upper case": str.upper,
    "JSON": lambda key: json.dumps({"message": f"bad key {key}"}),
    "JSON, slashes escaped": lambda key: key.replace("/", "\\/"),
    "JSON in JSON": lambda key: json.dumps(json.dumps({"a": key.replace("/", "\\/")})),
    "JSON, every character": lambda key: "".join(f"\\u{ord(char):04X}" for char in key),
    "JSON in JSON, every character": lambda key: "".join(f"\\\\u{ord(char):04x}" for char in key),
    "URL": lambda key: f"https://x.test/?key={quote(key, safe='')}&a=b",
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "URL, every character": lambda key: "".join(f"%{ord(char):02x}" for char in key),
    "URL in JSON": lambda key: json.dumps(f"https://x.test/{quote(key, safe='')}").replace("/", "\\/"),
    "HTML": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "HTML, hexadecimal": lambda key: "".join(f"&#x{ord(char):x};" for char in key),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, upper case": lambda key: key.encode().hex().upper(),
    **{
        f"base64 at {before}, {behind} behind": lambda key, before=before, behind=behind: base64.b64encode(  # type: ignore[misc]
            b"?" * before + key.encode() + b"?" * behind
        ).decode()
        for before in range(4)
        for behind in range(3)
    },
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(b"user:" + key.encode()).decode(),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("padding", [0, 20_000], ids=["small", "large"])
def test_a_value_is_masked_in_every_form(form: str, padding: int) -> None:
    said = FORMS[form](KEY)
    text = b'{"a": "' + b"x" * padding + b" " + said.encode() + b' and the rest"}'
    cleaned = Redactor([KEY]).clean(text)
    assert MASK in cleaned
    for secret in (KEY.encode(), KEY.upper().encode(), quote(KEY, safe="").encode(), said.strip('"{}').encode()):
        assert secret not in cleaned
    assert cleaned == MASK or cleaned.endswith(b' and the rest"}')


def test_valid_json_stays_valid() -> None:
    for form in ("JSON, every character", "URL", "URL in JSON", "itself"):
        body = json.dumps({"error": "@"}).replace("@", FORMS[form](KEY).strip('"') + ' \\u0022 %22 \\n "'[:-2])
        assert json.loads(body)
        assert json.loads(Redactor([KEY]).clean(body.encode()))


def test_a_value_is_masked_wherever_it_is() -> None:
    redactor = Redactor([KEY, "another-value"])
    assert redactor.clean(f"{KEY}{KEY} another-value".encode()) == MASK * 2 + b" " + MASK
    assert redactor.clean_text(f"ä{KEY}") == "ä***"
    assert redactor.also("0123abcdef").clean(b"0123ABCDEF another-value") == MASK + b" " + MASK


@given(st.binary())
def test_a_text_without_the_value_is_the_same_object(text: bytes) -> None:
    assert Redactor([KEY]).clean(text) is text


def test_escapes_alone_change_nothing() -> None:
    for text in (b"%41%42", b"\\u0041", b"&#65;", b"%41" * 10_000, b"%", b"\\", b"&#"):
        assert Redactor([KEY]).clean(text) is text


def test_short_values_are_no_credentials() -> None:
    short = "x" * (LEAST_CHARS - 1)
    assert Redactor([short, ""]).clean(short.encode() * 3) == short.encode() * 3


def test_characters_outside_ascii() -> None:
    value = Redactor(["schlüssel-wört"])
    for text in ("schlüssel-wört".encode(), "schlüssel-wört".encode("latin-1"), json.dumps("schlüssel-wört").encode()):
        assert MASK in value.clean(text)


def test_it_does_not_show_what_it_looks_for() -> None:
    assert KEY not in repr(Redactor([KEY]))
