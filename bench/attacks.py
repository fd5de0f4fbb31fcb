"""Bodies that cost a gateway far more than their bytes: each kind as large as the gateway takes (32 MiB) or allows.

Those called "allowed" stay within the gateway's own limits, so that all of the work is done; the others go beyond one.
"""

from __future__ import annotations

import json
from collections.abc import Callable

SIZE_BYTES = 33_000_000
"""A little less than the largest body, 32 MiB."""


def _with(model: str, **members: bytes) -> bytes:
    """A request with these raw members in place of the plain ones."""
    plain = {
        "model": json.dumps(model).encode(),
        "max_tokens": b"16",
        "stream": b"true",
        "messages": b'[{"role":"user","content":"hi"}]',
    }
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in {**plain, **members}.items())


def _list(item: bytes, count: int) -> bytes:
    return b"[" + b",".join([item] * count) + b"]"


def _numbered(item: bytes, count: int) -> bytes:
    return b"[" + b",".join(item % number for number in range(count)) + b"]"


def _text(unit: bytes) -> bytes:
    return b'[{"role":"user","content":"%b"}]' % (unit * (SIZE_BYTES // len(unit)))


def _turn(content: bytes) -> bytes:
    return b'[{"role":"user","content":%b}]' % content


def _schema(depth: int) -> bytes:
    return b'{"type":"object","properties":{"a":' * depth + b'{"type":"string"}' + b"}}" * depth


def _tool(schema: bytes) -> bytes:
    return b'{"name":"t%%d","input_schema":%b}' % schema


def _wide(properties: int) -> bytes:
    inside = b",".join(b'"p%d":{"type":"string"}' % number for number in range(properties))
    return b'{"type":"object","properties":{%b}}' % inside


def _called(count: int) -> bytes:
    inputs = b",".join(b'"k%d":%d' % (number, number) for number in range(count))
    call = b'{"type":"tool_use","id":"toolu_1","name":"t","input":{%b}}' % inputs
    result = b'{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}'
    return b'[{"role":"user","content":"hi"},{"role":"assistant","content":[%b]},{"role":"user","content":[%b]}]' % (
        call,
        result,
    )


_TEXT = b'{"type":"text","text":"a"}'

ATTACKS: dict[str, Callable[[str], bytes]] = {
    "[[[[": lambda model: _with(model)[:-1] + b',"x":' + b"[" * SIZE_BYTES,
    "[[[[]]]]": lambda model: _with(model, x=b"[" * (SIZE_BYTES // 2) + b"]" * (SIZE_BYTES // 2)),
    "{} blocks": lambda model: _with(model, messages=_turn(_list(b"{}", SIZE_BYTES // 3))),
    "text blocks": lambda model: _with(model, messages=_turn(_list(_TEXT, SIZE_BYTES // 27))),
    "1 M members": lambda model: _with(model, **{f"k{number}": b"1" for number in range(1_000_000)}),
    "1 M tools": lambda model: _with(model, tools=_numbered(b'{"name":"t%d"}', 1_000_000)),
    "deep schemas": lambda model: _with(model, tools=_numbered(_tool(_schema(400)), 2000)),
    "escapes": lambda model: _with(model, messages=_text(rb"\n")),
    "escaped letters": lambda model: _with(model, messages=_text(rb"\u00e9")),
    "surrogates": lambda model: _with(model, messages=_text(rb"\ud83d")),
    "one key of escapes": lambda model: b'{"' + rb"\n" * (SIZE_BYTES // 2) + b'":1,' + _with(model)[1:],
    "blanks": lambda model: _with(model, x=b" " * SIZE_BYTES + b"1"),
    "digits": lambda model: _with(model, max_tokens=b"1" * 10_000_000, x=b"1" * 10_000_000),
    "fraction": lambda model: _with(model, temperature=b"0." + b"1" * 10_000_000),
    "100,000 stop sequences": lambda model: _with(model, stop_sequences=_numbered(b'"a%d"', 100_000)),
    "text, allowed": lambda model: _with(model, messages=_text(b"word ")),
    "Chinese, allowed": lambda model: _with(model, messages=_text("字".encode())),
    "escapes, allowed": lambda model: _with(model, messages=_turn(b'"%b"' % (rb"\u00e9" * 3_900_000))),
    "surrogates, allowed": lambda model: _with(model, messages=_turn(b'"%b"' % (rb"\ud83d" * 3_900_000))),
    "blocks, allowed": lambda model: _with(model, messages=_turn(_list(_TEXT, 99_000))),
    "messages, allowed": lambda model: _with(model, messages=_list(b'{"role":"user","content":"a"}', 99_000)),
    "tools, allowed": lambda model: _with(model, tools=_numbered(_tool(_wide(45)), 2000)),
    "deep schemas, allowed": lambda model: _with(model, tools=_numbered(_tool(_schema(45)), 1200)),
    "one wide schema, allowed": lambda model: _with(model, tools=_numbered(_tool(_wide(95_000)), 1)),
    "tool input, allowed": lambda model: _with(model, messages=_called(190_000)),
    "128 KiB of blocks": lambda model: _with(model, messages=_turn(_list(_TEXT, 4800))),
    "128 KiB of tools": lambda model: _with(model, tools=_numbered(_tool(b"{}"), 1999)),
}
