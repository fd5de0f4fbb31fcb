"""What holds for every answer: how it is cut makes no difference, nonsense is refused and never crashes, an answer that
streams and one that comes whole are the same Message, and what Gemini said goes back to it as it was said.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.dialects import messages
from asbru.dialects.blobs import UNSIGNED
from asbru.dialects.gemini import CODEC
from asbru.dialects.gemini.state import SKIP_VALIDATION
from asbru.dialects.gemini.tools import _plain, schema
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import StreamError
from tests import grammar
from tests.dialects.gemini.goldens import FILES, Json, compact, context, load, message, stream

GOLDEN: Json = {"context": {"model": "gemini-3-flash-preview"}}
STREAMS = [golden["upstream_stream"].encode() for golden in map(load, FILES) if "upstream_stream" in golden]
WHOLES = [compact(golden["upstream_response"]) for golden in map(load, FILES) if "upstream_response" in golden]

# Counts that fall are nonsense too, but of a kind that is passed on: what was said last is what is billed.
COUNTLESS = [re.sub(rb'"usageMetadata":\{[^}]*\}', b'"usageMetadata":{}', body) for body in STREAMS]

WORDS = st.text('ab "\\\né😀\u2028', min_size=1, max_size=6)
SIGNATURE = st.sampled_from(["c2ln", "AY89a19Ysn==", "EmcKZQERTTIP"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def signed(part: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.tuples(part, st.booleans(), SIGNATURE).map(
        lambda drawn: {**drawn[0], "thoughtSignature": drawn[2]} if drawn[1] else drawn[0]
    )


THOUGHTS = WORDS.map(lambda text: {"text": text, "thought": True})
TEXTS = signed(WORDS.map(lambda text: {"text": text}))
CALLS = signed(
    st.tuples(st.sampled_from(["look", "get_weather"]), st.dictionaries(WORDS, VALUES, max_size=3)).map(
        lambda drawn: {"functionCall": {"name": drawn[0], "args": drawn[1]}}
    )
)
RUNS = signed(WORDS.map(lambda code: {"executableCode": {"language": "PYTHON", "code": code}}))
RESULTS = signed(WORDS.map(lambda out: {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": out}}))
SEARCHES = signed(
    WORDS.map(lambda query: {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": [query]}}})
)


def with_ids(parts: list[Json]) -> list[Json]:
    """Calls with ids of their own, as Gemini 3 has them."""
    return [
        {**part, "functionCall": {**part["functionCall"], "id": f"id{index}"}} if "functionCall" in part else part
        for index, part in enumerate(parts)
    ]


def apart(parts: list[Json]) -> list[Json]:
    """Without texts that follow one another, which are one text to the client."""
    kept: list[Json] = []
    for part in parts:
        is_text = "text" in part and not part.get("thought")
        if not (is_text and kept and "text" in kept[-1] and not kept[-1].get("thought")):
            kept.append(part)
    return kept


PARTS = (
    st.lists(st.one_of(THOUGHTS, TEXTS, CALLS, RUNS, RESULTS, SEARCHES), min_size=1, max_size=8)
    .map(with_ids)
    .map(apart)
)
REASONS = st.sampled_from(
    ["STOP", "MAX_TOKENS", "SAFETY", "FINISH_REASON_UNSPECIFIED", "MALFORMED_FUNCTION_CALL", "NEW"]
)


def answer(parts: list[Json], reason: str | None, output_tokens: int = 5) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": output_tokens, "cachedContentTokenCount": 4},
    }


def as_events(answers: list[Json]) -> bytes:
    return b"".join(b"data: " + compact(each) + b"\r\n\r\n" for each in answers)


@given(st.sampled_from(STREAMS), st.data())
@settings(max_examples=150)
def test_how_a_stream_is_cut_makes_no_difference(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert stream(pieces, context(GOLDEN)) == stream([body], context(GOLDEN))


def test_byte_by_byte() -> None:
    for body in STREAMS:
        assert stream([bytes([byte]) for byte in body], context(GOLDEN)) == stream([body], context(GOLDEN))


@given(PARTS, REASONS, st.booleans())
@settings(max_examples=200)
def test_whole_and_streamed_are_the_same_message(parts: list[Json], reason: str, one_by_one: bool) -> None:
    groups = [[part] for part in parts] if one_by_one else [parts]
    answers = [answer(group, None, index) for index, group in enumerate(groups)] + [answer([], reason, 9)]
    streamed = grammar.check(stream([as_events(answers)], context(GOLDEN)), error=None)
    try:
        found = message(compact(answer(parts, reason, 9)), context(GOLDEN))
    except StreamError as error:
        assert streamed.error is not None
        assert streamed.error["type"] == error.type
        return
    assert streamed.message == found


@given(PARTS)
@settings(max_examples=200)
def test_what_gemini_said_goes_back_as_it_was(parts: list[Json]) -> None:
    """Thoughts stay behind; ids, names, arguments, code and every signature are where they were."""
    found = message(compact(answer(parts, "STOP")), context(GOLDEN))
    request = {
        "model": "gemini",
        "max_tokens": 16384,
        "messages": [
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": found["content"]},
            {"role": "user", "content": "On."},
        ],
    }
    losses = Losses(CODEC.fidelity)
    body = json.loads(CODEC.encode(messages.parse(compact(request)), context(GOLDEN), losses).body)
    expected = [part for part in parts if not part.get("thought")]
    calls = [part for part in expected if "functionCall" in part]
    if calls:
        calls[0].setdefault("thoughtSignature", SKIP_VALIDATION)
    sent = [content["parts"] for content in body["contents"] if content["role"] == "model"]
    assert sent == ([expected] if expected else [])
    assert not losses.found


@given(st.one_of(st.binary(max_size=200), st.sampled_from(COUNTLESS + WHOLES)), st.data())
@settings(max_examples=300)
def test_nonsense_is_refused_and_never_crashes(body: bytes, data: st.DataObject) -> None:
    broken = bytearray(body)
    for place in data.draw(st.lists(st.integers(0, max(len(body) - 1, 0)), max_size=4)):
        if place < len(broken):
            broken[place] = data.draw(st.integers(0, 255))
    grammar.check(stream([bytes(broken)], context(GOLDEN)), error=None)
    for read in (lambda: CODEC.decode(bytes(broken), context(GOLDEN)), lambda: CODEC.decode_count(bytes(broken))):
        try:
            read()
        except StreamError as error:
            assert error.message
    fault = CODEC.fault(400, {}, bytes(broken))
    assert 400 <= fault.status < 600
    assert fault.message


@given(
    st.recursive(
        st.none() | st.integers() | WORDS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "candidates",
                        "content",
                        "parts",
                        "text",
                        "functionCall",
                        "args",
                        "name",
                        "finishReason",
                        "error",
                        "code",
                        "message",
                        "details",
                        "usageMetadata",
                        "promptTokenCount",
                        "groundingMetadata",
                        "groundingChunks",
                        "web",
                        "uri",
                        "promptFeedback",
                        "blockReason",
                        "thoughtSignature",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=300)
def test_any_json_is_an_answer_or_is_refused(value: Any) -> None:
    grammar.check(stream([b"data: " + compact(value) + b"\n\n"], context(GOLDEN)), error=None)


KEYWORDS = ["const", "$ref", "allOf", "definitions", "$defs", "properties", "items", "anyOf", "type", "description"]


@given(
    st.recursive(
        WORDS | st.integers(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
        max_leaves=10,
    ).filter(lambda value: isinstance(value, dict))
)
@settings(max_examples=300)
def test_the_schema_that_is_not_walked_is_the_one_that_is(value: Json) -> None:
    found = schema(value)
    assert (found if isinstance(found, dict) else json.loads(bytes(found))) == _plain(value, 0)


def test_a_schema_without_bottom() -> None:
    deep: Json = {"const": 1}
    for _ in range(400):
        deep = {"items": deep}
    assert json.dumps(_plain(deep, 0)).count("items") == 400


def test_thinking_is_always_signed_for_its_own_model() -> None:
    """Otherwise the next turn would report it as lost, and be refused under strict."""
    found = message(compact(answer([{"text": "Hm.", "thought": True}, {"text": "Yes."}], "STOP")), context(GOLDEN))
    assert found["content"][0]["signature"] != UNSIGNED


@pytest.mark.parametrize("call", [{"args": {"a": 1}}, {"name": "", "args": {}}, {"name": None}])
def test_a_call_without_a_name_is_an_error(call: Json) -> None:
    said = answer([{"functionCall": call}], "STOP")
    with pytest.raises(StreamError, match="without a name"):
        CODEC.decode(compact(said), context(GOLDEN))
    with pytest.raises(StreamError, match="without a name"):
        CODEC.decoder(context(GOLDEN)).feed(as_events([said]))
