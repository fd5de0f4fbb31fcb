"""Every golden file of tests/wire/gemini, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from anthropic.types import Message

from asbru.dialects import messages
from asbru.dialects.codec import Context
from asbru.dialects.gemini import CODEC
from asbru.dialects.losses import FIELDS, Losses
from asbru.dialects.message_stream import StreamError
from tests import grammar
from tests.dialects.gemini.goldens import FILES, Json, compact, context, load, message, stream


def encoded(golden: Json) -> tuple[Context, Json, Losses, str]:
    of, losses = context(golden), Losses(CODEC.fidelity)
    counts = "upstream_count" in golden
    request = messages.parse(compact(golden["messages_request"]), counting=counts)
    sent = CODEC.encode_count(request, of, losses) if counts else CODEC.encode(request, of, losses)
    return of, json.loads(sent.body), losses, sent.target.decode()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_request(path: Path) -> None:
    golden = load(path)
    _, body, losses, target = encoded(golden)
    assert body == golden["upstream_request"]
    assert target == golden["upstream_target"]
    assert losses.header() == golden["losses"]


@pytest.mark.parametrize(
    "path", [path for path in FILES if "upstream_response" in load(path)], ids=lambda path: path.stem
)
def test_answer(path: Path) -> None:
    golden = load(path)
    of, body = encoded(golden)[0], compact(golden["upstream_response"])
    if "messages_error" in golden:
        with pytest.raises(StreamError) as raised:
            message(body, of)
        assert {"type": raised.value.type, "message": raised.value.message} == golden["messages_error"]
    else:
        found = message(body, of)
        assert found == golden["messages_response"]
        Message.model_validate(found)


@pytest.mark.parametrize(
    "path", [path for path in FILES if "upstream_stream" in load(path)], ids=lambda path: path.stem
)
def test_stream(path: Path) -> None:
    golden = load(path)
    body = stream([golden["upstream_stream"].encode()], encoded(golden)[0])
    read = grammar.check(body, error=None)
    assert read.events == golden["messages_stream_events"]
    if read.error is None:
        Message.model_validate(read.message)


def test_counts() -> None:
    for path in FILES:
        golden = load(path)
        if "upstream_count" in golden:
            assert CODEC.decode_count(compact(golden["upstream_count"])) == golden["input_tokens"]
    with pytest.raises(StreamError):
        CODEC.decode_count(b"{}")


def test_every_field_has_a_row() -> None:
    assert set(CODEC.fidelity) == set(FIELDS)
    assert all(row.note for row in CODEC.fidelity.values())
