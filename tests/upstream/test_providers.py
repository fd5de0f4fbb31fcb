"""Where requests of each dialect go below a base URL, and what authorises them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from asbru.config import Aws, Provider, ProviderKey, Stream
from asbru.dialects.codec import Envelope, Model
from asbru.policy.keys import compile_provider
from asbru.secrets import Secret
from asbru.upstream.http1 import TlsContexts
from asbru.upstream.providers import Upstream


def upstream(name: str = "p", environ: Mapping[str, str] | None = None, **fields: object) -> Upstream:
    settings = Provider(**{"base_url": "http://h.example", **fields})  # type: ignore[arg-type]  # the test's own
    return Upstream(name, settings, compile_provider(name, settings).keys, Stream(), environ or {}, TlsContexts())


@pytest.mark.parametrize(
    ("dialect", "base_url", "below", "sent"),
    [
        # The client's own dialect: with the version or without it is the same.
        ("anthropic", "http://h", b"/v1/messages?beta=true", b"/v1/messages?beta=true"),
        ("anthropic", "http://h/v1", b"/v1/messages", b"/v1/messages"),
        ("anthropic", "http://h/anthropic", b"/v1/messages", b"/anthropic/v1/messages"),
        # Others: as the base URL says; the usual version where it says nothing.
        ("openai-chat", "http://h/v1", b"/chat/completions", b"/v1/chat/completions"),
        ("openai-chat", "http://h/v1", b"/v1/chat/completions", b"/v1/chat/completions"),
        ("openai-chat", "http://h", b"/chat/completions", b"/v1/chat/completions"),
        ("openai-chat", "http://h", b"/v1/chat/completions", b"/v1/chat/completions"),
        ("openai-chat", "http://h/api/paas/v4/", b"/v1/chat/completions", b"/api/paas/v4/chat/completions"),
        ("openai-chat", "http://h/openai", b"/deployments/d/chat/completions?api-version=x", None),
        ("openai-responses", "http://h/openai/v1", b"/responses", b"/openai/v1/responses"),
        ("gemini", "http://h", b"/models/m:generateContent", b"/v1beta/models/m:generateContent"),
        ("gemini", "http://h/v1/projects/p", b"/models/m:generateContent", b"/v1/projects/p/models/m:generateContent"),
        ("bedrock-converse", "http://h", b"/model/m/converse", b"/model/m/converse"),
    ],
)
def test_targets(dialect: str, base_url: str, below: bytes, sent: bytes | None) -> None:
    made = upstream(dialect=dialect, base_url=base_url)
    expected = b"/openai" + below if sent is None else sent
    assert made.target(below) == expected
    head = made.head(b"POST", below, b"x-api-key: k\r\n", b"", 2)
    assert head == (
        b"POST " + expected + b" HTTP/1.1\r\nhost: h\r\naccept-encoding: identity\r\n"
        b"x-api-key: k\r\ncontent-length: 2\r\n\r\n"
    )


@pytest.mark.parametrize("envelope", ["bedrock", "vertex"])
def test_claude_in_a_cloud(envelope: str) -> None:
    made = upstream(dialect="anthropic", envelope=envelope, base_url="http://h/v1/projects/p")
    assert isinstance(made.codec, Envelope)
    assert not made.relays
    assert made.target(b"/models/m:rawPredict") == b"/v1/projects/p/models/m:rawPredict"


@pytest.mark.parametrize(
    ("credential", "line"),
    [
        (None, b"x-api-key: k1\r\n"),
        ("x-api-key", b"x-api-key: k1\r\n"),
        ("authorization", b"authorization: Bearer k1\r\n"),
        ("api-key", b"api-key: k1\r\n"),
        ("x-goog-api-key", b"x-goog-api-key: k1\r\n"),
    ],
)
def test_keys_that_are_sent_as_they_are(credential: str | None, line: bytes) -> None:
    made = upstream(credential=credential, keys=(ProviderKey(value=Secret("k1"), name="a"),))
    assert made.credentials == {"a": line}
    assert made.authorization("a", b"POST", b"/v1/messages", b"{}") == line
    assert not made.signs
    assert made.relays


def test_a_provider_without_keys_is_sent_none() -> None:
    assert list(upstream(dialect="openai-chat").credentials.values()) == [b""]


@pytest.mark.parametrize(
    ("credential", "came_in", "line"),
    [
        ("x-api-key", "x-api-key", b"x-api-key: sk\r\n"),
        ("x-api-key", "authorization", b"authorization: Bearer sk\r\n"),
        ("authorization", "x-api-key", b"authorization: Bearer sk\r\n"),
        ("x-goog-api-key", "authorization", b"x-goog-api-key: sk\r\n"),
    ],
)
def test_a_callers_own_key(credential: str, came_in: str, line: bytes) -> None:
    assert upstream(credential=credential).direct_line(Secret("sk"), came_in) == line


def test_what_is_signed_is_what_is_sent() -> None:
    """Method, host and the whole target, the base URL's path in it."""

    async def main() -> None:
        key = ProviderKey(name="a", aws=Aws(access_key_id=Secret("AKIA"), secret_access_key=Secret("s")))
        one = upstream(base_url="https://h.example/x", region="us-east-1", keys=(key,))
        other = upstream(base_url="https://h.example/y", region="us-east-1", keys=(key,))
        assert one.signs
        assert not one.relays
        await one.ready("a")
        lines = one.authorization("a", b"POST", b"/v1/messages", b"{}")
        stamp = lines.partition(b"\r\n")[0]
        while not (again := other.authorization("a", b"POST", b"/v1/messages", b"{}")).startswith(stamp):
            lines = one.authorization("a", b"POST", b"/v1/messages", b"{}")  # a second began in between
            stamp = lines.partition(b"\r\n")[0]
        assert lines != again
        await one.close()
        await other.close()

    asyncio.run(main())


def test_quirks_and_facts_are_the_providers() -> None:
    made = upstream("mistral", dialect="openai-chat", quirks={"max_tokens_field": "max_tokens"})
    assert made.quirks("any").max_tokens_field == "max_tokens"
    assert made.facts("mistral-medium-latest").context_tokens
    assert upstream("mine", dialect="openai-chat").facts("mistral-medium-latest").context_tokens is None
    assert upstream("mine", like="mistral", dialect="openai-chat").facts("mistral-medium-latest").context_tokens
    assert upstream("mine").facts("no-such-model") == Model()
