"""MessageStream: whatever a decoder says, in whatever order, the client gets a valid stream and all of what was said.

The invariants at the head of `message_stream` are held against `tests.grammar`, which knows nothing of it, and against
`Heard`, which keeps what was said by plain means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.dialects import blobs, whole
from asbru.dialects.message_stream import MAX_HELD, MessageStream, StreamError
from asbru.dialects.stream_events import stop_reason
from tests import grammar
from tests.grammar import Json

Call = tuple[str, tuple[object, ...]]

TEXT = st.text('ab\n"é😀\u2028', max_size=4)
KEYS = st.integers(0, 3)
IDS = st.sampled_from(["", "call_1", "call_2", "call_1_1"])
REASONS = st.sampled_from(
    ["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "model_context_window_exceeded", "pause_turn"]
)
CITATION = {"type": "char_location", "cited_text": "a"}
RESULT = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}

SAID: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("text"), st.tuples(TEXT)),
    st.tuples(st.just("thinking"), st.tuples(TEXT)),
    st.tuples(st.just("signature"), st.tuples(TEXT)),
    st.tuples(st.just("tool"), st.tuples(KEYS, IDS, st.sampled_from(["tool_use", "server_tool_use"]))),
    st.tuples(st.just("piece"), st.tuples(KEYS)),
    st.tuples(st.just("tool_end"), st.tuples(KEYS)),
)
OTHER: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("start"), st.just(())),
    st.tuples(st.just("citation"), st.tuples(st.just(CITATION))),
    st.tuples(st.just("block"), st.tuples(st.just(RESULT))),
    st.tuples(st.just("end_block"), st.just(())),
    st.tuples(st.just("stop"), st.tuples(REASONS, st.sampled_from([None, "END"]))),
    st.tuples(st.just("take"), st.just(())),
)
CALLS = st.one_of(SAID, SAID, SAID, OTHER)


class Heard:
    """What was said, and says it on to the stream; pieces of tool calls make a JSON object, one key per piece."""

    def __init__(self, stream: MessageStream) -> None:
        self.stream = stream
        self.out = b""
        self.text = ""
        self.thinking = ""
        self.signatures: list[str] = []
        self.pieces: dict[int, list[int]] = {}
        self.ended: set[int] = set()
        self.stopped = False
        self.count = 0

    def say(self, call: Call) -> None:
        name, values = call
        special: Callable[..., None] | None = getattr(self, f"say_{name}", None)
        if special is not None:
            special(*values)
        else:
            getattr(self.stream, name)(*values)

    def say_take(self) -> None:
        self.out += self.stream.take()

    def say_text(self, text: str) -> None:
        self.text += text
        self.stream.text(text)

    def say_thinking(self, text: str) -> None:
        self.thinking += text
        self.stream.thinking(text)

    def say_signature(self, text: str) -> None:
        self.signatures += [text] if text else []
        self.stream.signature(text)

    def say_stop(self, reason: str, sequence: str | None) -> None:
        self.stopped = True
        self.stream.stop(reason, sequence)  # type: ignore[arg-type]  # one of REASONS

    def say_tool(self, key: int, id: str, kind: str) -> None:
        self.stream.tool(key, id, f"look_{key}", kind)
        if key not in self.pieces:
            self.pieces[key] = []
            self.stream.tool_json(key, "{")

    def say_piece(self, key: int) -> None:
        if key in self.pieces and key not in self.ended:
            self.count += 1
            first = not self.pieces[key]
            self.pieces[key].append(self.count)
            self.stream.tool_json(key, f'{"" if first else ","}"{self.count}"')
            self.stream.tool_json(key, f":{key}")

    def say_tool_end(self, key: int) -> None:
        self.close(key)
        self.stream.tool_end(key)

    def close(self, key: int) -> None:
        if key in self.pieces and key not in self.ended:
            self.ended.add(key)
            self.stream.tool_json(key, "}")

    def finish(self) -> bytes:
        for key in self.pieces:
            self.close(key)
        self.stream.finish()
        self.say_take()
        return self.out


def blocks(message: Json, kind: str) -> list[Json]:
    content = message["content"]
    assert isinstance(content, list)
    return [block for block in content if block["type"] == kind]


def stream_of(**options: object) -> MessageStream:
    return MessageStream("msg_1", "model-x", **options)  # type: ignore[arg-type]  # as the test names them


@settings(max_examples=300)
@given(st.lists(CALLS, max_size=40), st.booleans())
def test_whatever_is_said_makes_a_valid_stream_that_holds_all_of_it(calls: list[Call], show_thinking: bool) -> None:
    heard = Heard(stream_of(show_thinking=show_thinking))
    for call in calls:
        heard.say(call)
    read = grammar.check(heard.finish(), error=None)
    assert (read.error is None) == heard.stopped
    if read.error is not None:
        return
    message = read.message
    assert "".join(str(block["text"]) for block in blocks(message, "text")) == heard.text
    thought = "".join(str(block["thinking"]) for block in blocks(message, "thinking"))
    assert thought == (heard.thinking if show_thinking else "")
    signatures = [block["signature"] for block in blocks(message, "thinking")]
    assert [each for each in signatures if each != blobs.UNSIGNED] == heard.signatures
    content = message["content"]
    assert isinstance(content, list)
    made = [(block["name"], block["input"]) for block in content if block["type"] in ("tool_use", "server_tool_use")]
    said = [(f"look_{key}", {str(count): key for count in counts}) for key, counts in heard.pieces.items()]
    assert made == said


@given(st.lists(CALLS, max_size=30))
def test_when_events_are_taken_changes_nothing(calls: list[Call]) -> None:
    eager, late = Heard(stream_of()), Heard(stream_of())
    for call in calls:
        if call[0] != "take":
            eager.say(call)
            eager.say_take()
            late.say(call)
    assert eager.finish() == late.finish()


@settings(max_examples=300)
@given(st.lists(CALLS, max_size=40), st.sampled_from(["", '{"b": "\\u00e9"}', "[1]", '{"cut": "o']))
def test_the_message_is_what_its_events_are_joined_to(calls: list[Call], written: str) -> None:
    heard = Heard(stream_of())
    for call in calls:
        if call[0] != "take":
            heard.say(call)
    heard.stream.usage.cache_creation_5m_tokens = 3  # the usage at the end has fields that the one at the start had not
    heard.stream.service_tier = "priority"
    heard.stream.tool("last", "", "last")
    heard.stream.tool_json("last", written)
    for key in heard.pieces:
        heard.close(key)
    heard.stream.finish()
    if heard.stopped:
        message = heard.stream.message()
        assert message == whole.join(heard.stream.take())
    else:
        with pytest.raises(StreamError, match="before the answer was complete"):
            heard.stream.message()


def test_the_message_of_a_stream_that_failed_is_its_error() -> None:
    stream = stream_of()
    stream.text("a")
    stream.fail("overloaded_error", "too much")
    with pytest.raises(StreamError, match="too much") as caught:
        stream.message()
    assert caught.value.type == "overloaded_error"


@given(st.lists(CALLS, max_size=20), st.lists(CALLS, max_size=5))
def test_after_the_end_there_is_nothing(calls: list[Call], more: list[Call]) -> None:
    heard = Heard(stream_of())
    for call in calls:
        heard.say(call)
    heard.finish()
    assert heard.stream.ended
    for name, values in more:
        if name not in ("take", "piece", "tool"):
            getattr(heard.stream, name)(*values)
    heard.stream.finish()
    heard.stream.fail("api_error", "too late")
    assert heard.stream.take() == b""


@given(st.lists(CALLS, max_size=20))
def test_a_failure_at_any_moment_is_one_error_and_the_end(calls: list[Call]) -> None:
    heard = Heard(stream_of())
    for call in calls:
        heard.say(call)
    heard.stream.fail("overloaded_error", "Overloaded")
    body = heard.out + heard.stream.take()
    assert grammar.check(body, error=True).error == {"type": "overloaded_error", "message": "Overloaded"}


def test_what_follows_of_the_same_kind_goes_into_the_same_block() -> None:
    stream = stream_of()
    for piece in ("a", "", "b"):
        stream.thinking(piece)
    stream.signature("s")
    for piece in ("c", "", "d"):
        stream.text(piece)
    stream.end_block()
    stream.text("e")
    stream.stop("end_turn")
    stream.finish()
    assert grammar.check(stream.take()).message["content"] == [
        {"type": "thinking", "thinking": "ab", "signature": "s"},
        {"type": "text", "text": "cd"},
        {"type": "text", "text": "e"},
    ]


def test_every_call_has_an_id_and_no_two_the_same() -> None:
    stream = stream_of()
    for key, id in enumerate(["call_1", "call_1", "", "", "call_1"]):
        stream.tool(key, id, "look")
    stream.stop("tool_use")
    stream.finish()
    ids = [block["id"] for block in blocks(grammar.check(stream.take()).message, "tool_use")]
    assert len(set(ids)) == 5
    assert ids[0] == "call_1"
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", str(id)) for id in ids)


def test_interleaved_calls_come_out_one_after_another_and_the_open_one_live() -> None:
    stream = stream_of()
    stream.tool(0, "call_0", "look")
    stream.tool_json(0, '{"a"')
    stream.take()
    stream.tool(1, "call_1", "look")
    stream.tool_json(1, '{"b"')
    stream.text("and")
    assert stream.take() == b""
    stream.tool_json(0, ":0}")
    assert b"input_json_delta" in stream.take()
    stream.tool_json(1, ":1}")
    stream.tool_end(0)
    assert b"call_1" in stream.take()
    stream.stop("end_turn")
    stream.finish()
    assert b'"text":"and"' in stream.take()


@given(
    st.lists(st.text("aEND ", max_size=3), max_size=12), st.lists(st.sampled_from(["text", "thinking"]), min_size=12)
)
def test_text_ends_before_a_sequence_that_the_gateway_watches_for(pieces: list[str], kinds: list[str]) -> None:
    stream = stream_of(stop_sequences=["END", "aa"])
    blocks_said: list[str] = [""]
    for piece, kind in zip(pieces, kinds, strict=False):
        if kind == "thinking":
            stream.thinking("t")
            blocks_said.append("")
        else:
            stream.text(piece)
            blocks_said[-1] += piece
    stream.stop("max_tokens")
    stream.finish()
    message = grammar.check(stream.take()).message
    expected = ""
    for said in blocks_said:
        ends = {sequence: said.find(sequence) + len(sequence) for sequence in ("END", "aa") if sequence in said}
        if ends:
            matched = min(ends, key=lambda sequence: ends[sequence])
            expected += said[: ends[matched] - len(matched)]
            assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", matched)
            break
        expected += said
    else:
        assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)
    assert "".join(str(block["text"]) for block in blocks(message, "text")) == expected


def test_after_a_watched_sequence_nothing_comes_but_the_end() -> None:
    stream = stream_of(stop_sequences=["STOP"])
    stream.text("one ST")
    stream.text("OP two")
    stream.text("three")
    stream.thinking("four")
    stream.citation(CITATION)
    stream.tool("k", "call", "f")
    stream.tool_json("k", "{}")
    stream.tool_end("k")
    stream.usage.output_tokens = 9
    stream.stop("tool_use")
    stream.finish()
    message = grammar.check(stream.take()).message
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")
    usage = message["usage"]
    assert isinstance(usage, dict) and usage["output_tokens"] == 9


def test_a_watched_sequence_in_text_that_waited_for_a_tool_call_ends_the_answer_there() -> None:
    stream = stream_of(stop_sequences=["STOP"])
    stream.tool(0, "call_0", "f")
    stream.text("a STOP b")
    stream.tool(1, "call_1", "f")
    stream.stop("tool_use")
    stream.finish()
    message = grammar.check(stream.take()).message
    content = message["content"]
    assert isinstance(content, list)
    assert [block.get("id") or block.get("text") for block in content] == ["call_0", "a "]
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)


def test_what_was_the_beginning_of_a_sequence_only_goes_before_what_follows() -> None:
    stream = stream_of(stop_sequences=["STOP"])
    stream.thinking("t")
    stream.text("ST")
    stream.tool(0, "call_0", "f")
    stream.stop("tool_use")
    stream.finish()
    message = grammar.check(stream.take()).message
    content = message["content"]
    assert isinstance(content, list)
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use"]


def test_thinking_that_no_one_signed_says_so_in_its_signature() -> None:
    stream = stream_of()
    stream.thinking("hm")
    stream.text("yes")
    stream.stop("end_turn")
    stream.finish()
    assert grammar.check(stream.take()).message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": blobs.UNSIGNED},
        {"type": "text", "text": "yes"},
    ]


def test_the_first_event_holds_both_counts_and_the_last_one_the_final_ones() -> None:
    stream = stream_of()
    stream.usage.input_tokens = 3
    stream.start()
    stream.start()
    first = json.loads(stream.take().split(b"data: ")[1])["message"]
    assert first["usage"] == {
        "input_tokens": 3,
        "output_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens_details": {"thinking_tokens": 0},
    }
    assert (first["id"], first["model"], first["content"], first["stop_reason"]) == ("msg_1", "model-x", [], None)
    stream.usage.output_tokens = 7
    stream.usage.thinking_tokens = 4
    stream.service_tier = "priority"
    stream.stop("end_turn")
    stream.finish()
    last = json.loads(stream.take().split(b"\n")[1].removeprefix(b"data: "))["usage"]
    assert (last["input_tokens"], last["output_tokens"], last["output_tokens_details"]) == (
        3,
        7,
        {"thinking_tokens": 4},
    )
    assert last["service_tier"] == "priority"


@pytest.mark.parametrize(
    ("said", "tools", "told"),
    [
        ("end_turn", 1, "tool_use"),
        ("stop_sequence", 1, "tool_use"),
        ("tool_use", 1, "tool_use"),
        ("tool_use", 0, "end_turn"),
        ("max_tokens", 1, "max_tokens"),
        ("refusal", 1, "refusal"),
        ("end_turn", 0, "end_turn"),
        ("pause_turn", 0, "pause_turn"),
    ],
)
def test_the_stop_reason_is_one_that_agents_can_rely_on(said: str, tools: int, told: str) -> None:
    assert stop_reason(said, tools) == told  # type: ignore[arg-type]  # the literals above


def test_a_server_tool_call_is_nothing_that_the_client_has_to_do() -> None:
    stream = stream_of()
    stream.tool(0, "srvtoolu_1", "web_search", "server_tool_use")
    stream.tool_end(0)
    stream.stop("end_turn")
    stream.finish()
    assert grammar.check(stream.take()).message["stop_reason"] == "end_turn"


def test_a_piece_of_a_call_that_never_began_is_the_providers_fault() -> None:
    with pytest.raises(StreamError):
        stream_of().tool_json("nobody", "{}")


def test_what_is_held_back_is_bounded() -> None:
    stream = stream_of()
    stream.tool(0, "call_0", "f")
    stream.tool(1, "call_1", "f")
    half = "x" * (MAX_HELD // 2)
    stream.tool_json(1, half)
    stream.text(half)
    with pytest.raises(StreamError):
        stream.tool_json(1, "x")
