"""The stream checker itself: it accepts a good stream and names every kind of defect in a bad one."""

from __future__ import annotations

import json

import pytest

from tests.grammar import GrammarError, check

Json = dict[str, object]


def start(**message: object) -> Json:
    whole: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return {"type": "message_start", "message": {**whole, **message}}


def block(index: int, **content: object) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, **content: object) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": content}


def stop(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def end(reason: object = "end_turn", sequence: object = None, **usage: object) -> Json:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": {"output_tokens": 9, **usage},
    }


STOP: Json = {"type": "message_stop"}
PING: Json = {"type": "ping"}
ERROR: Json = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
TEXT = [block(0, type="text", text=""), delta(0, type="text_delta", text="Hi"), stop(0)]
CALL = [
    block(0, type="tool_use", id="toolu_1", name="f", input={}),
    delta(0, type="input_json_delta", partial_json=""),
    delta(0, type="input_json_delta", partial_json='{"a":'),
    delta(0, type="input_json_delta", partial_json=" 1}"),
    stop(0),
]
THOUGHT = [
    block(0, type="thinking", thinking="", signature=""),
    delta(0, type="thinking_delta", thinking="Hm"),
    delta(0, type="signature_delta", signature="c2ln"),
    stop(0),
]


def stream(*events: Json) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events
    )


def test_a_good_stream_is_put_together() -> None:
    read = check(stream(start(), PING, *TEXT, end(input_tokens=5), STOP) + b": bye\n\n")
    assert read.message["content"] == [{"type": "text", "text": "Hi"}]
    assert read.message["stop_reason"] == "end_turn"
    assert read.message["usage"] == {"input_tokens": 5, "output_tokens": 9}
    assert (read.pings, read.comments, read.text(), read.error) == (1, 1, "Hi", None)


def test_calls_and_thoughts_are_put_together() -> None:
    read = check(stream(start(), *CALL, end("tool_use"), STOP))
    assert read.message["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]
    read = check(stream(start(), *THOUGHT, end(), STOP))
    assert read.message["content"] == [{"type": "thinking", "thinking": "Hm", "signature": "c2ln"}]


def test_an_error_ends_a_stream_at_any_point() -> None:
    for events in ([ERROR], [start(), ERROR], [start(), *TEXT[:2], ERROR]):
        read = check(stream(*events), error=True)
        assert read.error == ERROR["error"]
        with pytest.raises(GrammarError, match="ended with an error"):
            check(stream(*events))
    with pytest.raises(GrammarError, match="ended with message_stop"):
        check(stream(start(), *TEXT, end(), STOP), error=True)
    assert check(stream(start(), *TEXT, end(), STOP), error=None).error is None


BROKEN: dict[str, tuple[list[Json], str]] = {
    "nothing": ([], "empty"),
    "no end": ([start(), *TEXT], "without message_stop"),
    "no message_delta": ([start(), *TEXT, STOP], "without message_delta"),
    "two starts": ([start(), start()], "second message_start"),
    "no start": (TEXT, "before message_start"),
    "after the stop": ([start(), *TEXT, end(), STOP, PING], "after message_stop"),
    "after an error": ([start(), ERROR, PING], "after an error"),
    "no usage": ([start(usage=None)], "usage is not an object"),
    "no input tokens": ([start(usage={"output_tokens": 1})], "without input_tokens"),
    "null tokens": ([start(usage={"input_tokens": None, "output_tokens": 1})], "input_tokens is None"),
    "content in the start": ([start(content=[{"type": "text", "text": "x"}])], "content in message_start"),
    "reason in the start": ([start(stop_reason="end_turn")], "stop_reason in message_start"),
    "wrong role": ([start(role="user")], "role"),
    "no id": ([start(id="")], "without id"),
    "overlapping blocks": ([start(), TEXT[0], block(1, type="text", text="")], "another is open"),
    "index gap": ([start(), block(1, type="text", text="")], "expected 0"),
    "index again": ([start(), *TEXT, TEXT[0]], "expected 1"),
    "delta of another block": ([start(), TEXT[0], delta(1, type="text_delta", text="x")], "delta for index 1"),
    "delta without block": ([start(), TEXT[1]], "no block is open"),
    "stop without block": ([start(), stop(0)], "no block is open"),
    "stop of another block": ([start(), TEXT[0], stop(1)], "stop of index 1"),
    "wrong delta": ([start(), TEXT[0], delta(0, type="thinking_delta", thinking="x")], "in a block of type 'text'"),
    "text that starts full": ([start(), block(0, type="text", text="x")], "does not start empty"),
    "unknown block": ([start(), block(0, type="poem")], "unknown block type"),
    "delta of a whole block": (
        [start(), block(0, type="redacted_thinking", data="x"), delta(0, type="text_delta", text="x")],
        "in a block of type 'redacted_thinking'",
    ),
    "thinking without signature": ([start(), *THOUGHT[:2], stop(0)], "without signature"),
    "thinking after its signature": ([start(), *THOUGHT[:3], THOUGHT[1]], "after the signature"),
    "two signatures": ([start(), *THOUGHT[:3], THOUGHT[2]], "after the signature"),
    "broken input": ([start(), *CALL[:3], stop(0)], "not JSON"),
    "input not an object": (
        [start(), CALL[0], delta(0, type="input_json_delta", partial_json="[]"), stop(0)],
        "not an object",
    ),
    "input in the start": ([start(), block(0, type="tool_use", id="t", name="f", input={"a": 1})], "empty input"),
    "call without id": ([start(), block(0, type="tool_use", id="", name="f", input={})], "without id"),
    "the same id twice": (
        [start(), *CALL, block(1, type="tool_use", id="toolu_1", name="f", input={})],
        "id again",
    ),
    "end_turn with a call": ([start(), *CALL, end(), STOP], "a tool call, but"),
    "tool_use without a call": ([start(), *TEXT, end("tool_use"), STOP], "without a tool call"),
    "open block at the end": ([start(), TEXT[0], end()], "block is open"),
    "two ends": ([start(), *TEXT, end(), end()], "second message_delta"),
    "null stop reason": ([start(), *TEXT, end(None)], "stop_reason is None"),
    "sequence without its reason": ([start(), *TEXT, end("end_turn", "X")], "does not fit"),
    "reason without its sequence": ([start(), *TEXT, end("stop_sequence")], "does not fit"),
    "falling usage": ([start(), *TEXT, end(input_tokens=4)], "falls from 5 to 4"),
    "block after the end": ([start(), *TEXT, end(), block(1, type="text", text="")], "after message_delta"),
    "unknown event": ([start(), {"type": "done"}], "unknown event"),
    "unknown error type": ([{"type": "error", "error": {"type": "oops", "message": "x"}}], "unknown error type"),
    "error without message": ([{"type": "error", "error": {"type": "api_error"}}], "without a message"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_defect_is_named(name: str) -> None:
    events, words = BROKEN[name]
    with pytest.raises(GrammarError, match=words):
        check(stream(*events), error=None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'data: {"type": "ping"}\n\n', "one event line and one data line"),
        (b"event: ping\ndata: {}\n\n", "its type is None"),
        (b'event: ping\ndata: {"type": "pong"}\n\n', "its type is 'pong'"),
        (b"event: ping\ndata: [1]\n\n", "not an object"),
        (b"event: ping\ndata: {oops\n\n", "not JSON"),
        (b"event: ping\ndata: [DONE]\n\n", "not JSON"),
        (b'event: ping\ndata: {"type":\ndata: "ping"}\n\n', "one event line and one data line"),
        (b'event: ping\r\ndata: {"type": "ping"}\r\n\r\n', "carriage"),
        (b'event: ping\ndata: {"type": "ping"}\n', "does not end with an empty line"),
        (b'\n\nevent: ping\ndata: {"type": "ping"}\n\n', "empty events"),
        (b'event: ping\ndata: {"type": "ping", "x": "\xff"}\n\n', "not JSON"),
    ],
)
def test_framing_must_be_exact(body: bytes, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        check(body, error=None)
