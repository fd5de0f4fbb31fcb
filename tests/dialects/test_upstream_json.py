"""The tolerant reader: halves of characters never end an answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.message_stream import MessageStream
from asbru.dialects.upstream_json import ArgumentPieces, Reader, join_halves, mend_json, read_any
from asbru.dialects.whole import join, tool_input


class Piece(msgspec.Struct):
    content: str | None = None
    id: str | None = None


def test_a_half_at_the_edge_of_a_piece_is_kept_and_others_are_replaced() -> None:
    found = Reader(Piece)(rb'{"content":"\ude00a\ud83db\ud83d","id":"x\ud83d"}')
    assert (found.content, found.id) == ("\ude00a\ufffdb\ud83d", "x\ufffd")
    assert Reader(dict, in_pieces=False)(rb'{"text":"a\ud83d"}') == {"text": "a\ufffd"}
    assert read_any(b'{"text":"a\xed\xa0\xbd"}') == {"text": "a\ud83d"}
    assert read_any(b'{"text":"a\xff"}') == {"text": "a\ufffd"}


@pytest.mark.parametrize("broken", [b"", b"{", b'{"content":"\\ud83d"', b'{"content":1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_document_is_still_refused(broken: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeError, RecursionError)):
        Reader(Piece)(broken)


def _read(piece: str) -> str:
    text: str = read_any(json.dumps({"text": piece}).encode())["text"]
    return text


def _made(stream: MessageStream) -> Any:
    stream.stop("end_turn")
    stream.finish()
    return json.loads(stream.message())


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=12), st.data())
def test_text_in_pieces_is_the_text_in_whole_characters(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    stream = MessageStream("msg_1", "m")
    piece = ""
    for half in halves:
        piece += half
        if data.draw(st.booleans()):
            stream.text(_read(piece))
            piece = ""
    stream.text(_read(piece))
    content = _made(stream)["content"]
    assert "".join(block["text"] for block in content) == join_halves(text)


def test_half_a_character_is_said_before_the_next_block() -> None:
    stream = MessageStream("msg_1", "m")
    stream.thinking("a\ud83d")
    stream.text("b\ud83d")
    stream.tool("k", "t1", "f")
    stream.tool_json("k", "{}")
    blocks = _made(stream)["content"]
    assert [blocks[0]["thinking"], blocks[1]["text"], blocks[2]["type"]] == ["a\ufffd", "b\ufffd", "tool_use"]


@given(
    st.dictionaries(st.text(max_size=5), st.text(alphabet=st.sampled_from('a"\\\n😀é\ud83d\ude00'), max_size=8)),
    st.booleans(),
    st.data(),
)
def test_arguments_in_pieces_are_the_arguments_mended(value: dict[str, str], ascii: bool, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    pieces, made = ArgumentPieces(), ""
    at = 0
    while at < len(text):
        step = data.draw(st.integers(1, 9))
        made += pieces.feed(text[at : at + step])
        at += step
    made += pieces.end()
    made.encode()
    assert made == mend_json(text)
    mended = {join_halves(key): join_halves(each) for key, each in value.items()}
    assert json.loads(made) == mended
    assert msgspec.json.decode(made) == mended


def test_a_lone_half_does_not_make_the_input_invalid() -> None:
    assert bytes(tool_input('{"a":"\\ud83d"}')) == b'{"a":"\\ufffd"}'  # type: ignore[arg-type]
    assert bytes(tool_input('{"a":"\\\\ud83d"}')) == b'{"a":"\\\\ud83d"}'  # type: ignore[arg-type]


def test_a_relayed_stream_with_halves_is_joined() -> None:
    start = {"id": "m", "type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\ud83d"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\ude00\ud83d"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    assert json.loads(join(stream))["content"] == [{"type": "text", "text": "😀\ufffd"}]
