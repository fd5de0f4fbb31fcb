"""How much of a conversation a translation goes through, while everybody else waits."""

from __future__ import annotations

import json

import pytest

from asbru.dialects import messages


def body(turns: list[object]) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 1, "messages": turns}).encode()


def test_messages_are_bounded() -> None:
    turn = {"role": "user", "content": "a"}
    with pytest.raises(messages.MessagesError, match="at most 100000 messages"):
        messages.parse(body([turn] * 100_001))


def test_blocks_are_bounded_together() -> None:
    turn = {"role": "user", "content": [{"type": "text", "text": "a"}] * 500}
    with pytest.raises(messages.MessagesError, match="at most 100000 content blocks"):
        messages.parse(body([turn] * 201))
    assert len(messages.parse(body([turn] * 200)).messages) == 200
