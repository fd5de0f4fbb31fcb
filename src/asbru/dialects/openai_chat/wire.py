"""What is read of chat completions and their chunks: typed, tolerant of what is missing, null or more.

From `openai-python` (``types/chat/chat_completion.py``, ``chat_completion_chunk.py``, ``types/completion_usage.py``);
fields of other hosts are marked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects.upstream_json import MAX_EVENT_VALUES, Reader

Json = dict[str, Any]
Number = int | float | None


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | Json | None = None
    """An object at some hosts (Mistral's reference allows both)."""


class Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: object = None
    """Gemini's compatible endpoint: the thought signature of the call, wanted back."""
    provider_specific_fields: object = None
    """LiteLLM's proxy: the same."""


OPAQUE = ("extra_content", "provider_specific_fields")
"""Fields of a call that go back beside it as they came."""


class Delta(msgspec.Struct):
    """A ``delta``, or a whole ``message``."""

    content: str | list[Json] | None = None
    """Parts at Mistral."""
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    reasoning_content: str | None = None
    """DeepSeek, xAI, llama.cpp, Fireworks, LM Studio, older vLLM."""
    reasoning: str | None = None
    """Groq, OpenRouter, Together, Cerebras, Ollama, vLLM."""
    reasoning_details: list[Json] | None = None
    """OpenRouter."""


class Choice(msgspec.Struct):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: object = None
    """vLLM: the stop sequence, or a token's number."""
    matched_stop: object = None
    """SGLang: the same."""
    error: object = None
    """OpenRouter."""


class PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Number = None
    cache_write_tokens: Number = None


class OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Number = None


class Usage(msgspec.Struct):
    prompt_tokens: Number = None
    completion_tokens: Number = None
    total_tokens: Number = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Number = None
    """DeepSeek."""
    cached_tokens: Number = None
    """Moonshot."""


class Groq(msgspec.Struct):
    usage: Usage | None = None
    error: object = None


class Chunk(msgspec.Struct):
    """A chunk, or a whole completion."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    error: object = None
    x_groq: Groq | None = None


read_chunk = Reader(Chunk, max_values=MAX_EVENT_VALUES)
read_completion = Reader(Chunk)
