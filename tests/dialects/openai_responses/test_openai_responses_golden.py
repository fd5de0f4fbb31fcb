"""openai-responses against its golden files (tests/wire/openai-responses; see `tests.dialects.golden`)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import whole
from asbru.dialects.openai_responses import CODEC
from tests import grammar
from tests.dialects import golden

FILES = golden.files("openai-responses")
CASES = {path.stem[3:]: golden.load(path) for path in FILES}
ANSWERED = [name for name, case in CASES.items() if case.upstream_response is not None]
STREAMED = [name for name, case in CASES.items() if case.upstream_stream is not None]
CUT_JSON = {"cut-within-a-call"}


def streamed(case: golden.Golden, cuts: list[int]) -> bytes:
    """The client's bytes for the case's stream, cut there."""
    assert case.upstream_stream is not None
    _, context, _ = golden.encoded(CODEC, case)
    body = case.upstream_stream.encode()
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return golden.streamed(CODEC, context, pieces)


def test_there_are_enough() -> None:
    assert len(FILES) >= 40
    assert len(CASES) == len(FILES)


@pytest.mark.parametrize("name", CASES)
def test_the_request(name: str) -> None:
    case = CASES[name]
    sent, _, losses = golden.encoded(CODEC, case)
    assert json.loads(sent.body) == case.upstream_request
    assert sent.target.decode() == (case.upstream_target or "/v1/responses")
    assert losses.header() == case.losses


@pytest.mark.parametrize("name", ANSWERED)
def test_the_answer(name: str) -> None:
    case = CASES[name]
    _, context, _ = golden.encoded(CODEC, case)
    body = json.dumps(case.upstream_response).encode()
    grammar.check(CODEC.decode(body, context).take(), inputs=name not in CUT_JSON)
    assert golden.answered(CODEC, context, case) == case.messages_response


@pytest.mark.parametrize("name", STREAMED)
def test_the_stream(name: str) -> None:
    case = CASES[name]
    assert case.messages_stream_events is not None
    fails = case.messages_stream_events[-1]["type"] == "error"
    read = grammar.check(streamed(case, []), error=fails, inputs=name not in CUT_JSON)
    assert read.events == case.messages_stream_events


@pytest.mark.parametrize("name", sorted({*ANSWERED} & {*STREAMED}))
def test_the_stream_joined_is_the_answer(name: str) -> None:
    case = CASES[name]
    assert json.loads(whole.join(streamed(case, []))) == case.messages_response


@pytest.mark.parametrize("name", STREAMED)
def test_byte_by_byte_gives_the_same_events(name: str) -> None:
    case = CASES[name]
    assert case.upstream_stream is not None
    assert streamed(case, list(range(1, len(case.upstream_stream.encode())))) == streamed(case, [])


@given(st.sampled_from(STREAMED), st.lists(st.floats(0, 1), max_size=8))
def test_any_split_gives_the_same_events(name: str, places: list[float]) -> None:
    case = CASES[name]
    assert case.upstream_stream is not None
    size = len(case.upstream_stream.encode())
    assert streamed(case, sorted(int(place * size) for place in places)) == streamed(case, [])
