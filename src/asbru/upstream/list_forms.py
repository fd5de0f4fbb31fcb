"""Other dialects' lists of models, read: names, and what they say of limits. Sans I/O.

Models that do not converse (embeddings, speech, images) are left out where their names tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from asbru.upstream.model_info import Listed

_NOT_FOR_TALK = re.compile(
    r"embed|whisper|(?:^|[-/])tts|-tts|dall-e|moderation|realtime|transcribe|(?:^|[-/])(?:gpt-)?(?:audio|image)|imagen"
    r"|sora|(?:^|[-/])veo|davinci|babbage|rerank|ocr|guard|-asr|stable-diffusion|flux"
)


class Page(NamedTuple):
    """Some entries, and the target of the rest."""

    entries: Iterable[Listed]
    more: bytes | None = None


class _OpenAiModel(msgspec.Struct):
    """What OpenAI says, and what compatible hosts add to it."""

    id: str
    created: float | None = None
    name: str | None = None
    display_name: str | None = None
    context_length: int | None = None
    context_window: int | None = None
    max_context_length: int | None = None
    max_model_len: int | None = None
    max_completion_tokens: int | None = None


class _OpenAiPage(msgspec.Struct):
    data: list[_OpenAiModel]


class _GeminiModel(msgspec.Struct, rename="camel"):
    name: str
    display_name: str | None = None
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: list[str] | None = None


class _GeminiPage(msgspec.Struct, rename="camel"):
    models: list[_GeminiModel] = []
    next_page_token: str | None = None


def _openai(body: bytes) -> Page:
    if body.lstrip()[:1] == b"[":  # Together AI's is a bare list
        models = msgspec.json.decode(body, type=list[_OpenAiModel], strict=False)
    else:
        models = msgspec.json.decode(body, type=_OpenAiPage, strict=False).data
    return Page(_openai_entry(model) for model in models if not _NOT_FOR_TALK.search(model.id.lower()))


def _openai_entry(model: _OpenAiModel) -> Listed:
    context = model.context_length or model.context_window or model.max_context_length or model.max_model_len
    name = model.display_name or model.name
    return Listed(model.id, name, int(model.created or 0), context, model.max_completion_tokens)


def _gemini(body: bytes) -> Page:
    page = msgspec.json.decode(body, type=_GeminiPage)
    more = page.next_page_token
    return Page(_gemini_entries(page), _GEMINI_LIST + b"&pageToken=" + quote(more, safe="").encode() if more else None)


def _gemini_entries(page: _GeminiPage) -> Iterator[Listed]:
    for model in page.models:
        name = model.name.removeprefix("models/")
        methods = model.supported_generation_methods
        if (methods is None or "generateContent" in methods) and not _NOT_FOR_TALK.search(name):
            yield Listed(name, model.display_name, 0, model.input_token_limit, model.output_token_limit)


_GEMINI_LIST = b"/models?pageSize=1000"
FORMS: dict[str, tuple[bytes, Callable[[bytes], Page]]] = {
    "openai-chat": (b"/models", _openai),
    "openai-responses": (b"/models", _openai),
    "gemini": (_GEMINI_LIST, _gemini),
}
"""Dialect -> the first page's target, and what reads a page."""
