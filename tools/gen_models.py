"""Writes src/asbru/data/models.json: what is known of models, from the table that the package litellm ships.

    .venv/bin/python tools/gen_models.py [WHEEL]

Without WHEEL the newest one is fetched with pip into a temporary directory; nothing is installed, nothing of it is
imported: one JSON file is read out of the archive. Only facts that `asbru.dialects.codec.Model` has words for are kept.
`asbru.upstream.facts` reads what is written here and says how names are looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from asbru.dialects.codec import Model
from asbru.upstream.facts import Entry, Table, canonical

TARGET = Path(__file__).resolve().parent.parent / "src" / "asbru" / "data" / "models.json"
SOURCE_FILE = "litellm/model_prices_and_context_window_backup.json"

# Whose rows we take -> the name of our table. The first of a table's rows wins.
PROVIDERS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "vertex_ai-anthropic_models": "vertex-anthropic",
    "gemini": "gemini",
    "vertex_ai-language-models": "gemini",
    "bedrock_converse": "bedrock",
    "bedrock": "bedrock",
    "groq": "groq",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "xai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "cerebras": "cerebras",
    "cohere_chat": "cohere",
    "moonshot": "moonshot",
    "zai": "zai",
    "minimax": "minimax",
    "dashscope": "qwen",
    "meta": "meta",
    "vercel_ai_gateway": "openrouter",
}
"""Vercel's names are OpenRouter's: maker and model."""

# Makers of models that others host, the most reliable first: whose facts a name alone stands for.
MAKERS = ("anthropic", "openai", "gemini", "mistral", "deepseek", "xai", "cohere", "moonshot", "zai", "minimax", "qwen")
HOSTS = ("meta", "bedrock", "groq", "together", "fireworks", "cerebras", "openrouter")
"""Asked after them: for open models that their maker does not serve."""

FIELDS = Model.__struct_fields__
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_ALWAYS = frozenset({"low", "medium", "high"})
_CHAT = frozenset({"chat", "responses"})
_NO_SAMPLING = {
    "openai": re.compile(r"o\d|gpt-[5-9]|codex|computer-use"),
    "moonshot": re.compile(r"kimi-k(2\.[5-9]|[3-9])"),
}
"""Reasoning models that refuse temperature: OpenAI's and Moonshot's references. Other makers' take it, or ignore it."""
_NO_EFFORT = {"xai": re.compile(r"grok-(?:4\.20|4-1|4-fast|4(?:-0709|-latest)?$|build|code)")}
"""Models that reason and refuse to be told how much (xAI's error, Vercel's AI SDK 4.0.8): as good as not reasoning."""
_EFFORTS = {"xai": {"grok-4.3": ("none", "low", "medium", "high")}}
"""Levels that the table does not have: Vercel's AI SDK for xAI, 4.0.0."""
_COMPLETE = frozenset({"openai", "gemini", "mistral", "xai", "groq", "deepseek", "cerebras", "moonshot", "cohere"})
"""Whose rows say so wherever a model reasons. An effort that a model cannot have is a 400 at most of them; one that is
not sent for a model that could have it is only less."""


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = Path(arguments[0]) if arguments else fetch(Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            rows = json.loads(archive.read(SOURCE_FILE))
    version = wheel.name.split("-")[1]
    made = table(rows, f"litellm {version}: {SOURCE_FILE}", datetime.now(UTC).date().isoformat())
    TARGET.write_text(written(made), encoding="utf-8")
    print(f"{TARGET}: {sum(map(len, made.models.values()))} models, {len(made.entries)} different entries")
    return 0


def fetch(directory: Path) -> Path:
    """The newest wheel, as pip is configured to find it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(directory), "litellm"], check=True)
    return next(directory.glob("litellm-*.whl"))


def table(rows: Mapping[str, Mapping[str, Any]], source: str, date: str) -> Table:
    entries: dict[Entry, int] = {}
    models: dict[str, dict[str, int]] = {name: {} for name in dict.fromkeys(PROVIDERS.values())}
    for provider, name, row in chosen(rows):
        entry = entry_of(model(provider, name, row))
        if entry and name not in models[provider]:
            models[provider][name] = entries.setdefault(entry, len(entries))
    names: dict[str, int] = {}
    for provider in (*MAKERS, *HOSTS):
        for name, index in models[provider].items():
            names.setdefault(canonical(name), index)
    return Table(source=source, date=date, fields=FIELDS, entries=tuple(entries), models=models, names=names)


def entry_of(found: Model) -> Entry:
    values = [getattr(found, field) for field in FIELDS]
    while values and values[-1] in (None, ()):
        values.pop()
    return tuple(values)


def chosen(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Our table's name, the model's name there, the row."""
    for wanted, ours in PROVIDERS.items():
        for key, row in rows.items():
            if row.get("litellm_provider") != wanted or row.get("mode") not in _CHAT or "commitment" in key:
                continue
            name = key.lower()
            for prefix in (f"{wanted}/", "vertex_ai/", "bedrock/"):
                name = name.removeprefix(prefix)
            if "/" in name and ours == "bedrock":
                continue  # a price of one region
            yield ours, name, row


def model(provider: str, name: str, row: Mapping[str, Any]) -> Model:
    reasoning = flag(row, "supports_reasoning")
    if (reasoning is None and provider in _COMPLETE) or (provider in _NO_EFFORT and _NO_EFFORT[provider].match(name)):
        reasoning = False
    sampling = flag(row, "supports_sampling_params")
    if sampling is None and reasoning:
        refuses = _NO_SAMPLING.get(provider)
        sampling = not (refuses is not None and refuses.match(name) and "chat" not in name)
    modalities = row.get("supported_modalities")
    images = flag(row, "supports_vision")
    if images is None and isinstance(modalities, list) and modalities:
        images = "image" in modalities
    structured = flag(row, "supports_response_schema")
    return Model(
        context_tokens=count(row, "max_input_tokens"),
        max_output_tokens=count(row, "max_output_tokens"),
        reasoning=reasoning,
        efforts=(_EFFORTS.get(provider, {}).get(name) or efforts(row)) if reasoning else (),
        sampling=sampling,
        images=images,
        documents=flag(row, "supports_pdf_input"),
        tools=flag(row, "supports_function_calling"),
        structured_output=flag(row, "supports_native_structured_output") if structured is None else structured,
        system_turns=flag(row, "supports_mid_conversation_system"),
    )


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    value = row.get(name)
    return value if isinstance(value, bool) else None


def count(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    return int(value) if isinstance(value, int | float) and value > 0 else None


def efforts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The levels as they are listed, or, where single levels are told of, those and the three that all have."""
    levels = row.get("reasoning_effort_levels")
    if isinstance(levels, list):
        return tuple(level for level in EFFORTS if level in levels)
    told = {level: flag(row, f"supports_{level}_reasoning_effort") for level in EFFORTS if level not in _ALWAYS}
    if all(value is None for value in told.values()):
        return ()
    return tuple(level for level in EFFORTS if level in _ALWAYS or told[level])


def written(made: Table) -> str:
    """One line for each provider and each entry, so that a change of the table is a readable diff."""
    entries = ",\n".join("  " + compact(entry) for entry in made.entries)
    models = ",\n".join(f"  {compact(name)}: {compact(found)}" for name, found in made.models.items())
    head = f'"source": {compact(made.source)},\n"date": {compact(made.date)},\n"fields": {compact(made.fields)}'
    return f'{{{head},\n"entries": [\n{entries}\n],\n"models": {{\n{models}\n}},\n"names": {compact(made.names)}\n}}\n'


def compact(value: object) -> str:
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
