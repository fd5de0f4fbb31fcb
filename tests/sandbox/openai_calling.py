"""Asking the sandbox with OpenAI's own SDK, and holding what it says against the SDK's types.

The SDK builds its objects without checking them; `strictly` reads the answer again with every field checked, and
refuses fields that the types do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import openai
import pydantic
from openai._models import BaseModel

from tests.sandbox.serving import serving

Json = dict[str, object]
Known = TypeVar("Known", bound=BaseModel)

WEATHER: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRICT: Json = {**WEATHER, "additionalProperties": False}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
    "JggggA"
)
PDF = "data:application/pdf;base64,JVBERi0xLjQK"


@contextmanager
def client() -> Iterator[openai.OpenAI]:
    """The SDK at a running sandbox; it does not retry."""
    with serving() as url, openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as made:
        yield made


def strictly(value: Known, *, more: tuple[str, ...] = ()) -> Known:
    """The same object, when it is exactly one of its type; ``more`` are fields that it may have besides."""
    found = value.to_dict(mode="json")
    type(value).model_validate(found, strict=False)
    _nothing_else(value, more)
    return value


def _nothing_else(value: object, more: tuple[str, ...]) -> None:
    if isinstance(value, pydantic.BaseModel):
        extra = {name for name in value.model_extra or {} if name not in more}
        assert not extra, f"{type(value).__name__} has no {extra}"
        for name in type(value).model_fields:
            _nothing_else(getattr(value, name), more)
    elif isinstance(value, list):
        for item in value:
            _nothing_else(item, more)


def said(error: openai.APIStatusError) -> tuple[int, str | None, str | None]:
    """Status, ``param`` and ``code``; the error must have OpenAI's four fields."""
    body = cast(Json, error.body)
    assert set(body) == {"message", "type", "param", "code"}
    return error.status_code, error.param, error.code
