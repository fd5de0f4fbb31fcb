"""What is known of models: found by every name that hosts give them, and nothing made up."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.codec import Model
from asbru.upstream import facts
from asbru.upstream.facts import Table, canonical, simplified

MADE = Table(
    source="made for this test",
    date="2026-01-01",
    fields=("context_tokens", "max_output_tokens", "reasoning", "efforts", "no_longer_a_field", "images"),
    entries=((200_000, 64_000, True, ("low", "high"), True, True), (1000, 100, False), (8, 4)),
    models={"anthropic": {"claude-x-4-5": 0}, "bedrock": {"us.anthropic.claude-x-4-5-v1:0": 0, "amazon.nova-v1:0": 1}},
    names={"claude-x-4-5": 0, "nova": 1, "gpt-oss-20b": 1},
)
CLAUDE = Model(context_tokens=200_000, max_output_tokens=64_000, reasoning=True, efforts=("low", "high"), images=True)


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        (("anthropic",), "claude-x-4-5"),
        (("anthropic",), "Claude-X-4-5"),
        (("anthropic",), "claude-x-4-5-20260101"),
        (("anthropic",), "claude-x-4-5-2026-01-01"),
        (("anthropic",), "claude-x-4-5@20260101"),
        (("anthropic",), "claude-x-4-5-latest"),
        (("anthropic",), "claude-x-4-5:thinking"),
        (("bedrock",), "us.anthropic.claude-x-4-5-v1:0"),
        (("bedrock",), "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-x-4-5-v1:0"),
        (("none-of-these", "anthropic"), "claude-x-4-5"),
    ],
)
def test_a_model_of_its_own_tables(tables: tuple[str, ...], name: str) -> None:
    assert MADE.find(tables, name) == CLAUDE


@pytest.mark.parametrize(
    "name",
    [
        "claude-x-4-5",
        "claude-x-4.5",
        "anthropic/claude-x-4.5",
        "anthropic/claude-x-4.5:beta",
        "eu.anthropic.claude-x-4-5-20260101-v1:0",
        "models/claude-x-4-5",
    ],
)
def test_a_model_of_another_host_can_do_the_same_within_limits_that_nobody_knows(name: str) -> None:
    known = MADE.find((), name)
    assert (known.context_tokens, known.max_output_tokens) == (None, None)
    assert (known.reasoning, known.images) == (True, True)


def test_sizes_that_stand_in_a_tag() -> None:
    assert MADE.find(("ollama",), "gpt-oss:20b").reasoning is False


@pytest.mark.parametrize("name", ["", "claude", "claude-x-4-50", "x" * 10_000, "arn:", "a/b/", "..", ":::", "-v1"])
def test_nothing_is_known_of_other_names(name: str) -> None:
    assert MADE.find(("anthropic", "bedrock"), name) == Model()


@given(st.text(max_size=60))
def test_any_name_has_a_plain_form_and_its_plain_form_is_its_own(name: str) -> None:
    forms = list(simplified(name.lower()))
    assert forms == sorted(forms, key=len, reverse=True)
    assert canonical(canonical(name)) == canonical(canonical(canonical(name)))


# The table that is shipped


def test_the_table_holds_fields_of_a_model_and_names_that_lead_somewhere() -> None:
    table = facts.table()
    assert table.source
    assert table.date
    assert set(table.fields) <= {field.name for field in msgspec.structs.fields(Model)}
    positions = [*table.names.values(), *(at for models in table.models.values() for at in models.values())]
    assert len(positions) > 1000
    assert set(positions) == set(range(len(table.entries)))
    for position in range(len(table.entries)):
        assert table._model(position) != Model()
    for models in table.models.values():
        assert all(name == name.lower() for name in models)


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        (("openai",), "gpt-5.1"),
        (("anthropic",), "claude-haiku-4-5-20251001"),
        (("gemini",), "gemini-2.5-flash"),
        (("bedrock",), "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        (("mistral",), "mistral-medium-latest"),
        (("groq",), "openai/gpt-oss-120b"),
        (("xai",), "grok-4.3"),
    ],
)
def test_models_that_everybody_asks_for(tables: tuple[str, ...], name: str) -> None:
    known = facts.table().find(tables, name)
    assert known.context_tokens is not None
    assert known.max_output_tokens is not None
    assert known.tools


def test_models_that_think_take_no_sampling_where_their_makers_say_so() -> None:
    find = facts.table().find
    assert find(("openai",), "gpt-5.1").sampling is False
    assert find(("openai",), "gpt-4o").reasoning is False
    assert find(("groq",), "openai/gpt-oss-120b").sampling is True
    assert find(("openai",), "gpt-5.1").efforts == ("none", "low", "medium", "high")
