"""What comes from the Responses API beyond the golden files: any order, any bytes, errors, and the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import blobs, messages, whole
from asbru.dialects.codec import Context, Quirks
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import MAX_HELD, StreamError
from asbru.dialects.openai_responses import CODEC
from asbru.dialects.openai_responses import stream as events_of
from tests import grammar
from tests.dialects import golden

Json = dict[str, Any]

CASES = [golden.load(path) for path in golden.files("openai-responses")]
STREAMS = [case.upstream_stream for case in CASES if case.upstream_stream is not None]
ADDED, DONE = "response.output_item.added", "response.output_item.done"
TEXT = "response.output_text.delta"


def context(**more: Any) -> Context:
    return Context(provider="openai", model="gpt-5", shown_model="claude", message_id="msg_1", **more)


def sse(events: list[Json]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def streamed(events: list[Json], where: Context | None = None) -> bytes:
    return golden.streamed(CODEC, where or context(), [sse(events)])


def joined(stream: bytes) -> Json:
    message: Json = json.loads(whole.join(stream))
    return message


def completed(output: list[Json], **more: Any) -> Json:
    return {"type": "response.completed", "response": {"status": "completed", "output": output, **more}}


def message_of(text: str) -> Json:
    return {"type": "message", "id": "msg_a", "content": [{"type": "output_text", "text": text}]}


# Any order: items whose events interleave come out as if they had come one after another

pieces = st.lists(st.text('ab\n"é😀', min_size=1, max_size=4), min_size=1, max_size=4)


@st.composite
def items(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """An output item, and the events between its beginning and its end."""
    kind = draw(st.sampled_from(["message", "reasoning", "function_call", "refusal", "two_parts"]))
    first, second = draw(pieces), draw(pieces)
    if kind == "function_call":
        name, fragments = draw(st.sampled_from(["f", "g"])), ['{"a":', "1", "}"]
        item: Json = {"type": kind, "call_id": draw(st.sampled_from(["call_1", "call_2", "", "fc/1"])), "name": name}
        item["arguments"] = "".join(fragments)
        return item, [{"type": "response.function_call_arguments.delta", "delta": each} for each in fragments]
    if kind == "reasoning":
        encrypted = draw(st.sampled_from(["gAAAA", None]))
        parts = [{"type": "summary_text", "text": "".join(part)} for part in (first, second)]
        item = {"type": kind, "id": "rs_1", "summary": parts, "encrypted_content": encrypted}
        name = "response.reasoning_summary_text.delta"
        return item, [
            {"type": name, "summary_index": index, "delta": each}
            for index, part in enumerate((first, second))
            for each in part
        ]
    if kind == "refusal":
        item = {"type": "message", "content": [{"type": "refusal", "refusal": "".join(first)}]}
        return item, [{"type": "response.refusal.delta", "content_index": 0, "delta": each} for each in first]
    parts_of_text = [first, second] if kind == "two_parts" else [first]
    item = {"type": "message", "content": [{"type": "output_text", "text": "".join(part)} for part in parts_of_text]}
    return item, [
        {"type": TEXT, "content_index": index, "delta": each}
        for index, part in enumerate(parts_of_text)
        for each in part
    ]


@given(st.lists(items(), max_size=5), st.randoms(use_true_random=False))
def test_interleaved_items_make_the_same_message_as_the_whole_answer(drawn: list[Any], chance: Any) -> None:
    output = [item for item, _ in drawn]
    events: list[Json] = []
    waiting: list[list[Json]] = []
    for index, (item, deltas) in enumerate(drawn):
        begun = {"type": ADDED, "item": {**item, "content": [], "summary": [], "arguments": ""}}
        done = {"type": DONE, "item": item}
        events.append({**begun, "output_index": index})  # they begin in their order, as at OpenAI
        waiting.append([{**event, "output_index": index} for event in [*deltas, done]])
        while chance.random() < 0.5 and any(waiting):
            events.append(chance.choice([queue for queue in waiting if queue]).pop(0))
    while any(waiting):
        events.append(chance.choice([queue for queue in waiting if queue]).pop(0))
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 7}
    end = completed(output, usage=usage, service_tier="default")
    stream = streamed([*events, end])
    grammar.check(stream)
    assert joined(stream) == joined(CODEC.decode(json.dumps(end["response"]).encode(), context()).take())


def test_what_is_held_for_an_open_item_is_bounded() -> None:
    decoder = CODEC.decoder(context())
    decoder.feed(sse([{"type": ADDED, "output_index": 0, "item": {"type": "message"}}]))
    piece = sse([{"type": TEXT, "output_index": 1, "delta": "x" * 1_000_000}])
    with pytest.raises(StreamError):
        for _ in range(MAX_HELD // 1_000_000 + 1):
            decoder.feed(piece)


def test_what_was_held_and_told_no_longer_counts() -> None:
    decoder = CODEC.decoder(context())
    for index in range(0, 2 * (MAX_HELD // 1_000_000), 2):
        begun = [{"type": ADDED, "output_index": index, "item": {"type": "message"}}]
        held = [{"type": TEXT, "output_index": index + 1, "delta": "x" * 1_000_000}]
        ends = [{"type": DONE, "output_index": place, "item": {}} for place in (index, index + 1)]
        decoder.feed(sse([*begun, *held, *held, *ends]))
    assert not decoder.stream.ended


def test_items_that_never_end_are_told_at_the_end() -> None:
    begun = [{"type": ADDED, "output_index": index, "item": {"type": "message"}} for index in (0, 1)]
    said = [{"type": TEXT, "output_index": index, "delta": text} for index, text in ((1, "two"), (0, "one"))]
    answer = joined(streamed([*begun, *said, completed([])]))
    assert [block["text"] for block in answer["content"]] == ["one", "two"]


def test_an_item_that_was_never_begun_is_no_part_of_one_that_never_ends() -> None:
    begun = {"type": ADDED, "output_index": 0, "item": {"type": "message"}}
    said = [{"type": TEXT, "output_index": index, "delta": text} for index, text in ((1, "two"), (0, "one"))]
    answer = joined(streamed([begun, *said, completed([])]))
    assert [block["text"] for block in answer["content"]] == ["one", "two"]


# Any bytes


@given(st.sampled_from(STREAMS), st.integers(0), st.binary(max_size=6), st.integers(0, 40))
def test_a_damaged_stream_ends_validly(stream: str, place: int, noise: bytes, dropped: int) -> None:
    data = stream.encode()
    place %= len(data)
    data = data[:place] + noise + data[place + dropped :]
    grammar.check(golden.streamed(CODEC, context(), [data]), error=None, inputs=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                sorted(
                    {
                        "type",
                        "item",
                        "delta",
                        "output",
                        "response",
                        "content",
                        "summary",
                        "action",
                        "arguments",
                        "error",
                        "usage",
                    }
                    | {
                        "output_index",
                        "status",
                        "id",
                        "name",
                        "text",
                        "part",
                        "annotation",
                        "sources",
                        "url",
                        "refusal",
                    }
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
NAMES = st.sampled_from([*events_of._TELL, *events_of._TERMINAL, "error", "response.created", "response.unheard_of"])


@given(st.lists(st.tuples(NAMES, JSON), max_size=6))
def test_events_of_any_shape_end_validly(events: list[tuple[str, Any]]) -> None:
    made = [{**(fields if isinstance(fields, dict) else {"item": fields}), "type": name} for name, fields in events]
    grammar.check(streamed(made), error=None, inputs=False)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_answers_of_any_shape_are_read_or_refused(body: bytes) -> None:
    try:
        grammar.check(CODEC.decode(body, context()).take(), error=None, inputs=False)
    except StreamError as error:
        assert error.message
    try:
        CODEC.decode_count(body)
    except StreamError as error:
        assert error.message
    assert CODEC.fault(500, {}, body).status == 500


def test_nesting_without_end_is_an_error() -> None:
    deep = b'{"action":' * 100_000
    with pytest.raises(StreamError):
        CODEC.decode(deep, context())
    with pytest.raises(StreamError):
        CODEC.decoder(context()).feed(b"data: " + deep + b"\n\n")


def test_events_that_mean_nothing_here_may_have_any_shape() -> None:
    odd = {"type": "response.sculpture.delta", "delta": {"x": 1}, "item": "?", "output_index": "first"}
    answer = joined(streamed([odd, {"type": TEXT, "delta": "Hi"}, completed([])]))
    assert answer["content"] == [{"type": "text", "text": "Hi"}]


# Parts of an answer


def test_each_part_of_a_message_is_a_block() -> None:
    parts = [{"type": "output_text", "text": text} for text in ("one", "two")]
    body = json.dumps({"status": "completed", "output": [{"type": "message", "content": parts}]}).encode()
    assert [block["text"] for block in joined(CODEC.decode(body, context()).take())["content"]] == ["one", "two"]


def test_a_whole_answer_begins_with_its_counts() -> None:
    body = b'{"status":"completed","output":[],"usage":{"input_tokens":12,"output_tokens":4}}'
    begins = grammar.check(CODEC.decode(body, context()).take()).events[0]
    message = begins["message"]
    assert isinstance(message, dict) and message["usage"]["input_tokens"] == 12


def test_thinking_that_is_not_to_be_shown_keeps_its_state() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "secret"}], "encrypted_content": "gAAAA"}
    body = json.dumps({"status": "completed", "output": [item]}).encode()
    answer = joined(CODEC.decode(body, context(show_thinking=False)).take())
    assert answer["content"][0]["thinking"] == ""
    state = blobs.unseal(answer["content"][0]["signature"], "openai", "gpt-5")
    assert state == {"reasoning": {"id": "rs_1", "encrypted_content": "gAAAA", "summary": [6]}}


@pytest.mark.parametrize("more", [{}, {"content": [{"type": "reasoning_text", "text": "Hm, hm"}]}])
def test_reasoning_that_nobody_could_read_again_is_marked_as_such(more: Json) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Hm"}], **more}
    answer = joined(CODEC.decode(json.dumps({"status": "completed", "output": [item]}).encode(), context()).take())
    assert answer["content"] == [{"type": "thinking", "thinking": "Hm", "signature": blobs.UNSIGNED}]


def test_a_tool_without_a_name_is_an_error() -> None:
    call = {"type": "function_call", "call_id": "call_1", "arguments": "{}"}
    with pytest.raises(StreamError):
        CODEC.decode(json.dumps({"status": "completed", "output": [call]}).encode(), context())


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ("failed", {"type": "search", "query": "x", "sources": [{"type": "url", "url": "https://example.com"}]}),
        ("completed", {"type": "search", "query": "x", "sources": []}),
        ("completed", {"type": "find_in_page", "url": "https://example.com", "pattern": "x"}),
    ],
)
def test_a_searchs_other_steps_are_carried_and_not_shown(status: str, action: Json) -> None:
    search: Json = {"type": "web_search_call", "id": "ws_1", "status": status, "action": action}
    stream = CODEC.decode(json.dumps({"status": "completed", "output": [search]}).encode(), context()).take()
    block = joined(stream)["content"][0]
    assert (block["type"], block["thinking"]) == ("thinking", "")
    action.pop("sources", None)
    assert blobs.unseal(block["signature"], "openai", "gpt-5") == {"item": search}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"type": "http_error", "code": 502, "message": "bad gateway"}, "bad gateway"),
        ({"type": "mcp_tool_execution_error", "content": "broken"}, "broken"),
        ({"type": "mcp_protocol_error"}, "The tool failed"),
        ("gone", "gone"),
    ],
)
def test_what_went_wrong_with_an_mcp_tool_is_told(error: object, text: str) -> None:
    call = {"type": "mcp_call", "id": "mcp_1", "name": "t", "server_label": "s", "arguments": "{}", "error": error}
    stream = CODEC.decode(json.dumps({"status": "completed", "output": [call]}).encode(), context()).take()
    result = joined(stream)["content"][1]
    assert (result["is_error"], result["content"]) == (True, [{"type": "text", "text": text}])


@pytest.mark.parametrize(
    ("response", "type", "words"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "Oops"}}, "api_error", "Oops"),
        (
            {"status": "failed", "error": {"code": "invalid_image_url", "message": "No image"}},
            "invalid_request_error",
            "",
        ),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": ""}}, "rate_limit_error", ""),
        ({"status": "failed", "error": {"code": "insufficient_quota", "message": "Pay"}}, "billing_error", "Pay"),
        ({"status": "cancelled"}, "api_error", "cancelled"),
        ({"status": "in_progress", "output": []}, "api_error", "not complete"),
        ({"status": "queued", "output": []}, "api_error", "not complete"),
        ({"error": {"message": "Nope", "type": "invalid_request_error"}}, "invalid_request_error", "Nope"),
        ({}, "api_error", "not a response"),
    ],
)
def test_an_answer_that_is_none_is_an_error(response: Json, type: str, words: str) -> None:
    with pytest.raises(StreamError) as raised:
        CODEC.decode(json.dumps(response).encode(), context())
    assert raised.value.type == type
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (400, {"message": "Invalid 'input'.", "code": "invalid_value"}, (400, "invalid_request_error")),
        (404, {"message": "No such model", "code": "model_not_found"}, (404, "not_found_error")),
        (429, {"message": "Slow down", "code": "rate_limit_exceeded"}, (429, "rate_limit_error")),
        (429, {"message": "No quota", "code": "insufficient_quota"}, (402, "billing_error")),
        (401, {"message": "Incorrect API key provided: sk-abc***xyz"}, (401, "authentication_error")),
        (503, {"message": "Overloaded"}, (529, "overloaded_error")),
    ],
)
def test_errors_have_the_status_of_the_messages_api(status: int, error: Json, fault: tuple[int, str]) -> None:
    found = CODEC.fault(status, {b"retry-after": b"7"}, json.dumps({"error": error}).encode())
    assert (found.status, found.type) == fault
    assert "sk-abc" not in found.message
    assert found.should_retry is (False if fault[0] == 402 else None)


def test_a_prompt_that_does_not_fit_is_said_in_anthropics_words() -> None:
    said = "This model's maximum context length is 128000 tokens, however you requested 130000 tokens"
    body = json.dumps({"error": {"message": said, "code": "context_length_exceeded"}}).encode()
    assert CODEC.fault(400, {}, body).message == "prompt is too long: 130000 tokens > 128000 maximum"


def test_counts() -> None:
    assert CODEC.decode_count(b'{"object":"response.input_tokens","input_tokens":11}') == 11
    with pytest.raises(StreamError):
        CODEC.decode_count(b'{"error":{}}')


# The way back: what the client got, sent with its next turn, is what the provider said


def sent_back(content: list[Json]) -> list[Json]:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    ids = [block["id"] for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": id, "content": "ok"} for id in ids]
    turns.append({"role": "user", "content": [*results, {"type": "text", "text": "Go on"}]})
    request = messages.parse(json.dumps({"model": "claude", "max_tokens": 99, "messages": turns}).encode())
    items: list[Json] = json.loads(CODEC.encode(request, context(), Losses(CODEC.fidelity)).body)["input"]
    return items[1 : -1 - len(ids)]


def test_an_answer_goes_back_as_it_came() -> None:
    output: list[Json] = [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": text} for text in ("One\n\ntwo", "three")],
            "encrypted_content": "gAAAA1",
        },
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "https://example.com"}]},
        },
        {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "u"}},
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "server_label": "docs",
            "name": "search",
            "arguments": '{"q":"x"}',
            "output": "found",
        },
        {
            "type": "message",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "Now I look."}],
        },
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA2"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":[1,2]}'},
        {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}"},
    ]
    body = json.dumps({"status": "completed", "output": output}).encode()
    content = joined(CODEC.decode(body, context()).take())["content"]
    del output[1]["action"]["sources"]
    assert sent_back(content) == output


def test_thinking_that_the_client_changed_goes_back_as_one_part() -> None:
    signature = blobs.seal(
        "openai", "gpt-5", {"reasoning": {"id": "rs_1", "encrypted_content": "g", "summary": [3, 5]}}
    )
    content = [{"type": "thinking", "thinking": "cut", "signature": signature}, {"type": "text", "text": "Hi"}]
    assert sent_back(content)[0]["summary"] == [{"type": "summary_text", "text": "cut"}]


@pytest.mark.parametrize(
    "state",
    [{}, {"reasoning": 1}, {"item": []}, {"phase": 2}, {"reasoning": {"id": "rs_1", "content": [4]}}],
)
def test_a_seal_that_holds_nothing_of_use_is_left_out(state: Json) -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": blobs.seal("openai", "gpt-5", state)}
    plain = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    assert sent_back([thinking, {"type": "text", "text": "Hi"}]) == [plain]


def test_lengths_that_are_none_leave_one_part() -> None:
    signature = blobs.seal("openai", "gpt-5", {"reasoning": {"id": "rs_1", "encrypted_content": "g", "summary": ["x"]}})
    content = [{"type": "thinking", "thinking": "cut", "signature": signature}, {"type": "text", "text": "Hi"}]
    assert sent_back(content)[0]["summary"] == [{"type": "summary_text", "text": "cut"}]


def test_reasoning_of_another_model_stays_behind() -> None:
    state: Json = {"reasoning": {"id": "rs_1", "encrypted_content": "g", "summary": []}}
    plain = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    for model, items in (("gpt-5", ["reasoning", "message"]), ("gpt-5-mini", ["message"])):
        thinking = {"type": "thinking", "thinking": "", "signature": blobs.seal("openai", model, state)}
        back = sent_back([thinking, {"type": "text", "text": "Hi"}])
        assert ([item["type"] for item in back], back[-1]) == (items, plain)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [thinking]}]
    request = messages.parse(json.dumps({"model": "claude", "max_tokens": 99, "messages": turns}).encode())
    losses = Losses(CODEC.fidelity)
    CODEC.encode(request, context(), losses)
    assert losses.header() == "dropped: messages.1.content.0"


def test_searches_of_another_provider_stay_behind() -> None:
    found = {"url": "https://example.com", "title": "t", "encrypted_content": blobs.seal("azure", None, {})}
    use = {"type": "server_tool_use", "id": "srvtoolu_ws_1", "name": "web_search", "input": {"query": "q"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_ws_1", "content": [found]}
    assert [item["type"] for item in sent_back([use, result, {"type": "text", "text": "Hi"}])] == ["message"]


def test_mcp_calls_of_anthropics_get_an_id_that_the_provider_takes() -> None:
    use = {"type": "mcp_tool_use", "id": "mcptoolu_01X", "name": "t", "server_name": "s", "input": {}}
    result = {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_01X", "content": "plain"}
    sent = sent_back([use, result, {"type": "text", "text": "Hi"}])
    assert sent[0]["id"].startswith("mcp_") and sent[0]["output"] == "plain"
    assert sent == sent_back([use, result, {"type": "text", "text": "Hi"}])


# What no delta said


def added(index: int, **item: Any) -> Json:
    return {"type": ADDED, "output_index": index, "item": {"id": f"id_{index}", **item}}


CALL: Json = {"type": "function_call", "call_id": "call_1", "name": "f"}


@pytest.mark.parametrize("said", ["", '{"city":'])
@pytest.mark.parametrize("by", ["event", "item", "response"])
def test_a_call_has_the_input_that_only_its_whole_says(said: str, by: str) -> None:
    whole_call = {**CALL, "id": "id_0", "arguments": '{"city":"Oslo"}'}
    events = [added(0, **CALL, arguments="")]
    if said:
        events.append({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": said})
    if by == "event":
        events.append(
            {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": whole_call["arguments"]}
        )
    elif by == "item":
        events.append({"type": DONE, "output_index": 0, "item": whole_call})
    message = joined(streamed([*events, completed([whole_call] if by == "response" else [])]))
    assert message["content"][0]["input"] == {"city": "Oslo"}


@pytest.mark.parametrize("said", [[], ["Hel"]])
def test_a_text_is_completed_by_its_done_event(said: list[str]) -> None:
    for kind, more in (
        ("response.output_text.done", {"text": "Hello"}),
        ("response.content_part.done", {"part": {"type": "output_text", "text": "Hello"}}),
        (DONE, {"item": {**message_of("Hello"), "id": "id_0"}}),
    ):
        events = [added(0, type="message"), *({"type": TEXT, "output_index": 0, "delta": piece} for piece in said)]
        message = joined(streamed([*events, {"type": kind, "output_index": 0, **more}, completed([])]))
        assert message["content"] == [{"type": "text", "text": "Hello"}]


def test_the_final_response_has_items_that_no_event_told_of() -> None:
    text = [added(0, type="message"), {"type": TEXT, "output_index": 0, "delta": "Hi"}]
    text.append({"type": DONE, "output_index": 0, "item": {**message_of("Hi"), "id": "id_0"}})
    output = [{**message_of("Hi"), "id": "id_0"}, {**CALL, "id": "id_1", "arguments": '{"a":1}'}]
    message = joined(streamed([*text, completed(output)]))
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["stop_reason"] == "tool_use"


def test_a_reasoning_is_completed_by_its_done_event() -> None:
    events = [
        added(0, type="reasoning"),
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "One"},
        {"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": "One."},
        {"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 1, "text": "Two."},
    ]
    message = joined(streamed([*events, completed([])]))
    assert message["content"][0]["thinking"] == "One.\n\nTwo."


def test_an_answer_that_was_cut_and_is_called_completed_is_cut() -> None:
    usage = {"usage": {"input_tokens": 3, "output_tokens": 64}}
    event = completed([message_of("And then")], **usage)
    where = context(quirks=Quirks(completed_when_cut=True), max_output_tokens=64)
    assert joined(streamed([event], where))["stop_reason"] == "max_tokens"
    where = context(quirks=Quirks(completed_when_cut=True), max_output_tokens=65)
    assert joined(streamed([event], where))["stop_reason"] == "end_turn"
    assert joined(streamed([event], context(max_output_tokens=64)))["stop_reason"] == "end_turn"


@pytest.mark.parametrize("frame", [b"data:\n\n", b"data: null\n\n", b"event: heartbeat\ndata: alive\n\n"])
def test_frames_without_meaning_are_passed_over(frame: bytes) -> None:
    body = frame + sse([completed([message_of("Hi")])]) + frame
    assert joined(golden.streamed(CODEC, context(), [body]))["content"] == [{"type": "text", "text": "Hi"}]


def test_half_an_emoji_is_joined_or_replaced() -> None:
    body = rb"""data: {"type":"response.output_text.delta","output_index":0,"delta":"\ud83d"}

data: {"type":"response.output_text.delta","output_index":0,"delta":"\ude00\ud83d"}

data: {"type":"response.completed","response":{"status":"completed","output":[]}}

"""
    assert joined(golden.streamed(CODEC, context(), [body]))["content"] == [{"type": "text", "text": "😀\ufffd"}]
