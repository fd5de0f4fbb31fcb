"""`/v1/models` of providers that speak other dialects: their lists, in the shape of the Messages API."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import Json, Upstream
from tests.gateway.support import ask, provider, run, serving
from tests.upstream.rawserver import until

OPENAI = {
    "object": "list",
    "data": [
        {"id": "gpt-5.1", "object": "model", "created": 1763078400, "owned_by": "openai"},
        {"id": "text-embedding-3-small", "object": "model", "created": 1, "owned_by": "openai"},
        {"id": "whisper-1", "object": "model", "created": 1, "owned_by": "openai"},
        {"id": "gpt-image-1", "object": "model", "created": 1, "owned_by": "openai"},
        {"id": "brand-new", "object": "model", "created": 1767225600, "owned_by": "openai"},
    ],
}
OPENROUTER = {
    "data": [
        {
            "id": "z-ai/glm-9",
            "name": "Z.ai: GLM 9",
            "created": 1767225600,
            "context_length": 131072,
            "max_completion_tokens": 9,
        },
        {"id": "x/y:free", "name": None, "created": 1.5, "context_length": None, "top_provider": {}},
    ]
}
GEMINI = {
    "models": [
        {
            "name": "models/gemini-2.5-flash",
            "displayName": "Gemini 2.5 Flash",
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        },
        {"name": "models/text-embedding-004", "supportedGenerationMethods": ["embedContent"]},
    ]
}


def listing(up: Upstream, dialect: str, **settings: object) -> Json:
    return {"providers": {"a": {**provider(up), "dialect": dialect, **settings}}}


def told(answer: object, dialect: str, *models: str, **settings: object) -> list[Json]:
    """What `/v1/models` shows once the provider has answered."""
    shown: list[Json] = []

    async def main() -> None:
        async with Upstream() as up:
            up.models = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            async with serving(listing(up, dialect, **settings)) as gateway:
                await gateway.listed(*models)
                shown.extend((await ask(gateway, None, "/v1/models")).json["data"])
                for entry in shown:
                    assert (await ask(gateway, None, f"/v1/models/{entry['id']}")).json == entry
                    assert set(entry) == {
                        *("type", "id", "display_name", "created_at", "lifecycle", "capabilities"),
                        *("max_input_tokens", "max_tokens"),
                    }
            assert up.seen == []

    run(main())
    return shown


def test_openais_with_what_is_known_of_its_models() -> None:
    known, new = told(OPENAI, "openai-chat", "gpt-5.1", "brand-new", like="openai")
    assert (known["id"], known["display_name"], known["created_at"]) == ("gpt-5.1", "gpt-5.1", "2025-11-14T00:00:00Z")
    assert (known["max_input_tokens"], known["max_tokens"]) == (272_000, 128_000)
    assert (new["id"], new["max_input_tokens"], new["max_tokens"]) == ("brand-new", None, None)


def test_what_the_configuration_names_is_listed_too_and_what_it_says_is_shown() -> None:
    facts = {"mine": {"context_tokens": 8192, "max_output_tokens": 1024}}
    shown = told(OPENAI, "openai-responses", "brand-new", models=["mine"], model_facts=facts)
    mine = next(entry for entry in shown if entry["id"] == "mine")
    assert mine["lifecycle"] == "active"


def test_what_compatible_hosts_add() -> None:
    one, other = told(OPENROUTER, "openai-chat", "z-ai/glm-9")
    assert (one["display_name"], one["max_input_tokens"], one["max_tokens"]) == ("Z.ai: GLM 9", 131_072, 9)
    assert (other["id"], other["display_name"]) == ("x/y:free", "x/y:free")


def test_a_bare_list() -> None:
    (entry,) = told([{"id": "m-1", "created": 0, "context_length": 7}], "openai-chat", "m-1")
    assert (entry["id"], entry["max_input_tokens"], entry["created_at"]) == ("m-1", 7, "1970-01-01T00:00:00Z")


def test_a_date_in_a_name_is_the_models() -> None:
    names = ["m-20251001", "m-2024-08-06", "m@20250219", "vendor.m-20241022-v2:0", "m-20259901"]
    shown = told([{"id": name} for name in names], "openai-chat", "m-20251001")
    dates = {entry["id"]: entry["created_at"][:10] for entry in shown}
    assert list(dates.values()) == ["2025-10-01", "2024-08-06", "2025-02-19", "2024-10-22", "1970-01-01"]


def test_geminis() -> None:
    (entry,) = told(GEMINI, "gemini", "gemini-2.5-flash")
    assert (entry["id"], entry["display_name"]) == ("gemini-2.5-flash", "Gemini 2.5 Flash")
    assert (entry["max_input_tokens"], entry["max_tokens"]) == (1_048_576, 65_536)


def test_what_is_known_to_be_in_a_region() -> None:
    async def main() -> None:
        async with Upstream() as up:
            config = listing(up, "bedrock-converse", like="bedrock", region="eu-west-1")
            async with serving(config) as gateway:
                await gateway.listed("amazon.nova-lite-v1:0")
                ids = [entry["id"] for entry in (await ask(gateway, None, "/v1/models?limit=1000")).json["data"]]
                assert "eu.anthropic.claude-sonnet-4-5-20250929-v1:0" in ids
                assert not [name for name in ids if name.startswith(("us.", "apac.", "us-gov."))]
            assert (up.seen, up.listed) == ([], 0)

    run(main())


def test_a_model_in_no_list_is_described_by_what_is_known_of_it() -> None:
    async def main() -> None:
        async with Upstream() as up:
            async with serving(listing(up, "openai-chat", like="openai", list_models="none")) as gateway:
                known = await ask(gateway, None, "/v1/models/gpt-5.1")
                assert (known.json["id"], known.json["max_tokens"]) == ("gpt-5.1", 128_000)
                unknown = await ask(gateway, None, "/v1/models/nobody-knows-it")
                assert (unknown.status, unknown.json["error"]["type"]) == (404, "not_found_error")
            assert (up.seen, up.listed) == ([], 0)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not JSON",
        b"[]",
        b"[1]",
        b'{"data": [{"name": "no id"}]}',
        b'{"data": "none"}',
        b"[" * 2000,
        json.dumps({"data": [{"id": "x" * 10_000}]}).encode(),
    ],
)
@pytest.mark.parametrize("dialect", ["openai-chat", "gemini"])
def test_a_list_that_is_none(answer: bytes, dialect: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.models = answer
            async with serving(listing(up, dialect)) as gateway:
                await until(lambda: up.listed > 0)
                await gateway.quiet()
                assert (await ask(gateway, None, "/v1/models")).json["data"] == []

    run(main())
