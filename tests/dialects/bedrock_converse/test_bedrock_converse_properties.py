"""bedrock-converse under strange weather: any bytes, any shapes, any split; real clients' requests; there and back."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import messages, whole
from asbru.dialects.bedrock_converse import CODEC
from asbru.dialects.codec import Context, Fault
from asbru.dialects.losses import FIELDS, Losses, LossyError
from asbru.dialects.message_stream import StreamError
from tests import grammar
from tests.dialects import bedrock_aws, golden

Json = dict[str, Any]
CAPTURES = sorted((Path(__file__).resolve().parents[2] / "captures").glob("*.json"))
CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-6", "us.amazon.nova-2-lite-v1:0"
MODELS = [CLAUDE, NOVA, "openai.gpt-oss-120b-1:0", "us.openai.gpt-5.6-sol", "meta.llama3-3-70b-instruct-v1:0"]


def context(model: str = CLAUDE, **given: Any) -> Context:
    return Context(provider="p", model=model, shown_model="shown", message_id="msg_1", **given)


def request(**fields: Any) -> messages.Request:
    body = {"model": "shown", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return messages.parse(json.dumps(body).encode())


def test_every_field_has_a_row() -> None:
    assert CODEC.fidelity.keys() == FIELDS.keys()


# Nonsense

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, good, good, st.none(), JUNK)


TEXTS = st.text('ab{}":\u2028é', max_size=4)
INDEX = st.integers(0, 2)
CITATION = st.fixed_dictionaries(
    {},
    optional={
        "title": mostly(TEXTS),
        "sourceContent": mostly(st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=2)),
        "location": mostly(
            st.dictionaries(
                st.sampled_from(["documentChar", "documentPage", "web", "searchResultLocation"]),
                mostly(st.fixed_dictionaries({}, optional={"documentIndex": mostly(INDEX), "start": mostly(INDEX)})),
                max_size=1,
            )
        ),
    },
)
REASONING = st.fixed_dictionaries(
    {},
    optional={
        "text": mostly(TEXTS),
        "signature": mostly(TEXTS),
        "redactedContent": mostly(st.sampled_from(["AAEC", "", "!"])),
    },
)
DELTA = st.one_of(
    st.fixed_dictionaries({"text": mostly(TEXTS)}),
    st.fixed_dictionaries({"toolUse": mostly(st.fixed_dictionaries({"input": mostly(TEXTS)}))}),
    st.fixed_dictionaries({"reasoningContent": mostly(REASONING)}),
    st.fixed_dictionaries({"citation": mostly(CITATION)}),
    st.just({}),
)
TOOL_USE = st.fixed_dictionaries(
    {},
    optional={
        "toolUseId": mostly(st.sampled_from(["t1", "t2", "", "a.b:c"])),
        "name": mostly(st.sampled_from(["look", ""])),
        "type": mostly(st.just("server_tool_use")),
    },
)
START = st.one_of(
    st.fixed_dictionaries({"toolUse": mostly(TOOL_USE)}), st.just({"toolResult": {"toolUseId": "t"}}), st.just({})
)
REASONS = st.sampled_from(["end_turn", "tool_use", "max_tokens", "stop_sequence", "content_filtered", "odd"])
USAGE = st.dictionaries(
    st.sampled_from(["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"]),
    mostly(st.integers(-1, 5)),
)
EVENTS = st.one_of(
    st.just(("messageStart", {"role": "assistant"})),
    st.tuples(st.just("contentBlockStart"), st.fixed_dictionaries({"start": START, "contentBlockIndex": INDEX})),
    st.tuples(st.just("contentBlockDelta"), st.fixed_dictionaries({"delta": DELTA, "contentBlockIndex": INDEX})),
    st.tuples(st.just("contentBlockDelta"), st.fixed_dictionaries({"delta": DELTA, "contentBlockIndex": INDEX})),
    st.tuples(st.just("contentBlockStop"), st.fixed_dictionaries({"contentBlockIndex": INDEX})),
    st.tuples(st.just("messageStop"), st.fixed_dictionaries({"stopReason": mostly(REASONS)})),
    st.tuples(st.just("metadata"), st.fixed_dictionaries({"usage": mostly(USAGE)})),
    st.just(("throttlingException", {"message": "Slow down"})),
    st.just(("ofTomorrow", {"new": 1})),
)


def stream_of(events: list[tuple[str, Any]]) -> bytes:
    return b"".join(bedrock_aws.frame(name, data) for name, data in events)


@given(st.lists(EVENTS, max_size=12), st.booleans(), st.lists(st.floats(0, 1), max_size=5))
def test_any_events_make_a_valid_stream_wherever_they_are_cut(
    events: list[tuple[str, Any]], shown: bool, places: list[float]
) -> None:
    body = stream_of(events)
    cuts = sorted(int(place * len(body)) for place in places)
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    given: Json = {"show_thinking": shown, "stop_sequences": ["b}"]}
    out = golden.streamed(CODEC, context(**given), pieces)
    grammar.check(out, error=None, inputs=False)
    assert out == golden.streamed(CODEC, context(**given), [body])


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_make_an_error(pieces: list[bytes]) -> None:
    grammar.check(golden.streamed(CODEC, context(), pieces), error=True)


@given(st.one_of(st.binary(max_size=60), JUNK.map(lambda junk: json.dumps(junk).encode())))
def test_any_body_is_an_answer_or_an_error(body: bytes) -> None:
    with pytest.raises(StreamError):
        CODEC.decode(body, context())
    with pytest.raises(StreamError):
        CODEC.decode_count(body)


BLOCK = st.one_of(
    st.fixed_dictionaries({"text": mostly(TEXTS)}),
    st.fixed_dictionaries({"toolUse": TOOL_USE.map(lambda tool: {**tool, "input": {"a": 1}})}),
    st.fixed_dictionaries({"reasoningContent": mostly(st.fixed_dictionaries({"reasoningText": mostly(REASONING)}))}),
    st.fixed_dictionaries(
        {
            "citationsContent": st.fixed_dictionaries(
                {"content": st.just([{"text": "x"}]), "citations": st.lists(CITATION)}
            )
        }
    ),
    JUNK,
)


@given(st.lists(BLOCK, max_size=4), mostly(REASONS), mostly(USAGE))
def test_any_content_is_a_message_or_an_error(blocks: list[Any], reason: Any, usage: Any) -> None:
    body = {"output": {"message": {"content": blocks}}, "stopReason": reason, "usage": usage}
    with suppress(StreamError):
        out = CODEC.decode(json.dumps(body).encode(), context()).take()
        grammar.check(out)
        whole.join(out)


@given(st.integers(100, 599), st.dictionaries(st.binary(max_size=8), st.binary(max_size=8)), st.binary(max_size=80))
def test_any_error_is_a_fault(status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    fault = CODEC.fault(status, headers, body)
    assert isinstance(fault, Fault)
    assert fault.status >= 400
    assert fault.type in grammar.ERROR_TYPES
    assert fault.message


# What clients send


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_requests_are_sent_or_refused_by_name(path: Path) -> None:
    capture = json.loads(path.read_text())
    if capture["method"] != "POST" or not capture["path"].startswith("/v1/messages"):
        return
    counting = "count_tokens" in capture["path"]
    for model in MODELS:
        try:
            parsed = messages.parse(capture["body_raw"].encode(), counting=counting)
        except messages.MessagesError:
            assert "batches" in capture["path"]
            return
        losses = Losses(CODEC.fidelity)
        with suppress(LossyError):
            if counting:
                bedrock_aws.check_request(CODEC.encode_count(parsed, context(model), losses))
            else:
                bedrock_aws.check_request(CODEC.encode(parsed, context(model), losses))


def test_real_requests_are_refused_for_what_bedrock_does_not_have() -> None:
    sent = 0
    refused: set[str] = set()
    for path in CAPTURES:
        capture = json.loads(path.read_text())
        if capture["method"] != "POST" or capture["path"].partition("?")[0] != "/v1/messages":
            continue
        try:
            CODEC.encode(messages.parse(capture["body_raw"].encode()), context(), Losses(CODEC.fidelity))
            sent += 1
        except LossyError as error:
            refused.add(error.message.partition(": ")[2])
    assert sent > 50
    assert refused == {
        "Message threads are not supported for this model",
        "Remote MCP servers are not supported for this model",
        "Safeguards are not supported for this model",
        "Web search is not supported for this model",
        "Images by URL are not supported for this model; send them as base64",
    }


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("path", golden.files("bedrock-converse"), ids=lambda path: path.stem)
def test_every_golden_request_is_one_that_botocore_sends_to_every_model(path: Path, model: str) -> None:
    case = golden.load(path)
    with suppress(LossyError):
        made = messages.parse(json.dumps(case.messages_request).encode())
        bedrock_aws.check_request(CODEC.encode(made, context(model), Losses(CODEC.fidelity)))


# There and back again


@pytest.mark.parametrize("shown", [True, False])
def test_what_the_model_said_goes_back_as_it_was(shown: bool) -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Let me think.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "AAEC"}},
        {"text": "I look."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"at": [1, {"x": "é"}]}}},
        {"toolUse": {"toolUseId": "tooluse_2", "name": "look", "input": {}}},
    ]
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use"}
    message = json.loads(CODEC.decode(json.dumps(body).encode(), context(show_thinking=shown)).message())
    results = [{"type": "tool_result", "tool_use_id": f"tooluse_{number}", "content": "x"} for number in (1, 2)]
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": message["content"]}]
    again = request(messages=[*turns, {"role": "user", "content": results}])
    losses = Losses(CODEC.fidelity)
    sent = json.loads(CODEC.encode(again, context(), losses).body)
    assert sent["messages"][1] == {"role": "assistant", "content": content}
    assert losses.header() == "approximated: tool_use"  # the tools were not sent again


def test_reasoning_goes_back_to_its_own_provider_only() -> None:
    content = [{"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}, {"text": "Yes."}]
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    message = json.loads(CODEC.decode(json.dumps(body).encode(), context()).message())
    other = Context(provider="q", model=CLAUDE, shown_model="shown", message_id="msg_1")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": message["content"]}]
    losses = Losses(CODEC.fidelity)
    sent = json.loads(CODEC.encode(request(messages=[*turns, {"role": "user", "content": "So?"}]), other, losses).body)
    assert sent["messages"][1]["content"] == [{"text": "Yes."}]
    assert losses.header() == "dropped: messages.1.content.0"


def test_names_and_titles_come_back() -> None:
    long = "n" * 100
    used = context()
    document = {
        "type": "document",
        "title": "Mine",
        "source": {"type": "text", "data": "x", "media_type": "text/plain"},
    }
    turn = {"role": "user", "content": [document, {"type": "text", "text": "?"}]}
    sent = CODEC.encode(
        request(tools=[{"name": long, "input_schema": {}}], messages=[turn]), used, Losses(CODEC.fidelity)
    )
    name = json.loads(sent.body)["toolConfig"]["tools"][0]["toolSpec"]["name"]
    citation = {"title": "Document 1", "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 1}}}
    content = [
        {"citationsContent": {"content": [{"text": "y"}], "citations": [citation]}},
        {"toolUse": {"toolUseId": "t", "name": name, "input": {}}},
    ]
    body = {"output": {"message": {"content": content}}, "stopReason": "tool_use"}
    message = json.loads(CODEC.decode(json.dumps(body).encode(), used).message())
    assert message["content"][0]["citations"][0]["document_title"] == "Mine"
    assert message["content"][1]["name"] == long
