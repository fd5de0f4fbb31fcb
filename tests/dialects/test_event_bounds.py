"""One event of a stream is worked on in one turn of the loop, so what it may hold is bounded by count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects.codec import Context, Quirks
from asbru.dialects.message_stream import StreamError
from asbru.dialects.registry import codec
from asbru.dialects.upstream_json import MAX_EVENT_VALUES

MANY = MAX_EVENT_VALUES + 1


def chat(text: str, padding: list[int]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}], "x": padding}


def responses(text: str, padding: list[int]) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text, "x": padding}


def gemini(text: str, padding: list[int]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}]}}], "x": padding}


DIALECTS = {"openai-chat": chat, "openai-responses": responses, "gemini": gemini}
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def fed(dialect: str, text: str, padding: list[int]) -> bytes:
    context = Context(provider="p", model="m", shown_model="m", message_id="msg_1", quirks=Quirks())
    decoder = codec(dialect).decoder(context)
    return decoder.feed(b"data: " + json.dumps(DIALECTS[dialect](text, padding)).encode() + b"\n\n")


@every_dialect
def test_an_event_of_too_many_values_is_refused(dialect: str) -> None:
    with pytest.raises(StreamError):
        fed(dialect, "Hi", [1] * MANY)


@every_dialect
def test_what_stands_in_a_text_counts_for_nothing(dialect: str) -> None:
    assert b"{[,]}" in fed(dialect, "{[,]}" * MANY, [])
