"""Watch: every byte comes out, in whole events; what is noted is what the stream said, however it was cut."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.dialects import watch
from asbru.dialects.watch import ErrorFacts, Watch, error_facts, message_facts, plain_message_facts
from asbru.record import Iteration, Usage


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def start(usage: object = None, **fields: object) -> bytes:
    message = {"id": "msg_1", "type": "message", "model": "claude-x", "content": [], "usage": usage, **fields}
    return event("message_start", {"type": "message_start", "message": message})


def delta(text: str = "hello") -> bytes:
    inner = {"type": "text_delta", "text": text}
    return event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": inner})


def final(usage: object = None, stop_reason: object = "end_turn") -> bytes:
    return event("message_delta", {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage})


def error(type_: object = "overloaded_error") -> bytes:
    return event("error", {"type": "error", "error": {"type": type_, "message": "Overloaded"}})


PING = event("ping", {"type": "ping"})
BLOCK = event("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}})
STOP = event("message_stop", {"type": "message_stop"})


class State(NamedTuple):
    started: bool = False
    content: bool = False
    complete: bool = False
    message_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: dict[str, int] | None = None
    error: bytes | None = None
    error_type: str | None = None
    early_error: bool = False


def state(seen: Watch) -> State:
    values = {name: getattr(seen, name) for name in State._fields}
    if seen.usage is not None:
        values["usage"] = {name: getattr(seen.usage, name) for name in Usage.__struct_fields__}
    return State(**values)


def watched(*chunks: bytes, hold_limit_bytes: int = watch.DEFAULT_HOLD_LIMIT_BYTES) -> Watch:
    seen = Watch(hold_limit_bytes)
    relayed = [seen.feed(chunk) for chunk in chunks]
    check_relayed(seen, b"".join(relayed) + seen.flush(), b"".join(chunks))
    return seen


def check_relayed(seen: Watch, relayed: bytes, fed: bytes) -> None:
    """All of it is, up to the end of the message; behind that, only line endings."""
    assert fed.startswith(relayed)
    rest = fed[len(relayed) :]
    assert seen.excess == bool(rest)
    assert seen.ended or not rest
    assert not rest.startswith((b"\r", b"\n"))


# --- streams made of known events, so that what must be noted is known without a parser

counts: st.SearchStrategy[object] = st.integers(0, 10**6) | st.sampled_from([None, "7", -1, 1.5, True, 2**70, [], {}])
usages: st.SearchStrategy[object] = st.dictionaries(
    st.sampled_from([*watch._USAGE_FIELDS, "service_tier", "iterations"]), counts, max_size=4
) | st.sampled_from([None, 3, "usage", []])
nested = st.fixed_dictionaries(
    {},
    optional={
        "cache_creation": counts
        | st.dictionaries(
            st.sampled_from(["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "ephemeral_1d"]), counts
        ),
        "output_tokens_details": counts | st.fixed_dictionaries({"thinking_tokens": counts}),
    },
)
texts = st.sampled_from(["", "hello", "an error", "message_start", "event: error\n\n", "ü\r\n\r\n😀", "\ud83d"])
odd = st.none() | st.integers() | st.just("x" * 300) | st.sampled_from(["end_turn", "tool_use", "claude-x"])


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, Any]:
    """One event of an Anthropic stream: its name and its JSON, as they are and as they should not be."""
    name = draw(
        st.sampled_from(["message_start", "ping", "content_block_delta", "message_delta", "message_stop", "error"])
        | st.sampled_from(["content_block_start", "brand_new_event", "message_brand_new"])
    )
    data: dict[str, Any] = {"type": name}
    usage: Any = draw(usages)
    if isinstance(usage, dict):
        usage = {**usage, **draw(nested)}
    if name == "message_start":
        message = {"id": draw(odd), "model": draw(odd), "usage": usage, "content": []}
        data["message"] = draw(st.sampled_from([message, message, message, None, 1]))
    elif name == "message_delta":
        data["delta"] = draw(st.sampled_from([{"stop_reason": draw(odd)}, {}, None]))
        data["usage"] = usage
    elif name == "error":
        inner = {"type": draw(st.sampled_from(["overloaded_error", "api_error", None, 1, "ü"])), "message": "m"}
        data["error"] = draw(st.sampled_from([inner, inner, None, "text"]))
    elif name.startswith("content"):
        data["delta"] = {"text": draw(texts)}
    return name, data


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[str, bytes]]]:
    """The stream event by event, and what each event is: name and data."""
    pieces: list[bytes] = [draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n"]))]
    events: list[tuple[str, bytes]] = []
    for name, payload in draw(st.lists(payloads(), max_size=8)):
        data = json.dumps(payload).encode()
        ending = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"]))
        lines = [b"event: " + name.encode(), b"data: " + data]
        form = draw(st.sampled_from(["usual", "usual", "tight", "reversed", "unnamed", "comment", "split"]))
        if form == "tight":
            lines = [line.replace(b": ", b":", 1) for line in lines]
        elif form == "reversed":
            lines.reverse()
        elif form == "unnamed":
            del lines[0]
        elif form == "comment":
            lines.insert(1, b": error message_stop")
        elif form == "split":
            lines[1:] = [b"data: {", b"data: " + data[1:]]
            data = b"{\n" + data[1:]
        events.append((name, data))
        pieces.append(ending.join([*lines, b"", b""]))
        pieces.append(draw(st.sampled_from([b"", b"", b": keep-alive" + ending * 2, b"event: error" + ending * 2])))
    return pieces, events


def count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= 2**53 else None


def short(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 256 else None


def expected(events: list[tuple[str, bytes]]) -> State:
    """The oracle: what an attentive reader of the whole stream notes."""
    noted: dict[str, Any] = State()._asdict()

    def use(said: object) -> None:
        if not isinstance(said, dict):
            return
        noted["usage"] = usage = dict(noted["usage"] or dict.fromkeys(Usage.__struct_fields__, 0))
        ttl, details = (
            inner if isinstance(inner, dict) else {}
            for inner in (said.get("cache_creation"), said.get("output_tokens_details"))
        )
        found = {name: count(said.get(name)) for name in usage if name.endswith(("input_tokens", "output_tokens"))}
        found["thinking_tokens"] = count(details.get("thinking_tokens"))
        found["cache_creation_5m_tokens"] = count(ttl.get("ephemeral_5m_input_tokens"))
        found["cache_creation_1h_tokens"] = count(ttl.get("ephemeral_1h_input_tokens"))
        usage.update({name: value for name, value in found.items() if value is not None})

    for name, raw in events:
        data = json.loads(raw)
        if noted["complete"] or noted["error"] is not None:
            break
        if name == "message_start":
            noted["started"] = True
            if isinstance(data["message"], dict):
                noted["message_id"] = short(data["message"]["id"])
                noted["model"] = short(data["message"]["model"])
                use(data["message"]["usage"])
        elif name == "error":
            if noted["error"] is None:
                noted["error"] = raw
                noted["error_type"] = short(data["error"].get("type")) if isinstance(data["error"], dict) else None
                noted["early_error"] = not noted["content"]
        elif name != "ping":
            noted["content"] = True
            noted["complete"] = noted["complete"] or name == "message_stop"
            if name == "message_delta":
                noted["stop_reason"] = short((data["delta"] or {}).get("stop_reason")) or noted["stop_reason"]
                use(data["usage"])
    return State(**noted)


def cut(data: st.DataObject, pieces: list[bytes]) -> list[bytes]:
    """The stream in chunks: at the ends of events, or anywhere."""
    if data.draw(st.booleans()):
        return pieces
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def stands_at_a_boundary(relayed: bytes) -> bool:
    """Whether an event that is put behind these bytes is read as one of its own."""
    lines = re.split(rb"\r\n|\n|\r", relayed.removeprefix(b"\xef\xbb\xbf"))
    return lines[-1] == b"" and (len(lines) == 1 or lines[-2] == b"")


@given(streams(), st.data())
def test_any_split_notes_the_same_and_loses_nothing(
    stream: tuple[list[bytes], list[tuple[str, bytes]]], data: st.DataObject
) -> None:
    pieces, events = stream
    tail = data.draw(st.sampled_from([b"", b"event: error", b'event: error\ndata: {"type":"error"}\n', b"\n"]))
    chunks = cut(data, [*pieces, tail])
    seen = Watch()
    relayed = b""
    for chunk in chunks:
        relayed += seen.feed(chunk)
        assert b"".join(chunks).startswith(relayed)
        assert stands_at_a_boundary(relayed)
    check_relayed(seen, relayed + seen.flush(), b"".join(chunks))
    assert seen.flush() == b""
    assert not seen.torn
    assert state(seen) == expected(events)


class PlainWatch(Watch):
    """The oracle of the fast path: the same without it."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        return self._feed(data)


@given(streams(), st.data(), st.sampled_from([10, 100, 10_000]))
def test_the_fast_path_equals_the_plain_one(
    stream: tuple[list[bytes], list[tuple[str, bytes]]], data: st.DataObject, hold_limit_bytes: int
) -> None:
    fast, plain = Watch(hold_limit_bytes), PlainWatch(hold_limit_bytes)
    for chunk in [BLOCK, *cut(data, stream[0])]:
        assert fast.feed(chunk) == plain.feed(chunk)
        assert state(fast) == state(plain)
        assert fast.torn == plain.torn
    assert fast.flush() == plain.flush()


def test_the_fast_path_is_taken() -> None:
    # A content event that is not looked at comes back as the very object that went in, at no look at the rest.
    class NoPlain(Watch):
        __slots__ = ()

        def _feed(self, data: bytes) -> bytes:
            raise AssertionError("the plain path was taken")

    seen = NoPlain()
    Watch._feed(seen, start() + BLOCK)
    chunk = delta() * 3
    assert seen.feed(chunk) is chunk


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n\n", b"\r", b"data: {", PING, STOP, start()])))
@example([b"data: \xff\n\n", b"event: error\ndata: \xff\n\n", b"event: message_start\ndata: []\n\n"])
@example([b"event: message_delta\ndata: " + b"[" * 100_000 + b"\n\n", b"data: " + b"[" * 100_000 + b"\n\n"])
def test_no_bytes_are_too_odd(chunks: list[bytes]) -> None:
    watched(*chunks)


# --- the commit point


def test_a_stream_from_start_to_end() -> None:
    seen = Watch()
    chunk = start({"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 3})
    assert seen.feed(chunk) == chunk
    assert (seen.started, seen.content, seen.message_id, seen.model) == (True, False, "msg_1", "claude-x")
    assert seen.feed(PING + b": comment\n\n" + BLOCK[:10]) == PING + b": comment\n\n"
    assert not seen.content
    assert seen.feed(BLOCK[10:]) == BLOCK
    assert seen.content
    assert seen.feed(final({"output_tokens": 40}) + STOP) == final({"output_tokens": 40}) + STOP
    assert seen.usage == Usage(input_tokens=9, output_tokens=40, cache_read_input_tokens=3)
    assert (seen.stop_reason, seen.complete, seen.error) == ("end_turn", True, None)


@pytest.mark.parametrize("before", [b"", PING, start(), start() + PING + b": comment\r\r"])
def test_an_error_before_content_is_early(before: bytes) -> None:
    for chunks in ([before, error()], [before + error()], [before + error() + BLOCK]):
        seen = watched(*chunks)
        assert seen.early_error
        assert (seen.error_type, seen.error_status) == ("overloaded_error", 529)
        assert json.loads(seen.error or b"")["error"]["message"] == "Overloaded"


@pytest.mark.parametrize("content", [BLOCK, delta(), final(), event("brand_new", {}), b"data: {}\n\n"])
def test_an_error_behind_content_is_late(content: bytes) -> None:
    for chunks in ([start() + content + error()], [start(), content, error()]):
        seen = watched(*chunks)
        assert seen.content
        assert seen.error is not None
        assert not seen.early_error


@pytest.mark.parametrize("end", [STOP, error()])
@pytest.mark.parametrize("behind", [delta(), error(), start(), b": x\n\n", b"data: [DONE]\n\n", b"x"])
def test_nothing_comes_behind_the_end(end: bytes, behind: bytes) -> None:
    before = start() + BLOCK
    for chunks in ([before + end + behind], [before, end, behind], [before + end, b"\n", behind, delta()]):
        seen = Watch()
        relayed = b"".join([seen.feed(chunk) for chunk in chunks]) + seen.flush()
        assert relayed.strip() == (before + end).strip()
        assert seen.excess
        assert (seen.message_id, seen.complete) == ("msg_1", end == STOP)


def test_a_second_message_start_is_relayed() -> None:
    stream = start() + BLOCK + start() + BLOCK + STOP
    assert Watch().feed(stream) == stream


def test_the_first_error_counts() -> None:
    seen = watched(error("rate_limit_error"), BLOCK, error())
    assert (seen.error_type, seen.error_status, seen.early_error) == ("rate_limit_error", 429, True)


@pytest.mark.parametrize("unnamed", [b'data: {"type":"ping"}\n\n', b'data: {"type": "error"}\n\n', b"event: x\n\n"])
def test_what_is_no_content_without_an_event_line(unnamed: bytes) -> None:
    assert not watched(unnamed).content


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("brand_new_error", 500),
        (None, 500),
    ],
)
def test_an_error_has_the_status_of_its_type(type_: str | None, status: int) -> None:
    assert watched(error(type_)).error_status == status
    body = json.dumps({"type": "error", "error": {"type": type_, "message": "m"}, "request_id": "r"}).encode()
    assert error_facts(body) == ErrorFacts(type_, "m")
    assert error_facts(body).status == status


def test_an_unreadable_error_is_an_error() -> None:
    seen = watched(b"event: error\ndata: <html>\n\n")
    assert (seen.error, seen.error_type, seen.error_status, seen.early_error) == (b"<html>", None, 500, True)


def test_a_stream_that_just_ends_is_not_complete() -> None:
    seen = watched(start({"input_tokens": 5, "output_tokens": 1}), BLOCK, delta(), b"event: message_stop\ndata: {}\n")
    assert not seen.complete
    assert seen.usage == Usage(input_tokens=5, output_tokens=1)  # what was seen is settled


# --- money


def test_the_final_usage_replaces_and_does_not_add() -> None:
    first = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "output_tokens": 1,
    }
    last = {
        "input_tokens": 12,
        "cache_read_input_tokens": 7,
        "output_tokens": 99,
        "output_tokens_details": {"thinking_tokens": 60},
    }
    assert watched(start(first), BLOCK, final({"output_tokens": 50}), final(last)).usage == Usage(
        input_tokens=12,
        output_tokens=99,
        cache_creation_input_tokens=30,
        cache_read_input_tokens=7,
        cache_creation_5m_tokens=20,
        cache_creation_1h_tokens=10,
        thinking_tokens=60,
    )


ADVISED = [
    {"type": "message", "input_tokens": 10, "output_tokens": 5},
    {
        "type": "advisor_message",
        "model": "m-big",
        "input_tokens": 7,
        "cache_creation": {"ephemeral_1h_input_tokens": 3},
    },
]
FELL = [
    {"type": "message", "model": "m-1", "input_tokens": 10},
    {"type": "fallback_message", "model": "m-2", "output_tokens": 5},
]


def test_iterations_are_read_with_their_models() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": ADVISED}
    expected = [
        Iteration(type="message", usage=Usage(input_tokens=10, output_tokens=5)),
        Iteration(type="advisor_message", model="m-big", usage=Usage(input_tokens=7, cache_creation_1h_tokens=3)),
    ]
    seen = watched(start({"input_tokens": 10, "iterations": []}), BLOCK, final(usage), STOP)
    assert seen.iterations == expected
    body = json.dumps({"type": "message", "id": "i", "model": "m", "usage": usage}).encode()
    for facts in (message_facts(body), plain_message_facts(body)):
        assert facts is not None
        assert (facts.iterations, facts.model) == (expected, "m")


def test_the_model_of_a_providers_own_fallback_is_the_one_that_answered() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": FELL}
    seen = watched(start({"input_tokens": 10}), BLOCK)
    asked = seen.model
    seen.feed(final(usage))
    assert asked != seen.model == "m-2"
    body = json.dumps({"type": "message", "id": "i", "model": "m-1", "usage": usage}).encode()
    for facts in (message_facts(body), plain_message_facts(body)):
        assert facts is not None
        assert facts.model == "m-2"


@pytest.mark.parametrize("odd", [None, {}, "x", [1], [*ADVISED, None], [{"type": 5}] * 101, [["a"]]])
def test_odd_iterations_are_none(odd: object) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": odd}
    assert watched(start({"input_tokens": 10}), BLOCK, final(usage)).iterations == []
    body = json.dumps({"type": "message", "id": "i", "model": "m", "usage": usage}).encode()
    facts = message_facts(body)
    assert facts == plain_message_facts(body)
    assert facts is not None
    assert (facts.iterations, facts.usage) == ([], Usage(input_tokens=10, output_tokens=5))


@pytest.mark.parametrize("said", [None, [], "many", {}])
def test_a_missing_usage_is_none_or_zero(said: object) -> None:
    assert watched(start(said)).usage == (Usage() if said == {} else None)
    seen = watched(start({"input_tokens": 4}), final(said))
    assert seen.usage == Usage(input_tokens=4)


def test_an_unpaired_surrogate_does_not_lose_the_usage() -> None:
    data = rb'{"type":"message_start","message":{"content":["\ud83d"],"usage":{"input_tokens":4}}}'
    assert watched(b"event: message_start\ndata: " + data + b"\n\n").usage == Usage(input_tokens=4)


# --- events that are too large to hold


def test_a_large_event_is_let_through() -> None:
    seen = Watch(hold_limit_bytes=100)
    assert seen.feed(start() + b"event: big\ndata: ") == start()
    assert not seen.torn
    assert seen.feed(b"x" * 100) == b"event: big\ndata: " + b"x" * 100
    assert seen.torn
    assert seen.content  # the client has a part of it
    assert seen.feed(b"y\n") == b"y\n"
    assert seen.torn
    assert seen.feed(b"\nevent: message_stop\n") == b"\n"
    assert not seen.torn
    assert seen.feed(b"data: {}\n\n") == b"event: message_stop\ndata: {}\n\n"
    assert seen.complete
    assert not seen.torn


def test_what_looks_like_an_event_inside_a_large_one_is_not_seen() -> None:
    seen = watched(b"event: big\ndata: " + b"x" * 50, b"\nevent: error\ndata: {}\n\n", BLOCK, hold_limit_bytes=40)
    assert seen.error is None
    assert not seen.torn


@given(streams(), st.data(), st.integers(0, 60))
def test_a_small_hold_limit_loses_nothing(
    stream: tuple[list[bytes], list[tuple[str, bytes]]], data: st.DataObject, hold_limit_bytes: int
) -> None:
    seen = Watch(hold_limit_bytes)
    fed = relayed = b""
    for chunk in cut(data, stream[0]):
        fed += chunk
        relayed += seen.feed(chunk)
        assert fed.startswith(relayed)
        assert seen.ended or len(fed) - len(relayed) <= hold_limit_bytes
        assert seen.torn or stands_at_a_boundary(relayed)
        assert not seen.torn or fed == relayed
    check_relayed(seen, relayed + seen.flush(), fed)


# --- whole bodies


def test_message_facts() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 2}}
    body = {"id": "msg_1", "type": "message", "model": "m", "stop_reason": "tool_use", "usage": usage, "content": [1]}
    facts = message_facts(json.dumps(body).encode())
    assert facts is not None
    assert (facts.message_id, facts.model, facts.stop_reason) == ("msg_1", "m", "tool_use")
    assert facts.usage == Usage(input_tokens=10, output_tokens=5, cache_creation_1h_tokens=2)


_odd = st.one_of(st.none(), st.integers(-2, 2**60), st.text(max_size=3), st.booleans(), st.lists(st.none(), max_size=1))
_usages = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": _odd,
        "output_tokens": _odd,
        "cache_creation_input_tokens": _odd,
        "cache_read_input_tokens": _odd,
        "cache_creation": st.one_of(_odd, st.dictionaries(st.just("ephemeral_1h_input_tokens"), _odd)),
        "output_tokens_details": st.one_of(_odd, st.dictionaries(st.just("thinking_tokens"), _odd)),
        "iterations": st.one_of(
            _odd, st.lists(st.dictionaries(st.sampled_from(["type", "model", "input_tokens"]), _odd), max_size=2)
        ),
    },
)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["message", "message", "error"])},
        optional={"id": _odd, "model": _odd, "stop_reason": _odd, "usage": st.one_of(_usages, _odd)},
    )
)
def test_the_fast_path_of_message_facts_equals_the_plain_one(body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()
    assert message_facts(raw) == plain_message_facts(raw)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_fast_path_of_message_facts_equals_the_plain_one_where_it_is_taken(
    read: int, hour: int, thought: int
) -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": hour},
        "output_tokens_details": {"thinking_tokens": thought},
        "service_tier": "standard",
    }
    raw = json.dumps(
        {"type": "message", "id": "msg_1", "model": "m", "stop_reason": "end_turn", "usage": usage}
    ).encode()
    assert message_facts(raw) == plain_message_facts(raw)


def test_message_facts_of_odd_bodies() -> None:
    assert message_facts(b'{"type":"message"}') == (None, None, None, None, [])
    odd_body = b'{"type":"message","id":1,"model":null,"stop_reason":[],"usage":{"input_tokens":"1"}}'
    assert message_facts(odd_body) == (Usage(), None, None, None, [])
    surrogate = rb'{"type":"message","content":[{"text":"\ud83d"}],"usage":{"output_tokens":3}}'
    facts = message_facts(surrogate)
    assert facts is not None
    assert facts.usage == Usage(output_tokens=3)
    for body in (
        b"",
        b"[]",
        b"null",
        b"<html>",
        b'{"type":"error"}',
        b'{"type":"message"',
        b"[" * 100_000,
        b'{"id":"\xff"}',
    ):
        assert message_facts(body) is None
    assert message_facts(b'{"type":"message","content":' + b"[" * 100_000) is None


def test_error_facts_of_odd_bodies() -> None:
    for body in (
        b"",
        b"[]",
        b"<html>",
        b'{"error":null}',
        b'{"error":{}}',
        b'{"error":{"type":1,"message":2}}',
        b"\xff",
    ):
        assert error_facts(body) == ErrorFacts(None, None)


@given(st.binary(max_size=60))
def test_facts_never_raise(body: bytes) -> None:
    assert message_facts(body) is None
    assert error_facts(body).status == 500
