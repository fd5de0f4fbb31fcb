"""A Message from events and events from a Message: there and back, valid on the way, as the official SDK sees it."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.dialects import sse, whole
from tests import grammar

Json = dict[str, Any]

# Messages

text = st.text(st.characters(codec="utf-8"), max_size=20)
some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
objects = st.dictionaries(some_text, values, max_size=4)
citation = st.fixed_dictionaries(
    {
        "type": st.just("char_location"),
        "cited_text": some_text,
        "document_index": st.integers(0, 9),
        "document_title": st.none() | some_text,
        "start_char_index": st.integers(0, 99),
        "end_char_index": st.integers(100, 199),
    }
)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


blocks = st.one_of(
    block("text", text=text),
    block("text", text=text, citations=st.none() | st.lists(citation, max_size=3)),
    block("thinking", thinking=text, signature=some_text),
    block("redacted_thinking", data=some_text),
    block("server_tool_use", name=st.just("web_search"), input=objects),
    block("web_search_tool_result", tool_use_id=st.just("srvtoolu_1"), content=st.just([])),
    block("tool_use", name=some_text, input=objects),
)


MORE: list[Json] = [{}, {"stop_details": None}, {"a field of the future": [1]}]


@st.composite
def messages(draw: st.DrawFn) -> Json:
    content = draw(st.lists(blocks, max_size=4))
    for number, item in enumerate(content):
        if item["type"].endswith("tool_use"):
            item["id"] = f"toolu_{number}"
    calls = any(item["type"] == "tool_use" for item in content)
    reason = "tool_use" if calls else draw(st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "refusal"]))
    tokens = st.integers(0, 10**9)
    usage = {"input_tokens": draw(tokens), "output_tokens": draw(tokens)}
    if draw(st.booleans()):
        usage |= {"cache_creation_input_tokens": draw(tokens), "cache_read_input_tokens": draw(tokens)}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": draw(some_text),
        "content": content,
        "stop_reason": reason,
        "stop_sequence": draw(some_text) if reason == "stop_sequence" else None,
        "usage": usage,
        **draw(st.sampled_from(MORE)),
    }


@given(messages())
def test_a_message_comes_back_from_its_events(message: Json) -> None:
    stream = whole.events(json.dumps(message).encode())
    assert json.loads(whole.join(stream)) == message


@given(messages())
def test_the_events_of_a_message_are_a_valid_stream_of_it(message: Json) -> None:
    checked = grammar.check(whole.events(json.dumps(message).encode()))
    assert checked.message == message


# Streams as a provider sends them: every block in pieces


def pieces(value: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(value)), max_size=4)))
    return [value[start:end] for start, end in zip([0, *cuts], [*cuts, len(value)], strict=True)]


def event(kind: str, **fields: object) -> bytes:
    return sse.encode(kind.encode(), json.dumps({"type": kind, **fields}).encode())


def streamed(item: Json, index: int, data: st.DataObject) -> list[bytes]:
    start = dict(item)
    deltas: list[Json] = []
    match item["type"]:
        case "text":
            start["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(item["text"], data)]
            if item.get("citations"):
                start["citations"] = []
                deltas += [{"type": "citations_delta", "citation": cited} for cited in item["citations"]]
        case "thinking":
            start |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(item["thinking"], data)]
            deltas.append({"type": "signature_delta", "signature": item["signature"]})
        case "tool_use" | "server_tool_use":
            start["input"] = {}
            if item["input"] or data.draw(st.booleans()):  # a call without arguments may have no delta at all
                spelled = json.dumps(item["input"], ensure_ascii=data.draw(st.booleans()))
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(spelled, data)]
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def stream_of(message: Json, data: st.DataObject) -> bytes:
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": min(1, usage["output_tokens"])}
    final = usage if data.draw(st.booleans()) else {"output_tokens": usage["output_tokens"], "input_tokens": None}
    said = [event("message_start", message=start), event("ping")]
    for index, item in enumerate(message["content"]):
        said += streamed(item, index, data)
    said.append(event("novelty", about="the future"))
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence")}
    said += [event("message_delta", delta=delta, usage=final), event("message_stop")]
    return b": a comment\n\n".join(said)


class Sdk:
    """The official client, and the stream that it is answered with."""

    def __init__(self) -> None:
        self.stream = b""
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer))
        self._client = Anthropic(api_key="none", base_url="http://sdk.test", http_client=http, max_retries=0)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=self.stream)

    def accumulated(self, stream: bytes) -> Json:
        self.stream = stream
        with self._client.messages.stream(model="m", max_tokens=1, messages=[]) as events:
            made: Json = events.get_final_message().to_dict()
        return made


sdk = Sdk()


def said(value: object) -> object:
    """Without what is null, which the SDK's models cannot tell from what is missing."""
    if isinstance(value, dict):
        return {name: said(inner) for name, inner in value.items() if inner is not None and name != "parsed_output"}
    return [said(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=60)
@given(messages(), st.data())
def test_a_joined_stream_is_what_the_official_sdk_makes_of_it(message: Json, data: st.DataObject) -> None:
    stream = stream_of(message, data)
    joined = json.loads(whole.join(stream))
    assert said(joined) == said(message)
    assert said(joined) == said(sdk.accumulated(stream))


@settings(max_examples=60)
@given(messages())
def test_the_official_sdk_reads_a_message_from_its_events(message: Json) -> None:
    assert said(sdk.accumulated(whole.events(json.dumps(message).encode()))) == said(message)


def test_the_container_and_the_edits_of_the_context_are_taken_from_the_last_delta() -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    stream = (
        event("message_start", message={**message, "container": {"id": "c0"}})
        + event(
            "message_delta",
            delta={"stop_reason": "end_turn", "container": {"id": "c1"}},
            usage={"output_tokens": 4, "server_tool_use": {"web_search_requests": 2}},
            context_management={"applied_edits": []},
        )
        + event("message_stop")
    )
    joined = json.loads(whole.join(stream))
    assert joined["container"] == {"id": "c1"}
    assert joined["context_management"] == {"applied_edits": []}
    assert joined["usage"] == {"output_tokens": 4, "server_tool_use": {"web_search_requests": 2}}


def test_a_compaction_is_joined_from_its_delta() -> None:
    stream = (
        event("message_start", message={"content": [], "usage": {}})
        + event("content_block_start", index=0, content_block={"type": "compaction", "content": None})
        + event("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "so far"})
        + event("content_block_stop", index=0)
        + event("message_stop")
    )
    assert json.loads(whole.join(stream))["content"] == [{"type": "compaction", "content": "so far"}]


# What makes no Message

START = event("message_start", message={"content": [], "usage": {}})


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        START,
        event("message_stop"),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        START + event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        START + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}),
        START + event("content_block_stop", index=0),
        START + b"event: message_stop\ndata: {\n\n",
        START + b"event: message_stop\ndata: []\n\n",
        START + event("message_delta", delta=None, usage={}),
        event("message_start", message=None) + event("message_stop"),
        b'event: message_start\ndata: {"message": {}}\n\n',
    ],
)
def test_events_that_make_no_message_are_refused(stream: bytes) -> None:
    with pytest.raises(whole.JoinError):
        whole.join(stream)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"content": 1, "usage": {"output_tokens": 1}}'),
        *(b'{"content": [], "usage": 7}', b'{"content": [1], "usage": {"output_tokens": 1}}'),
        *(b'{"content": [{}], "usage": {"output_tokens": 1}}', b'{"content": [], "usage": {"output_tokens": "1"}}'),
        b'{"content": [{"type": "tool_use"}], "usage": {"output_tokens": 1}}',
        b'{"content": [{"type": "text", "text": "x", "citations": 7}], "usage": {"output_tokens": 1}}',
        b'{"content": [{"type": 7}], "usage": {"output_tokens": 1}, "id": "\xff"}',
    ],
)
def test_what_is_no_message_has_no_events(body: bytes) -> None:
    with pytest.raises(whole.JoinError):
        whole.events(body)


@pytest.mark.parametrize("usage", [b"", b', "usage": null', b', "usage": {}'])
def test_a_message_without_counts_has_events_with_zeros(usage: bytes) -> None:
    stream = whole.events(b'{"type": "message", "id": "msg_1", "content": [], "stop_reason": "end_turn"%b}' % usage)
    assert json.loads(whole.join(stream))["usage"] == {"input_tokens": 0, "output_tokens": 0}


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_nonsense_is_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(whole.JoinError):
        whole.events(body)
    with pytest.raises(whole.JoinError):
        whole.join(sse.encode(b"message_start", body))
