"""What codecs gather of an answer, and what is looked up for every piece of it, costs in proportion to the answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from asbru.dialects.bedrock_converse.answer import Answer
from asbru.dialects.bedrock_converse.wire import Reasoning
from asbru.dialects.codec import Context, Quirks
from asbru.dialects.losses import FIELDS, Losses, LossyError, Row
from asbru.dialects.message_stream import MessageStream
from asbru.dialects.openai_chat.answer import ChunkDecoder
from asbru.dialects.openai_chat.wire import Call, Delta, Function
from asbru.dialects.openai_responses.stream import Event, EventDecoder
from asbru.dialects.stopping import MAX_SEQUENCES, MAX_TOTAL_CHARS, divide
from asbru.dialects.whole import Joiner
from tests.work import Text, Work, work

__all__ = ["work"]

PIECES = 3000
TIMES = 6


def context(**quirks: Any) -> Context:
    return Context(provider="p", model="m", shown_model="m", message_id="msg_1", quirks=Quirks(**quirks))


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_a_whole_answer_in_pieces(kind: str, work: Work) -> None:
    stream = MessageStream("msg_1", "m")
    for _ in range(PIECES):
        getattr(stream, kind)(Text("abc"))
    stream.stop("end_turn")
    stream.finish()
    assert json.loads(stream.message())["content"][0][kind] == "abc" * PIECES
    assert work.done <= TIMES * 3 * PIECES


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_joining_a_stream(kind: str, work: Work) -> None:
    joiner = Joiner()
    message: dict[str, Any] = {"content": [], "usage": {}}
    joiner._take({"type": "message_start", "message": message})
    joiner._take({"type": "content_block_start", "index": 0, "content_block": {"type": kind, kind: ""}})
    for _ in range(PIECES):
        delta = {"type": f"{kind}_delta", kind: Text("abc")}
        joiner._take({"type": "content_block_delta", "index": 0, "delta": delta})
    joiner._take({"type": "message_stop"})
    assert json.loads(joiner.message())["content"][0][kind] == "abc" * PIECES
    assert work.done <= TIMES * 3 * PIECES


def test_the_signature_of_converse(work: Work) -> None:
    answer = Answer(context())
    for _ in range(PIECES):
        answer._reasoning(Reasoning(signature=Text("abc")))
    assert work.done <= TIMES * 3 * PIECES


@pytest.mark.parametrize(
    "delta",
    [
        Delta(tool_calls=[Call(index=0, function=Function(arguments=Text("abc")))]),
        Delta(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": Text("abc")}]),
    ],
    ids=["input before the name", "reasoning details"],
)
def test_what_chat_completions_hold(delta: Delta, work: Work) -> None:
    reader = ChunkDecoder(context(reasoning_field="reasoning_details"))._reader
    for _ in range(PIECES):
        reader.delta(delta)
    assert work.done <= TIMES * 3 * PIECES


class Compared(str):
    """An id that counts with how many others it is compared."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Work.done += 1
        return str.__eq__(self, other)


def test_calls_without_an_index_are_found_by_their_id(work: Work) -> None:
    reader = ChunkDecoder(context())._reader
    for number in range(PIECES):
        reader.delta(Delta(tool_calls=[Call(id=Compared(f"call_{number}"), function=Function(name="f"))]))
    assert reader.stream.tools_emitted == 1  # the others wait for their turn
    assert len(reader._calls._by_index) == PIECES
    assert work.done <= 20 * PIECES


class Place(int):
    """An index that counts its comparisons."""

    __hash__ = int.__hash__

    def __lt__(self, other: int) -> bool:
        Work.done += 1
        return int.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        return int.__eq__(self, other)


def test_items_that_wait_are_taken_in_order(work: Work) -> None:
    decoder = EventDecoder(context())

    def say(kind: str, index: int) -> None:
        item = msgspec.json.decode(b'{"output_index":0,"item":{"type":"message"},"delta":"a"}', type=Event)
        item.type, item.output_index = kind, Place(index)
        decoder._of_an_item(item, 10)

    say("response.output_text.delta", 0)
    for index in reversed(range(1, PIECES)):
        say("response.output_text.delta", index)
        say("response.output_item.done", index)
    say("response.output_item.done", 0)
    assert not decoder._held
    assert work.done <= 30 * PIECES  # the heap's logarithm


def test_watched_stop_sequences_are_bounded() -> None:
    losses = Losses(dict.fromkeys(FIELDS, Row("exact", "")))
    assert len(divide([f"stop {n}" for n in range(MAX_SEQUENCES + 4)], 4, losses)[1]) == MAX_SEQUENCES
    with pytest.raises(LossyError, match=f"at most {MAX_SEQUENCES + 4}"):
        divide([f"stop {n}" for n in range(MAX_SEQUENCES + 5)], 4, losses)
    long = ["x" * 990 + str(n) for n in range(5)]
    with pytest.raises(LossyError, match=f"{MAX_TOTAL_CHARS} characters in all$"):
        divide(long, 0, losses)
    assert divide(long, 4, losses) == (long[:4], long[4:])
