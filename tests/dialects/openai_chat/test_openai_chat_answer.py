"""openai-chat answers where hosts differ from the reference, one thing at a time, beside the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import blobs, whole
from asbru.dialects.codec import Context, Quirks
from asbru.dialects.message_stream import StreamError
from asbru.dialects.openai_chat import CODEC
from tests import grammar
from tests.dialects import golden

Json = dict[str, Any]

STOP: Json = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def context(**given: Any) -> Context:
    return Context(provider="p", model="m", shown_model="shown", message_id="msg_1", **given)


def delta(**fields: Any) -> Json:
    return {"choices": [{"index": 0, "delta": fields}]}


def streamed(*chunks: Json, spoken: Context | None = None, error: bool = False) -> grammar.Stream:
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    return grammar.check(golden.streamed(CODEC, spoken or context(), [body]), error=error)


def content(read: grammar.Stream) -> list[Json]:
    found = read.message["content"]
    assert isinstance(found, list)
    return found


def tool(index: int | None, id: str | None, name: str | None, arguments: Any = "") -> Json:
    return delta(tool_calls=[{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}])


def test_choices_beside_the_first_are_not_the_answer() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    assert content(streamed(delta(content="yes"), other, STOP)) == [{"type": "text", "text": "yes"}]


def test_a_stop_sequence_is_named_only_when_it_stopped_there() -> None:
    cut = {"choices": [{"delta": {"content": "x"}, "finish_reason": "length", "stop_reason": "END"}]}
    assert streamed(cut).message["stop_reason"] == "max_tokens"
    token = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop", "stop_reason": 128009}]}
    assert streamed(token).message["stop_reason"] == "end_turn"
    sglang = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop", "matched_stop": "END"}]}
    assert streamed(sglang).message["stop_sequence"] == "END"


@pytest.mark.parametrize("reason", ["eos", "end_turn", "something new"])
def test_an_unknown_reason_says_that_it_is_over(reason: str) -> None:
    assert (
        streamed({"choices": [{"delta": {"content": "x"}, "finish_reason": reason}]}).message["stop_reason"]
        == "end_turn"
    )


@pytest.mark.parametrize(
    ("reason", "type"),
    [("error", "api_error"), ("abort", "api_error"), ("insufficient_system_resource", "overloaded_error")],
)
def test_a_reason_that_is_a_failure_is_one(reason: str, type: str) -> None:
    read = streamed(delta(content="x"), {"choices": [{"delta": {}, "finish_reason": reason}]}, error=True)
    assert read.error is not None and read.error["type"] == type
    with pytest.raises(StreamError):
        CODEC.decode(
            json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": reason}]}).encode(), context()
        )


def test_an_error_within_a_choice_is_one() -> None:
    broken = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop", "error": {"code": 429, "message": "Slow"}}]
    }
    with pytest.raises(StreamError, match="Slow") as caught:
        CODEC.decode(json.dumps(broken).encode(), context())
    assert caught.value.type == "rate_limit_error"


def test_groqs_error_is_one() -> None:
    read = streamed(delta(content="x"), {"choices": [], "x_groq": {"error": "over capacity"}}, error=True)
    assert read.error is not None and read.error["message"] == "over capacity"


def test_a_whole_answer_need_not_say_why_it_ended() -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}]}).encode()
    assert json.loads(whole.join(CODEC.decode(body, context()).take()))["stop_reason"] == "end_turn"


# Tool calls


def test_other_ids_for_the_same_call_without_its_name_are_the_same_call() -> None:
    read = streamed(tool(0, "a1", "look", '{"q"'), tool(0, "a2", None, ":1"), tool(0, "a3", "", "}"), STOP)
    assert [(block["id"], block["input"]) for block in content(read)] == [("a1", {"q": 1})]


def test_calls_without_index_are_told_apart_by_id_and_name() -> None:
    first = [tool(None, "a1", "look", "{"), tool(None, "a1", None, "}")]
    second = [tool(None, "a2", None), tool(None, "a2", "find", '{"q":'), tool(None, None, None, "2}")]
    read = streamed(*first, *second, STOP)
    made = [(block["id"], block["name"], block["input"]) for block in content(read)]
    assert made == [("a1", "look", {}), ("a2", "find", {"q": 2})]


def test_what_comes_before_a_calls_name_is_not_lost() -> None:
    read = streamed(tool(0, "a1", None, '{"q"'), tool(0, None, None, ":1"), tool(0, None, "look", "}"), STOP)
    assert [(block["id"], block["name"], block["input"]) for block in content(read)] == [("a1", "look", {"q": 1})]


def test_a_call_that_is_never_named_is_an_error_unless_the_answer_had_ended() -> None:
    assert streamed(tool(0, "a1", None, "{}"), STOP, error=True).error is not None
    body = b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n" for each in (delta(content="x"), tool(0, "a", None), STOP)
    )
    decoder = CODEC.decoder(context())
    with pytest.raises(StreamError, match="no name"):
        decoder.feed(body + b"data: [DONE]\n\n")
    decoder.stream.fail("api_error", "no name")
    assert decoder.end()
    assert decoder.feed(body) == b""


def test_a_nameless_calls_input_is_bounded() -> None:
    decoder = CODEC.decoder(context())
    piece = b"data: " + json.dumps(tool(0, "a1", None, "x" * 2_000_000)).encode() + b"\n\n"
    with pytest.raises(StreamError):
        for _ in range(4):
            decoder.feed(piece)


def test_an_event_beyond_the_bound_is_an_error() -> None:
    decoder = CODEC.decoder(context())
    with pytest.raises(StreamError, match="larger"):
        for _ in range(20):
            decoder.feed(b"data: " + b"x" * 1_000_000)


def test_structured_output_by_a_tool_is_text_wherever_its_name_comes() -> None:
    spoken = context(structured_tool="structured_output")
    read = streamed(tool(0, "a", None, '{"q"'), tool(0, None, "structured_output", ":1}"), STOP, spoken=spoken)
    assert "".join(str(block["text"]) for block in content(read)) == '{"q":1}'
    assert read.message["stop_reason"] == "end_turn"


# Reasoning


def test_details_are_shown_where_nothing_else_is() -> None:
    details = [
        {"type": "reasoning.summary", "summary": "Sum", "index": 0},
        {"type": "reasoning.text", "text": "med", "index": 1},
    ]
    read = streamed(delta(reasoning_details=details), delta(content="x"), STOP)
    assert content(read)[0] == {"type": "thinking", "thinking": "Summed", "signature": blobs.seal("p", "m", {})}


def test_details_are_kept_whole_for_the_host_that_takes_them_back() -> None:
    spoken = context(quirks=Quirks(reasoning_field="reasoning_details"))
    one = {"type": "reasoning.summary", "summary": "a", "index": 0}
    other = {"type": "reasoning.summary", "summary": "c", "index": 1}
    sealed = {"type": "reasoning.encrypted", "data": "e", "index": 1}
    read = streamed(
        delta(reasoning="ab", reasoning_details=[one, {**one, "summary": "b"}]),
        delta(reasoning_details=[other, sealed, sealed]), delta(content="x"), STOP, spoken=spoken,
    )  # fmt: skip
    kept = [{**one, "summary": "ab"}, other, sealed, sealed]
    assert content(read)[0]["signature"] == blobs.seal("p", "m", {"details": kept})


def test_reasoning_between_text_is_a_block_of_its_own() -> None:
    read = streamed(delta(reasoning="a"), delta(content="b"), delta(reasoning="c"), delta(content="d"), STOP)
    assert [block["type"] for block in content(read)] == ["thinking", "text", "thinking", "text"]


def test_nothing_but_reasoning_is_signed_too() -> None:
    read = streamed(delta(reasoning="a"), {"choices": [{"delta": {}, "finish_reason": "length"}]})
    assert content(read) == [{"type": "thinking", "thinking": "a", "signature": blobs.seal("p", "m", {})}]


# Usage


INSIDE, OUTSIDE = "prompt_tokens_details", "completion_tokens_details"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        # told: input, cache read, cache written, output, of it thinking
        ({"prompt_cache_hit_tokens": 4}, (6, 4, 0, 2, 0)),
        ({"cached_tokens": 4}, (6, 4, 0, 2, 0)),
        ({INSIDE: {"cached_tokens": 99}}, (0, 10, 0, 2, 0)),
        ({INSIDE: {"cached_tokens": 4, "cache_write_tokens": 99}}, (0, 4, 6, 2, 0)),
        ({OUTSIDE: {"reasoning_tokens": 9}}, (10, 0, 0, 2, 2)),
        ({"completion_tokens": 9, "total_tokens": 19, OUTSIDE: {"reasoning_tokens": 4}}, (10, 0, 0, 9, 4)),
        ({"completion_tokens": 9, "total_tokens": 23, OUTSIDE: {"reasoning_tokens": 4}}, (10, 0, 0, 13, 4)),
        ({"prompt_tokens": None, "completion_tokens": -3, INSIDE: None}, (0, 0, 0, 0, 0)),
        ({"prompt_tokens": 10.0, "completion_tokens": 10**40}, (10, 0, 0, 2**53, 0)),
    ],
)
def test_usage(said: Json, told: tuple[int, int, int, int, int]) -> None:
    answer = {
        "choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, **said},
    }
    usage = CODEC.decode(json.dumps(answer).encode(), context()).usage
    cached = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    assert (usage.input_tokens, *cached, usage.output_tokens, usage.thinking_tokens) == told


def test_the_last_count_is_the_final_one_and_is_known_when_the_stream_breaks_off() -> None:
    decoder = CODEC.decoder(context())
    for tokens in (1, 5):
        chunk = {**delta(content="x"), "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}
        decoder.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert (decoder.stream.usage.input_tokens, decoder.stream.usage.output_tokens) == (7, 5)


def test_an_error_event_that_is_no_json_is_an_error_of_ours() -> None:
    decoder = CODEC.decoder(context())
    with pytest.raises(StreamError, match="not a chat completion"):
        decoder.feed(b'event: error\ndata: {"x":\n\n')


# Broken characters and empty frames


def test_half_an_emoji_is_joined_or_replaced() -> None:
    chunks = rb"""data: {"choices":[{"delta":{"content":"\ud83d"}}]}

data: {"choices":[{"delta":{"content":"\ude00 and \ud83d"}}]}

data: {"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"a\":\"\\ud83d"}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"\\ude00\ud83d"}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"\ude00\"}"}}]},"finish_reason":"stop"}]}

data: [DONE]

"""
    blocks = content(grammar.check(golden.streamed(CODEC, context(), [chunks]), error=False))
    assert (blocks[0]["text"], blocks[1]["input"]) == ("😀 and \ufffd", {"a": "😀😀"})


def test_half_an_emoji_in_a_whole_answer_is_replaced() -> None:
    body = rb"""{"choices":[{"message":{"content":"\ud83d","tool_calls":[{"id":"c","function":
        {"name":"f","arguments":"{\"a\":\"\\ud83d\"}"}}]},"finish_reason":"tool_calls"}]}"""
    blocks = json.loads(CODEC.decode(body, context()).message())["content"]
    assert (blocks[0]["text"], blocks[1]["input"]) == ("\ufffd", {"a": "\ufffd"})


@pytest.mark.parametrize(
    "frame", [b"data:\n\n", b"data: \n\n", b"data: null\n\n", b"event: heartbeat\ndata: alive\n\n"]
)
def test_frames_without_meaning_are_passed_over(frame: bytes) -> None:
    chunk = b"data: " + json.dumps(delta(content="x")).encode() + b"\n\n"
    end = b"data: " + json.dumps(STOP).encode() + b"\n\n"
    read = grammar.check(golden.streamed(CODEC, context(), [frame + chunk + frame + end + frame]), error=False)
    assert content(read) == [{"type": "text", "text": "x"}]


def test_reasoning_that_nobody_asked_for_is_left_out_unless_a_call_needs_it() -> None:
    unasked = context(wants_thinking=False, show_thinking=False, quirks=Quirks(reasoning_field="reasoning_content"))
    thought = delta(reasoning_content="Hm.")
    assert content(streamed(thought, delta(content="yes"), STOP, spoken=unasked)) == [{"type": "text", "text": "yes"}]
    text, state, call = content(streamed(thought, delta(content="a"), tool(0, "c", "f", "{}"), STOP, spoken=unasked))
    assert (text["text"], state["thinking"], call["type"]) == ("a", "", "tool_use")
    assert blobs.unseal(state["signature"], "p", "m") == {"text": "Hm."}
