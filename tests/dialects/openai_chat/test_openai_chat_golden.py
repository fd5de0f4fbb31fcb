"""openai-chat against its golden files (tests/wire/openai-chat; see `tests.dialects.golden`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import whole
from asbru.dialects.openai_chat import CODEC
from tests import grammar
from tests.dialects import golden

FILES = golden.files("openai-chat")
STREAMS = [path for path in FILES if golden.load(path).upstream_stream is not None]
PATH = "/v1/chat/completions"


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", FILES, ids=named)
def test_the_request(path: Path) -> None:
    case = golden.load(path)
    sent, _, losses = golden.encoded(CODEC, case)
    assert json.loads(sent.body) == case.upstream_request
    assert sent.target.decode() == (case.upstream_target or PATH)
    assert losses.header() == case.losses


@pytest.mark.parametrize("path", [path for path in FILES if golden.load(path).upstream_response], ids=named)
def test_the_answer(path: Path) -> None:
    case = golden.load(path)
    _, context, _ = golden.encoded(CODEC, case)
    grammar.check(CODEC.decode(json.dumps(case.upstream_response).encode(), context).take())
    assert golden.answered(CODEC, context, case) == case.messages_response


@pytest.mark.parametrize("path", STREAMS, ids=named)
def test_the_stream(path: Path) -> None:
    case = golden.load(path)
    assert case.upstream_stream is not None and case.messages_stream_events is not None
    _, context, _ = golden.encoded(CODEC, case)
    body = golden.streamed(CODEC, context, [case.upstream_stream.encode()])
    ends_in_error = case.messages_stream_events[-1]["type"] == "error"
    read = grammar.check(body, error=ends_in_error, inputs=path.stem[3:] not in NO_JSON)
    assert read.events == case.messages_stream_events


NO_JSON = {"length-within-a-call", "call-that-is-no-json"}


@pytest.mark.parametrize("path", [path for path in STREAMS if golden.load(path).upstream_response], ids=named)
def test_the_stream_joined_is_the_answer(path: Path) -> None:
    case = golden.load(path)
    assert case.upstream_stream is not None
    _, context, _ = golden.encoded(CODEC, case)
    body = golden.streamed(CODEC, context, [case.upstream_stream.encode()])
    assert json.loads(whole.join(body)) == case.messages_response


@given(st.sampled_from(STREAMS), st.data())
def test_any_split_gives_the_same_events(path: Path, data: st.DataObject) -> None:
    case = golden.load(path)
    assert case.upstream_stream is not None
    _, context, _ = golden.encoded(CODEC, case)
    body = case.upstream_stream.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert golden.streamed(CODEC, context, pieces) == golden.streamed(CODEC, context, [body])


@pytest.mark.parametrize("path", STREAMS, ids=named)
def test_byte_by_byte_gives_the_same_events(path: Path) -> None:
    case = golden.load(path)
    assert case.upstream_stream is not None
    _, context, _ = golden.encoded(CODEC, case)
    body = case.upstream_stream.encode()
    assert golden.streamed(CODEC, context, [bytes([each]) for each in body]) == golden.streamed(CODEC, context, [body])
