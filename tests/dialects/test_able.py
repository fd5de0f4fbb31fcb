"""What a model is known not to be able to do is refused, and nothing else."""

from __future__ import annotations

import json

import pytest

from asbru.dialects import messages
from asbru.dialects.able import refuse_unable
from asbru.dialects.codec import Context, Model
from asbru.dialects.losses import LossyError

Json = dict[str, object]

IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
TEXT: Json = {"type": "text", "text": "hi"}
TOOL: Json = {"name": "t", "input_schema": {"type": "object"}}
USE: Json = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [IMAGE]}


def refusal(facts: Model, *turns: list[Json], **fields: object) -> str | None:
    roles = ("user", "assistant")
    conversation = [{"role": roles[at % 2], "content": content} for at, content in enumerate(turns)]
    request = messages.parse(json.dumps({"model": "m", "max_tokens": 9, "messages": conversation, **fields}).encode())
    context = Context(provider="p", model="m", shown_model="m", message_id="msg_1", facts=facts)
    try:
        refuse_unable(request, context)
    except LossyError as error:
        return error.message
    return None


@pytest.mark.parametrize("images", [None, True])
def test_what_is_not_known_to_fail_is_sent(images: bool | None) -> None:
    assert refusal(Model(images=images), [TEXT, IMAGE], tools=[TOOL]) is None


def test_an_image_that_is_asked_about_now() -> None:
    says = refusal(Model(images=False), [TEXT], [TEXT], [TEXT, IMAGE])
    assert says == "messages.2.content.1: m is known to take no images"


@pytest.mark.parametrize("turns", [([IMAGE], [TEXT], [TEXT]), ([TEXT], [USE], [RESULT]), ([TEXT],)])
def test_a_conversation_that_had_one_goes_on(turns: tuple[list[Json], ...]) -> None:
    assert refusal(Model(images=False), *turns) is None


def test_tools_that_cannot_be_called() -> None:
    assert refusal(Model(tools=False), [TEXT], tools=[TOOL]) == "tools: m is known to call no tools"
    assert refusal(Model(tools=False), [TEXT]) is None
