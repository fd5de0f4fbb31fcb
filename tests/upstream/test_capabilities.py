"""What a model can do at a host: four sources in their order, and rows that agree with what they cite."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from asbru.config import ModelFacts, Provider
from asbru.dialects.codec import Model, Quirks
from asbru.upstream import capabilities, facts
from asbru.upstream.capabilities import Capabilities
from asbru.upstream.catalog import families, known_providers
from asbru.upstream.facts import canonical


def at(host: str, model: str, **settings: Any) -> capabilities.Known:
    known = known_providers().get(host)
    quirks = ({} if known is None else known.quirks) | settings.pop("quirks", {})
    return Capabilities(host, Provider(quirks=quirks, **settings)).of(model)


# The rows


def test_rows_are_about_known_providers_and_canonical_names_and_say_something() -> None:
    for family in families():
        assert set(family.hosts) <= known_providers().keys()
        assert family.quirks or family.facts != ModelFacts()
        for host in family.hosts or ("",):
            known = known_providers()[host].quirks if host else {}
            assert not family.quirks or msgspec.convert(known | family.quirks, Quirks) != msgspec.convert(known, Quirks)
        assert family.source and family.date
        for pattern in family.models:
            assert pattern.startswith("arn:") or canonical(pattern) == pattern


@pytest.mark.parametrize(
    ("host", "model", "efforts"),
    [
        ("groq", "llama-3.3-70b-versatile", ()),
        ("groq", "qwen/qwen3-32b", ("none", "default")),
        ("groq", "openai/gpt-oss-120b", ("low", "medium", "high")),
        ("xai", "grok-4-1-fast-reasoning", ()),
        ("xai", "grok-3-mini", ("low", "high")),
        ("xai", "grok-4.3", ("none", "low", "medium", "high")),
        ("deepseek", "deepseek-v4-pro", ("low", "high", "max")),
        ("mistral", "magistral-medium-latest", ("none", "high")),
        ("vllm", "Qwen/Qwen3.8-27B", ("low", "medium", "xhigh")),
        ("my-own", "Qwen/Qwen3.8-27B-FP8", ("low", "medium", "xhigh")),
        ("groq", "qwen/qwen3.8-27b", ()),
        ("openai", "o3", ("low", "medium", "high")),
        ("my-own", "some-model", ()),
        ("ollama", "gpt-oss:20b", ("low", "medium", "high")),
    ],
)
def test_efforts_are_those_of_the_model_at_the_host(host: str, model: str, efforts: tuple[str, ...]) -> None:
    assert at(host, model).facts.efforts == efforts


@pytest.mark.parametrize("host", ["mistral", "vllm", "together", "my-own"])
def test_mistrals_templates_want_roles_in_turn_wherever_they_run(host: str) -> None:
    quirks = at(host, "mistralai/Mistral-Small-3.2-24B-Instruct-2506").quirks
    assert (quirks.user_after_tool, quirks.mid_system) == (False, False)
    assert quirks.tool_id_pattern == "^[a-zA-Z0-9]{9}$"


def test_a_forced_choice_and_kimis_ids() -> None:
    assert at("deepseek", "deepseek-v4-pro").quirks.forced_choice_thinks is False
    assert at("together", "moonshotai/Kimi-K2-Instruct").quirks.tool_id_form == "functions.{name}:{index}"
    assert at("moonshot", "kimi-k2-thinking").quirks.thinking_switch is False
    assert at("moonshot", "kimi-k2.6").quirks.thinking_switch is True


def test_text_models_are_known_to_take_no_images() -> None:
    for host, model in (
        ("groq", "llama-3.3-70b-versatile"),
        ("groq", "openai/gpt-oss-120b"),
        ("together", "moonshotai/Kimi-K2-Instruct-0905"),
    ):
        assert at(host, model).facts.images is False
    assert at("moonshot", "kimi-k2.6").facts.images is True


# The order


def test_the_configuration_goes_before_the_table() -> None:
    table = facts.table().find(("openai",), "gpt-5.1")
    found = at("openai", "gpt-5.1", model_facts={"gpt-5.1": ModelFacts(max_output_tokens=10, sampling=True)})
    assert found.facts == msgspec.structs.replace(table, max_output_tokens=10, sampling=True)


def test_the_configuration_goes_before_a_familys_row() -> None:
    mine = {"quirks": {"user_after_tool": True}, "model_facts": {"mistral-small": ModelFacts(images=True)}}
    found = at("vllm", "mistral-small", **mine)
    assert found.quirks.user_after_tool is True
    assert found.quirks.mid_system is False
    assert found.facts.images is True


def test_a_host_without_images_has_no_model_that_takes_them_unless_the_configuration_says_so() -> None:
    assert at("my-own", "gpt-4o", quirks={"images": False}).facts.images is False
    said = {"gpt-4o": ModelFacts(images=True)}
    assert at("my-own", "gpt-4o", quirks={"images": False}, model_facts=said).facts.images is True


def test_the_configuration_may_know_what_nobody_else_does() -> None:
    found = at("mine", "my-deployment", model_facts={"my-deployment": ModelFacts(efforts=("low",), images=False)})
    assert found == (Quirks(), Model(efforts=("low",), images=False))


def test_what_a_configuration_says_of_a_model_is_what_is_known_of_one() -> None:
    told = {field.name for field in msgspec.structs.fields(ModelFacts)}
    assert told == {field.name for field in msgspec.structs.fields(Model)}


def test_names_that_nobody_knows_do_not_pile_up() -> None:
    known = Capabilities("mine", Provider())
    for number in range(capabilities._MAX_CACHED * 2 + 5):
        assert known.of(f"made-up-{number}") == (Quirks(), Model())
    assert known.of("x" * 10_000) == (Quirks(), Model())
    assert len(known._cache) <= capabilities._MAX_CACHED
    assert "x" * 10_000 not in known._cache
