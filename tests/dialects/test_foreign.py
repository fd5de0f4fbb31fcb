"""What another provider's answers left in a conversation does not reach Anthropic; nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import blobs, splice
from asbru.dialects.foreign import without_sealed

Json = dict[str, Any]

SEALED = blobs.seal("openai", "gpt-5.6", {"reasoning": {"id": "rs_1"}})
OWN: Json = {"type": "thinking", "thinking": "a", "signature": "ErUBCkYIBxgC"}
FOREIGN: Json = {"type": "thinking", "thinking": "b", "signature": SEALED}
TEXT: Json = {"type": "text", "text": "Hi"}


def search(id: str, mark: str) -> list[Json]:
    page = {"type": "web_search_result", "url": "https://example.com", "title": "t", "encrypted_content": mark}
    return [
        {"type": "server_tool_use", "id": id, "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": id, "content": [page]},
    ]


def cited(*marks: str) -> Json:
    kind = "web_search_result_location"
    return {**TEXT, "citations": [{"type": kind, "url": "u", "encrypted_index": mark} for mark in marks]}


def left(*content: Json) -> list[list[Json]]:
    """The contents of the messages that are left."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": list(content)}]
    body = json.loads(without_sealed(json.dumps({"model": "m", "messages": turns}).encode()))
    return [turn["content"] for turn in body["messages"][1:]]


def test_a_body_without_the_mark_is_the_same_object() -> None:
    body = json.dumps({"messages": [{"role": "assistant", "content": [OWN, *search("srvtoolu_1", "Eqgf")]}]}).encode()
    assert without_sealed(body) is body


def test_bytes_of_other_messages_stay_as_they_are() -> None:
    before, after = b'{"role" : "user","content":"1.0"}', b'{"role":"user", "content":[]}'
    sealed = json.dumps({"role": "assistant", "content": [FOREIGN, TEXT]}).encode()
    body = b'{ "messages":[%b,%b,%b], "model":"m" }' % (before, sealed, after)
    plain = without_sealed(body)
    assert before in plain and after in plain and plain.endswith(b'], "model":"m" }')


def test_reasoning_of_others_goes_and_anthropics_stays() -> None:
    redacted = {"type": "redacted_thinking", "data": SEALED}
    assert left(OWN, FOREIGN, redacted, {**FOREIGN, "signature": blobs.UNSIGNED}, TEXT) == [[OWN, TEXT]]


def test_integers_of_any_size_stay() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 2**70}}
    assert left(FOREIGN, call) == [[call]]


def test_a_message_of_nothing_else_goes_as_a_whole() -> None:
    assert left(FOREIGN) == []


def test_searches_of_others_go_with_their_results_and_anthropics_stay() -> None:
    own = search("srvtoolu_1", "Eqgf")
    assert left(*search("srvtoolu_ws_2", blobs.UNSIGNED), *own, TEXT) == [[*own, TEXT]]


@pytest.mark.parametrize(
    ("marks", "kept"),
    [((blobs.UNSIGNED,), TEXT), (("Eo8B", blobs.UNSIGNED), cited("Eo8B"))],
)
def test_citations_of_others_go_and_their_text_stays(marks: tuple[str, ...], kept: Json) -> None:
    assert left(cited(*marks)) == [[kept]]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "web_search_tool_result", "tool_use_id": ["asbru1."], "content": {"error": "asbru1."}},
        {"type": "text", "text": "asbru1.", "citations": "asbru1."},
        {"type": "thinking", "signature": ["asbru1."]},
    ],
)
def test_odd_blocks_that_hold_the_mark_are_left_alone(block: Json) -> None:
    assert left(block) == [[block]]


@pytest.mark.parametrize("content", ["asbru1.", ["asbru1."], None])
def test_content_of_any_shape_is_left_alone(content: object) -> None:
    body = json.dumps({"messages": [{"role": "assistant", "content": content, "note": "asbru1."}]}).encode()
    assert json.loads(without_sealed(body)) == json.loads(body)


def test_messages_that_are_none_are_an_error() -> None:
    with pytest.raises(splice.SpliceError):
        without_sealed(b'{"messages":"asbru1."}')
