"""To whom files and batches are closed: decided by who may use the same workspace, or said by the operator."""

from __future__ import annotations

import pytest

from asbru.config import Auth, Aws, Config, KeyProvider, Provider, ProviderKey, VirtualKey
from asbru.policy.auth import ANONYMOUS, OPERATOR, Principal
from asbru.policy.isolation import Isolation, decided
from asbru.secrets import Secret, digest


def at(url: str, *keys: str, dialect: str = "anthropic") -> Provider:
    stored = tuple(ProviderKey(value=Secret(key)) for key in keys)
    return Provider(dialect=dialect, base_url=url, keys=stored)  # type: ignore[arg-type]


PROVIDERS = {
    "a": at("https://a", "k1"),
    "b": at("https://b", "k1"),
    "twin": at("https://a", "k2", "k1"),
    "other": at("https://a", "k3"),
    "gpt": at("https://gpt", "k1", dialect="openai-chat"),
    "cloud": Provider(dialect="anthropic", base_url="https://aws", keys=(ProviderKey(aws=Aws()),)),
    "wrapped": Provider(dialect="anthropic", envelope="vertex", base_url="https://v", keys=(ProviderKey(),)),
    "local": at("http://local"),
}


def key(name: str, *providers: str, open: bool | None = None) -> VirtualKey:
    granted = tuple(KeyProvider(name=each) for each in providers)
    return VirtualKey(name=name, digest=digest(name), providers=granted, files_and_batches=open)


def outcome(*keys: VirtualKey, required: bool = True) -> dict[str, bool | None]:
    config = Config(providers=PROVIDERS, virtual_keys=keys, auth=Auth(required=required))
    return {each.name: each.files_and_batches for each in decided(config)}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([key("x")], "x"),
        ([key("x"), key("y")], ""),
        ([key("x", "a"), key("y", "b")], "x y"),
        ([key("x", "a"), key("y", "a"), key("z", "b")], "z"),
        ([key("x", "a"), key("y")], ""),
        ([key("x", "a", "b"), key("y", "b")], ""),
        # the same place by two names
        ([key("x", "a"), key("y", "twin")], ""),
        ([key("x", "a"), key("y", "other")], "x y"),
        # providers that have none of these routes
        ([key("x", "gpt", "cloud", "wrapped"), key("y", "gpt", "cloud", "wrapped")], "x y"),
        ([key("x", "local"), key("y", "local")], ""),
        # what the operator says counts
        ([key("x", open=True), key("y")], "x"),
        ([key("x", open=False)], ""),
        ([key("x", "a", open=False), key("y", "a")], ""),
    ],
)
def test_who_is_alone_has_files_and_batches(keys: list[VirtualKey], expected: str) -> None:
    assert [name for name, open in outcome(*keys).items() if open] == expected.split()


def test_on_an_open_gateway_nobody_with_a_key_is_alone() -> None:
    assert outcome(key("x"), required=False) == {"x": False}
    assert outcome(key("x", "gpt"), required=False) == {"x": True}


def test_nothing_is_closed_to_the_operator_and_only_what_is_shared_to_those_without_a_key() -> None:
    def isolation(*keys: VirtualKey) -> Isolation:
        return Isolation(Config(providers=PROVIDERS, virtual_keys=keys))

    direct = Principal("direct", "direct", direct=Secret("mine"))
    for principal in (ANONYMOUS, direct):
        assert not isolation().closed(principal)
        assert not isolation(key("x", "gpt")).closed(principal)
        assert isolation(key("x", "a", open=True)).closed(principal)
    assert not isolation(key("operator", "a")).closed(OPERATOR)
    assert isolation(key("x", "a", open=None)).closed(Principal("virtual_key", "x"))
