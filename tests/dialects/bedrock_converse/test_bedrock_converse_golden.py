"""bedrock-converse against its golden files (tests/wire/bedrock-converse; see `tests.dialects.golden`), and these
against botocore's own service model. ``upstream_stream`` has a line ``{name: data}`` for every frame.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import whole
from asbru.dialects.bedrock_converse import CODEC
from tests import grammar
from tests.dialects import bedrock_aws, golden

FILES = golden.files("bedrock-converse")
CASES = {path.stem[3:]: golden.load(path) for path in FILES}
ANSWERED = [name for name, case in CASES.items() if case.upstream_response is not None]


def body_of(case: golden.Golden) -> bytes:
    assert case.upstream_stream is not None
    return bedrock_aws.frames(case.upstream_stream)


def streamed(case: golden.Golden, cuts: list[int]) -> bytes:
    """The client's bytes for the case's stream, cut there."""
    _, context, _ = golden.encoded(CODEC, case)
    body = body_of(case)
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return golden.streamed(CODEC, context, pieces)


def test_there_are_enough() -> None:
    assert len(FILES) >= 40
    assert len(CASES) == len(FILES)
    assert all(case.upstream_stream is not None for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_the_request(name: str) -> None:
    case = CASES[name]
    sent, _, losses = golden.encoded(CODEC, case)
    assert json.loads(sent.body) == case.upstream_request
    assert sent.target.decode() == case.upstream_target
    assert losses.header() == case.losses
    stream = case.messages_request.get("stream") is True
    assert sent.accept == (b"application/vnd.amazon.eventstream" if stream else None)


@pytest.mark.parametrize("name", CASES)
def test_botocore_would_send_it(name: str) -> None:
    sent, _, _ = golden.encoded(CODEC, CASES[name])
    bedrock_aws.check_request(sent)


@pytest.mark.parametrize("name", ANSWERED)
def test_the_answer(name: str) -> None:
    case = CASES[name]
    _, context, _ = golden.encoded(CODEC, case)
    grammar.check(CODEC.decode(json.dumps(case.upstream_response).encode(), context).take())
    assert golden.answered(CODEC, context, case) == case.messages_response


@pytest.mark.parametrize("name", ANSWERED)
def test_botocore_reads_the_answer(name: str) -> None:
    case = CASES[name]
    assert case.upstream_response is not None
    read = bedrock_aws.read_answer("Converse", json.dumps(case.upstream_response).encode())
    assert read["stopReason"] == case.upstream_response["stopReason"]
    assert read["usage"] == case.upstream_response["usage"]
    content = case.upstream_response["output"]["message"]["content"]
    assert [list(block) for block in read["output"]["message"]["content"]] == [list(block) for block in content]


@pytest.mark.parametrize("name", CASES)
def test_the_stream(name: str) -> None:
    case = CASES[name]
    assert case.messages_stream_events is not None
    fails = case.messages_stream_events[-1]["type"] == "error"
    assert grammar.check(streamed(case, []), error=fails).events == case.messages_stream_events


@pytest.mark.parametrize("name", CASES)
def test_botocore_reads_the_stream(name: str) -> None:
    case = CASES[name]
    assert case.upstream_stream is not None
    events = bedrock_aws.read_stream("ConverseStream", body_of(case))
    said = [next(iter(json.loads(line))) for line in case.upstream_stream.splitlines()]
    assert len(events) == len(said)
    for event, kind in zip(events, said, strict=True):
        assert kind in event or kind.endswith("Exception")


@pytest.mark.parametrize("name", ANSWERED)
def test_the_stream_joined_is_the_answer(name: str) -> None:
    case = CASES[name]
    assert json.loads(whole.join(streamed(case, []))) == case.messages_response


@pytest.mark.parametrize("name", CASES)
def test_byte_by_byte_gives_the_same_events(name: str) -> None:
    case = CASES[name]
    assert streamed(case, list(range(1, len(body_of(case))))) == streamed(case, [])


@given(st.sampled_from(sorted(CASES)), st.lists(st.floats(0, 1), max_size=8))
def test_any_split_gives_the_same_events(name: str, places: list[float]) -> None:
    case = CASES[name]
    size = len(body_of(case))
    assert streamed(case, sorted(int(place * size) for place in places)) == streamed(case, [])
