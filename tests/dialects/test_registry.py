"""registry: every name leads to what calls itself so."""

from __future__ import annotations

import pytest

from asbru.dialects import registry


@pytest.mark.parametrize("name", registry.DIALECTS)
def test_a_codec_is_called_as_it_is_registered(name: str) -> None:
    assert registry.codec(name).dialect == name
    assert registry.codec(name) is registry.codec(name)


@pytest.mark.parametrize("name", registry.ENVELOPES)
def test_an_envelope_is_called_as_it_is_registered(name: str) -> None:
    assert registry.envelope(name).dialect == name


def test_the_clients_own_dialect_has_neither() -> None:
    with pytest.raises(KeyError):
        registry.codec("anthropic")
    with pytest.raises(KeyError):
        registry.envelope("anthropic")
