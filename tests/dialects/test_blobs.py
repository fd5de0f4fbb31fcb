"""Reasoning state in signatures: only the model that made it gets it back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import blobs

NAMES = st.text("abc-_.1", min_size=1, max_size=8)
STATES = st.dictionaries(
    st.text(max_size=3), st.none() | st.text(max_size=5) | st.integers(-9, 9) | st.lists(st.text(max_size=2))
)


@given(NAMES, NAMES | st.none(), STATES)
def test_what_a_model_sealed_comes_back_to_it(provider: str, model: str | None, state: dict[str, Any]) -> None:
    signature = blobs.seal(provider, model, state)
    assert blobs.is_sealed(signature)
    assert blobs.unseal(signature, provider, model) == state
    assert signature.isascii() and signature.isprintable() and " " not in signature


@given(NAMES, NAMES, STATES)
def test_no_other_provider_gets_it(provider: str, other: str, state: dict[str, Any]) -> None:
    if provider != other:
        assert blobs.unseal(blobs.seal(provider, "m", state), other, "m") is None


@given(NAMES | st.none(), NAMES | st.none(), STATES)
def test_no_other_model_gets_it(model: str | None, other: str | None, state: dict[str, Any]) -> None:
    if model != other:
        assert blobs.unseal(blobs.seal("p", model, state), "p", other) is None


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "EqQBCgIYAhIM",
        blobs.UNSIGNED,
        blobs.PREFIX,
        f"{blobs.PREFIX}p",
        f"{blobs.PREFIX}p.",
        f"{blobs.PREFIX}p.!!",
        f"{blobs.PREFIX}p.W10=",
        f"{blobs.PREFIX}p./w==",
        f"{blobs.PREFIX}p.e30",
    ],
)
def test_what_is_damaged_or_anothers_is_none(signature: str) -> None:
    assert blobs.unseal(signature, "p", None) is None


def test_a_list_nested_too_deeply_is_none() -> None:
    assert blobs.unseal(f"{blobs.PREFIX}p.{base64.b64encode(b'[' * 100_000).decode()}", "p", None) is None


@given(st.text(), NAMES)
def test_any_text_is_a_signature_or_none(signature: str, provider: str) -> None:
    assert blobs.unseal(signature, provider, None) is None or blobs.is_sealed(signature)


def test_a_blob_beyond_the_bound_is_none() -> None:
    assert blobs.unseal(blobs.seal("p", "m", {"a": "x" * blobs.MAX_CHARS}), "p", "m") is None


def test_what_no_one_signed_is_ours_and_no_providers() -> None:
    assert blobs.is_sealed(blobs.UNSIGNED)
    assert not blobs.is_sealed("EqQBCgIYAhIM")
