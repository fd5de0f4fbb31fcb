"""Known providers as data: complete, consistent, each with where it is from; every one makes a configuration."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from asbru.config import Provider
from asbru.dialects.codec import Quirks
from asbru.load import load
from asbru.policy.keys import compile_provider
from asbru.telemetry import price_table
from asbru.telemetry.prices import Prices
from asbru.upstream import facts as models
from asbru.upstream.capabilities import Capabilities
from asbru.upstream.catalog import DEFAULT_HEADERS, KnownProvider, billed_by, foreign_key_forms, known_providers

KNOWN = known_providers()
EVERY = pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())
REGISTRIES = re.compile(r"pypi|npmjs|registry|crates\.io|proxy\.golang|rubygems", re.IGNORECASE)


def environment(known: KnownProvider) -> dict[str, str]:
    """What an environment holds that says all this provider needs."""
    made = {variables[0]: f"some-{field}" for field, variables in known.variables.items()}
    if known.env:
        made[known.env[0]] = "the-key"
    return made


def test_the_issue_names_them() -> None:
    assert {
        *("anthropic", "sandbox", "openai", "azure-openai", "azure-anthropic", "gemini", "vertex", "vertex-anthropic"),
        *("bedrock", "bedrock-anthropic", "groq", "mistral", "deepseek", "xai", "together", "fireworks", "openrouter"),
        *("cerebras", "perplexity", "ollama", "vllm", "lmstudio", "llamacpp", "nvidia-nim", "cohere", "huggingface"),
    } <= KNOWN.keys()


@EVERY
def test_facts_have_a_source_and_a_date(known: KnownProvider) -> None:
    assert known.title
    assert known.source
    assert not REGISTRIES.search(known.source + (known.note or ""))
    assert date.fromisoformat(known.date) <= date(2027, 12, 31)


@EVERY
def test_facts_fit_each_other(known: KnownProvider) -> None:
    assert known.dialect not in known.dialects
    assert known.envelope is None or known.dialect == "anthropic"
    assert (known.service is not None) == (known.signing in ("aws", "entra"))
    assert known.env or known.key or known.signing, "nothing to authenticate with"
    assert known.keyless <= (not known.implicit), "a key that nobody needs configures nothing by itself"
    for template in (known.base_url, *known.base_urls.values(), known.dated.base_url if known.dated else None):
        if template is None:
            continue
        local = urlsplit(template).hostname == "localhost"
        assert template.startswith("http://localhost:" if local else "https://")
        assert local == known.keyless
        assert not template.endswith("/")
        assert set(re.findall(r"{(\w+)}", template)) <= known.variables.keys()


@EVERY
def test_quirks_are_those_of_the_codecs_and_none_repeats_the_default(known: KnownProvider) -> None:
    quirks = msgspec.convert(known.quirks, Quirks)
    assert {name for name in known.quirks if getattr(quirks, name) == getattr(Quirks(), name)} == set()


@EVERY
def test_the_key_goes_where_the_dialect_has_it_or_there_is_a_reason(known: KnownProvider) -> None:
    other = {"azure-openai", "vertex", "vertex-anthropic", "bedrock-anthropic", "bedrock-mantle"}
    assert (known.credential == DEFAULT_HEADERS[known.dialect]) == (known.name not in other)


@EVERY
def test_each_is_configured_by_its_name_and_its_environment(known: KnownProvider, tmp_path: Path) -> None:
    file = tmp_path / "asbru.json"
    file.write_text(f'{{"server": {{"port": 8099}}, "providers": {{"{known.name}": {{}}}}}}')
    config = load(file, environment(known))
    provider = config.providers[known.name]
    assert (provider.dialect, provider.envelope, provider.credential) == (
        known.dialect,
        known.envelope,
        known.credential,
    )
    assert known.base_url is None or "{" not in (provider.base_url or "{")
    (key,) = provider.keys
    if known.env:
        assert key.value is not None
        assert key.value.reveal() == "the-key"
    assert compile_provider(known.name, provider).keys[0].name == key.name


@EVERY
def test_only_what_is_meant_to_configures_itself(known: KnownProvider) -> None:
    sharing = [other.name for other in KNOWN.values() if other.implicit and set(other.env) & set(known.env[:1])]
    assert list(load(None, environment(known)).providers) == (sharing or ["sandbox"])


@EVERY
def test_models_of_its_tables_are_known(known: KnownProvider) -> None:
    listed = Capabilities(known.name, Provider()).listed()
    assert bool(listed) or known.list_models != "known"
    assert all(table in models.table().models for table in known.models_of)


def test_who_bills_for_a_configured_provider() -> None:
    providers = {
        "groq": Provider(),
        "bedrock-eu": Provider(like="bedrock"),
        "second": Provider(like="groq"),
        "vllm": Provider(),
        "mine": Provider(),
    }
    assert billed_by(providers) == {"bedrock-eu": "aws", "second": "groq", "vllm": ""}
    table = price_table.load()
    ids = {provider.id for provider in table.providers}
    assert {known.billed_by for known in KNOWN.values()} - {None, ""} <= ids


def test_prices_are_the_billers() -> None:
    prices = Prices({}, billed_by=billed_by({"bedrock-eu": Provider(like="bedrock"), "vllm": Provider()}))
    prices.load()
    assert prices.rates("bedrock-eu", "us.amazon.nova-lite-v1:0") is not None
    assert prices.rates("bedrock-eu", "us.anthropic.claude-haiku-4-5-20251001-v1:0") is not None
    assert prices.rates("vllm", "deepseek-chat") is None
    assert prices.rates("elsewhere", "deepseek-chat") is not None


def test_an_unknown_fact_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**msgspec.to_builtins(KNOWN["anthropic"]), "bse_url": "x"}, KnownProvider)


@pytest.mark.parametrize(
    ("name", "settings", "own"),
    [
        ("anthropic", {}, ["sk-ant-"]),
        ("anthropic", {"base_url": "https://relay.corp"}, ["sk-ant-"]),
        ("claude", {"base_url": "https://api.anthropic.com/v1", "dialect": "anthropic"}, ["sk-ant-"]),
        ("claude", {"like": "anthropic", "base_url": "https://relay.corp"}, ["sk-ant-"]),
        ("claude", {"base_url": "https://relay.corp", "dialect": "anthropic"}, []),
        ("claude", {"base_url": "http://localhost:9", "dialect": "anthropic"}, ["sk-ant-"]),
        ("gpt", {"base_url": "http://127.0.0.1:9", "dialect": "openai-responses"}, ["sk-proj-", "xai-"]),
        ("vllm", {}, []),
        ("bedrock", {}, ["ABSK"]),
        ("sandbox", {}, ["sk-ant-", "sk-proj-", "gsk_"]),
    ],
)
def test_the_key_forms_that_a_provider_takes(name: str, settings: dict[str, str], own: list[str]) -> None:
    foreign = foreign_key_forms({name: msgspec.convert(settings, Provider)})[name]
    every = {form for known in known_providers().values() for form in known.key_forms}
    assert set(own) <= every - set(foreign)
    assert own or set(foreign) == every
    assert name != "anthropic" or every - set(foreign) == {"sk-ant-"}
