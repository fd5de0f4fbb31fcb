"""Which requests read a file of the Files API: exact about where the API reads it, whatever the spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.dialects.file_refs import may_name, names

SOURCE = {"type": "file", "file_id": "file_1"}


def reads(body: bytes) -> bool:
    return may_name(body) and names(body)


def message(*blocks: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": [*blocks]}], **fields}).encode()


READS: list[bytes] = [
    message({"type": "document", "source": SOURCE}),
    message({"type": "image", "source": SOURCE}),
    message({"type": "container_upload", "file_id": "file_1"}),
    message({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": SOURCE}]}),
    message({"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": SOURCE}]}}),
    message(system=[{"type": "text", "text": "x", "source": SOURCE}]),
    message([[[[{"file_id": None}]]]]),
    message({"type": "document", "input": {"file_id": "a"}, "source": SOURCE}),
    message({"type": "document", "source": SOURCE, "input": {"file_id": "a"}}),
    b'{"messages":[{"source":{"type":"file","file\\u005fid":"f"}}]}',
    b'{"messages":[{"source":{"\\u0066\\u0069\\u006C\\u0065\\u005F\\u0069\\u0064" : "f"}}]}',
    b'{"messages":[{"source":{"file_id"\n:"f"}}]}',
    b'{"source":{"type":"file","file_id":"f"},"source":{"type":"url"}}',
    b'{"content":[{"type":"file","type":"code_execution_output","file_id":"f"}]}',
    b'{"content":[{"file_id":"f","type":"code_execution_output","type":"file"}]}',
    b'{"a":{"input":{},"b":{"file_id":"f"}}}',
    b'{"input":"{","file_id":"f"}',
    b'{"input":"\\"}","x":[{"file_id":"f"}]}',
    b'{"type":"tool_use","file_id":"f"',
]
READS_NONE: list[bytes] = [
    message({"type": "text", "text": 'a "file_id": "x" in a text, "file_id"'}),
    message({"type": "text", "text": "file_id"}),
    message({"type": "tool_use", "id": "t", "name": "open", "input": {"file_id": "drive-1", "deep": [{"file_id": 1}]}}),
    message(tools=[{"name": "open", "input_schema": {"properties": {"file_id": {"type": "string"}}}}]),
    message(output_config={"format": {"type": "json_schema", "schema": {"properties": {"file_id": {}}}}}),
    message({"type": "code_execution_result", "content": [{"type": "code_execution_output", "file_id": "f"}]}),
    message({"type": "bash_result", "content": [{"file_id": "f", "type": "bash_code_execution_output"}]}),
    message({"type": "text", "text": "\\u0066ile_id"}),
    message({"file_ids": 1, "my_file_id": 2}),
    b"{}",
    b"[]",
    b'"file_id"',
]


@pytest.mark.parametrize("body", READS)
def test_a_file_is_named(body: bytes) -> None:
    assert reads(body)


@pytest.mark.parametrize("body", READS_NONE)
def test_no_file_is_named(body: bytes) -> None:
    assert not reads(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "input", "schema", "type", "file_id", 'q"}']), inner, max_size=4)
    ),
    max_leaves=20,
)


def walked(value: Any) -> bool:
    """The same, of a body as it was decoded."""
    if isinstance(value, list):
        return any(map(walked, value))
    if not isinstance(value, dict):
        return False
    inner = [
        walked(each)
        for name, each in value.items()
        if name not in ("input", "schema", "input_schema") or not isinstance(each, dict | list)
    ]
    own = "file_id" in value and not str(value.get("type", "")).endswith("_output")
    return own or any(inner)


@given(JSON, st.booleans())
@example([{"input": None}, {"file_id": "file_1"}], False)
@example([{"input": "x"}, {"file_id": "file_1"}], False)
def test_it_is_what_a_walk_over_the_decoded_body_finds(value: Any, ascii: bool) -> None:
    body = json.dumps({"x": value}, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    assert reads(body) == walked({"x": value})


@pytest.mark.parametrize(
    "body",
    [
        b'"' * 200_001 + b'"file_id"',
        b'{"file_id":"' + b"\\" * 200_001,
        b"[" * 200_000 + b'{"file_id"',
        b'{"a":"' + b"x" * 200_000 + b'"file_id"',
    ],
    ids=["quotes", "backslashes", "brackets", "text"],
)
def test_hostile_bodies_take_one_pass(body: bytes) -> None:
    assert names(body) in (True, False)
