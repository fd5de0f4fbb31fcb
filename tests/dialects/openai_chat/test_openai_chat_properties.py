"""openai-chat under strange weather: any bytes, any shapes, any split; real clients' requests; a conversation's way
there and back again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import messages, whole
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import StreamError
from asbru.dialects.names import own_id
from asbru.dialects.openai_chat import CODEC
from tests import grammar
from tests.dialects import golden

Json = dict[str, Any]
CAPTURES = Path(__file__).resolve().parent.parent.parent / "captures"
REASONING_FIELDS = [None, "reasoning_content", "reasoning", "reasoning_details", "thinking"]


def context(**given: Any) -> Context:
    return Context(provider="p", model="gpt-upstream", shown_model="shown", message_id="msg_1", **given)


def sse(chunks: list[Json]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


# Nonsense

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, good, st.none(), JUNK)


TEXTS = st.text('ab{}":', max_size=4)
FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": mostly(st.sampled_from(["look", "", "find"])), "arguments": mostly(TEXTS)}
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "index": mostly(st.integers(0, 2)),
        "id": mostly(st.sampled_from(["call_1", "call_2", "", "odd id"])),
        "function": mostly(FUNCTIONS),
    },
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": mostly(TEXTS),
        "reasoning": mostly(TEXTS),
        "reasoning_details": mostly(
            st.lists(st.fixed_dictionaries({"type": st.just("reasoning.text"), "text": TEXTS}), max_size=2)
        ),
        "refusal": st.none() | TEXTS,
        "tool_calls": mostly(st.lists(CALLS, max_size=2)),
    },
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {"delta": DELTAS},
                optional={
                    "index": st.integers(0, 1),
                    "finish_reason": mostly(st.sampled_from(["stop", "length", "tool_calls"])),
                },
            ),
            max_size=2,
        ),
        "usage": mostly(
            st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), st.integers(-1, 10**30))
        ),
    },
)


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_end_in_an_error_or_an_answer(pieces: list[bytes]) -> None:
    grammar.check(golden.streamed(CODEC, context(), pieces), error=None)
    with suppress(StreamError):
        CODEC.decode(b"".join(pieces), context())


@given(st.lists(CHUNKS, max_size=6), st.sampled_from(REASONING_FIELDS), st.booleans())
def test_any_chunks_end_in_an_error_or_an_answer(chunks: list[Json], field: str | None, show: bool) -> None:
    spoken = context(quirks=Quirks(reasoning_field=field), show_thinking=show)
    grammar.check(golden.streamed(CODEC, spoken, [sse(chunks)]), error=None, inputs=False)


@given(CHUNKS)
def test_any_answer_is_one_or_nonsense(chunk: Json) -> None:
    for choice in chunk.get("choices", []):
        choice["message"] = choice.pop("delta")
    try:
        body = CODEC.decode(json.dumps(chunk).encode(), context()).take()
    except StreamError:
        return
    grammar.check(body)
    whole.join(body)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{}]}', b"[" * 100_000, b'{"a":"\xff"}']
)
def test_an_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(StreamError, match="not a chat completion"):
        CODEC.decode(body, context())


def test_numbers_beyond_64_bits_go_both_ways() -> None:
    number = 10**30
    answer = {
        "choices": [
            {"message": {"tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": f'{{"n":{number}}}'}}]}}
        ]
    }
    message = json.loads(CODEC.decode(json.dumps(answer).encode(), context()).message())
    assert message["content"][0]["input"] == {"n": number}
    request = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "assistant", "content": message["content"]}, RESULT],
    }
    sent = CODEC.encode(messages.parse(json.dumps(request).encode()), context(), Losses(CODEC.fidelity))
    assert json.loads(json.loads(sent.body)["messages"][0]["tool_calls"][0]["function"]["arguments"]) == {"n": number}


RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]}


# The same content, whole and streamed

ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": st.text(max_size=6),
        "content": st.text(max_size=6),
        "tool_calls": st.lists(
            st.dictionaries(st.text('ab"\\é', max_size=3), st.text(max_size=3), max_size=2), min_size=1, max_size=3
        ),
    },
)


@given(ANSWERS, st.booleans(), st.sampled_from(REASONING_FIELDS), st.data())
def test_a_stream_joined_is_the_whole_answer(answer: Json, show: bool, field: str | None, data: st.DataObject) -> None:
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": "look", "arguments": json.dumps(input)}}
        for index, input in enumerate(answer.pop("tool_calls", []))
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    chunks: list[Json] = []
    for name, text in sorted(answer.items(), reverse=True):  # reasoning comes first
        cut = data.draw(st.integers(0, len(text)))
        chunks += [{"choices": [{"delta": {name: part}}]} for part in (text[:cut], text[cut:])]
    later: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]  # type: ignore[index]  # a dict, as just made
        cut = data.draw(st.integers(0, len(arguments)))
        begin = {**call, "index": index, "function": {"name": "look", "arguments": arguments[:cut]}}
        chunks.append({"choices": [{"delta": {"tool_calls": [begin]}}]})
        later.append(
            {"choices": [{"delta": {"tool_calls": [{"index": index, "function": {"arguments": arguments[cut:]}}]}}]}
        )
    chunks += data.draw(st.permutations(later))
    spoken = context(quirks=Quirks(reasoning_field=field), show_thinking=show)
    body = golden.streamed(CODEC, spoken, [sse([*chunks, end, {"choices": [], "usage": usage}])])
    grammar.check(body)
    message = {"role": "assistant", **answer, "tool_calls": calls}
    plain = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    assert json.loads(whole.join(body)) == json.loads(CODEC.decode(json.dumps(plain).encode(), spoken).message())


# There and back again


@pytest.mark.parametrize(
    "path",
    [path for path in golden.files("openai-chat") if golden.load(path).messages_response],
    ids=lambda path: path.stem,
)
def test_an_answer_goes_back_as_it_came(path: Path) -> None:
    case = golden.load(path)
    _, before, _ = golden.encoded(CODEC, case)
    content = golden.answered(CODEC, before, case)["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "r"}
        for block in content
        if block["type"] == "tool_use"
    ]
    if not content or before.structured_tool:
        return
    turns = [
        {"role": "assistant", "content": content},
        {"role": "user", "content": [*results, {"type": "text", "text": "Go on"}]},
    ]
    case.messages_request["messages"] += turns
    sent, _, _ = golden.encoded(CODEC, case)
    assert case.upstream_response is not None
    came = case.upstream_response["choices"][0]["message"]
    ours = next(
        turn
        for turn in reversed(json.loads(sent.body)["messages"])
        if turn["role"] == "assistant" and turn["content"] != "Done."
    )
    names = [call["function"]["name"] for call in came.get("tool_calls") or []]
    assert [call["function"]["name"] for call in ours.get("tool_calls", [])] == names or came.get("function_call")
    for call, block in zip(ours.get("tool_calls", []), results, strict=True):
        assert any(message.get("tool_call_id") == call["id"] for message in json.loads(sent.body)["messages"])
        own = own_id(block["tool_use_id"], before.provider) or block["tool_use_id"]
        assert call["id"] == own or "tool_id_pattern" in case.context["quirks"]
    field = case.context.get("quirks", {}).get("reasoning_field")
    if field == "thinking":
        assert ours["content"] == came["content"]
    elif field is not None:
        assert ours[field] == came[field]


# Real clients


def refused(request: Json, quirks: Quirks) -> str | None:
    """The path of what the host cannot do, read off the client's request."""
    for name in ("thread", "safeguards", "mcp_servers"):
        if request.get(name):
            return name
    for index, tool in enumerate(request.get("tools", [])):
        if str(tool.get("type")).startswith("web_search") and not quirks.web_search:
            return f"tools.{index}"
    for index, turn in enumerate(request["messages"]):
        for position, block in enumerate(turn["content"] if isinstance(turn["content"], list) else []):
            if block["type"] == "document" and block["source"]["type"] == "base64" and not quirks.files:
                return f"messages.{index}.content.{position}"
    return None


def captured(path: Path) -> bytes | None:
    capture = json.loads(path.read_text())
    body = capture.get("body_raw")
    if not body or capture["method"] != "POST" or capture["path"].split("?")[0] != "/v1/messages":
        return None
    return str(body).encode()


REQUESTS = [path for path in sorted(CAPTURES.glob("*.json")) if captured(path) is not None]


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "quirks", [Quirks(), Quirks(mid_system=False, files=True, web_search=True, tool_id_pattern="^[a-zA-Z0-9]{9}$")]
)
def test_what_real_clients_send_can_be_said(path: Path, quirks: Quirks) -> None:
    body = captured(path)
    assert body is not None
    spoken = context(quirks=quirks, facts=Model(max_output_tokens=8192))
    losses = Losses(CODEC.fidelity)
    try:
        sent = json.loads(CODEC.encode(messages.parse(body), spoken, losses).body)
    except LossyError as error:
        assert error.path == refused(json.loads(body), quirks)
        return
    assert refused(json.loads(body), quirks) is None
    check_order(sent["messages"])
    assert b"x-anthropic-billing-header" not in json.dumps(sent).encode()
    assert all(call["type"] == "function" for call in sent.get("tools", []))


def check_order(turns: list[Json]) -> None:
    """Each call has its result directly behind it, and no result is without its call."""
    open_calls: list[str] = []
    for turn in turns:
        assert turn["role"] in ("system", "user", "assistant", "tool")
        if turn["role"] == "tool":
            assert turn["tool_call_id"] in open_calls
            open_calls.remove(turn["tool_call_id"])
        else:
            assert not open_calls, "a call without its result"
            open_calls = [call["id"] for call in turn.get("tool_calls", [])]
