"""tools/gen_models.py: from the source's rows to what is kept of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asbru.dialects.codec import Model
from asbru.upstream.facts import Table
from tools import gen_models

ROWS: dict[str, dict[str, Any]] = {
    "gpt-5.9": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 1000,
        "max_output_tokens": 100.0,
        "supports_reasoning": True,
        "supports_none_reasoning_effort": True,
        "supports_xhigh_reasoning_effort": False,
        "supports_vision": True,
        "input_cost_per_token": 1e-6,
    },
    "gpt-4x": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 7},
    "gpt-image-9": {"litellm_provider": "openai", "mode": "image_generation", "max_input_tokens": 7},
    "groq/openai/gpt-5.9": {
        "litellm_provider": "groq",
        "mode": "chat",
        "max_input_tokens": 50,
        "supports_reasoning": True,
        "reasoning_effort_levels": ["high", "low"],
    },
    "xai/grok-4.20-reasoning": {"litellm_provider": "xai", "mode": "chat", "supports_reasoning": True},
    "bedrock/us-east-1/anthropic.claude-x": {"litellm_provider": "bedrock", "mode": "chat", "max_input_tokens": 1},
    "us.anthropic.claude-x-v1:0": {
        "litellm_provider": "bedrock_converse",
        "mode": "chat",
        "max_input_tokens": 9,
        "supported_modalities": ["text"],
    },
    "somewhere/else": {"litellm_provider": "somewhere", "mode": "chat", "max_input_tokens": 7},
    "broken": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": "many", "supports_vision": "yes"},
}
MADE = gen_models.table(ROWS, "a source", "2026-01-02")


def test_what_is_kept() -> None:
    assert {name: sorted(found) for name, found in MADE.models.items() if found} == {
        "openai": ["broken", "gpt-4x", "gpt-5.9"],
        "groq": ["openai/gpt-5.9"],
        "xai": ["grok-4.20-reasoning"],
        "bedrock": ["us.anthropic.claude-x-v1:0"],
    }


@pytest.mark.parametrize(
    ("table", "name", "expected"),
    [
        (
            "openai",
            "gpt-5.9",
            Model(
                context_tokens=1000,
                max_output_tokens=100,
                reasoning=True,
                efforts=("none", "low", "medium", "high"),
                sampling=False,
                images=True,
            ),
        ),
        ("openai", "gpt-4x", Model(context_tokens=7, reasoning=False)),
        ("openai", "broken", Model(reasoning=False)),
        ("groq", "openai/gpt-5.9", Model(context_tokens=50, reasoning=True, efforts=("low", "high"), sampling=True)),
        ("xai", "grok-4.20-reasoning", Model(reasoning=False)),
        ("bedrock", "us.anthropic.claude-x-v1:0", Model(context_tokens=9, images=False)),
    ],
)
def test_a_rows_facts(table: str, name: str, expected: Model) -> None:
    assert MADE.find((table,), name) == expected


def test_a_name_alone_stands_for_its_makers_model() -> None:
    assert MADE.find((), "gpt-5.9").sampling is False
    assert MADE.find((), "anthropic/claude-x").images is False


def test_the_file_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "litellm-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(gen_models.SOURCE_FILE, json.dumps(ROWS))
    target = tmp_path / "models.json"
    monkeypatch.setattr(gen_models, "TARGET", target)
    assert gen_models.main([str(wheel)]) == 0
    read = msgspec.json.decode(target.read_bytes(), type=Table)
    assert read.source.startswith("litellm 9.9.9")
    assert (read.entries, read.models, read.names) == (MADE.entries, MADE.models, MADE.names)
