"""prepare: the rules of contract/translation.md §8.0, tools apart (`test_prepare_tools`)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import blobs
from asbru.dialects.losses import LossyError
from asbru.dialects.messages import Text, ToolResult, ToolUse, Turn, Unknown
from tests.dialects.preparing import CALL, MARK, PNG, assistant, found, prepared, result, said, system, text, tool, user

Json = dict[str, Any]

# 1, 2: the top level


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"container": "c"}, "container"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management"),
        ({"context_management": {"edits": "?"}}, "context_management"),
        ({"diagnostics": {"previous_message_id": None}}, "diagnostics"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"safeguards": [{"type": "x"}]}, "safeguards"),
        ({"tags": {"a": "b"}}, "tags"),
        ({"billing_policy": {"type": "billing_policy"}}, "billing_policy"),
        ({"fallback_credit_token": "t"}, "fallback_credit_token"),
        ({"fallbacks": [{"model": "x"}]}, "fallbacks.objects"),
        ({"future": 1}, "unknown"),
        ({"speed": "fast"}, "speed"),
        ({"mcp_servers": [{"name": "a"}]}, "mcp_servers"),
        ({"cache_control": MARK}, "cache_control"),
        ({"output_config": {"task_budget": {"total": 1}}}, "output_config.task_budget"),
        ({"top_k": 0}, "top_k"),
        ({"max_tokens": 0}, "max_tokens.0"),
    ],
)
def test_a_field_without_a_place_is_met(fields: Json, field: str) -> None:
    _, _, losses = prepared(**fields)
    assert found(losses) == {field}
    with pytest.raises(LossyError, match="a note"):
        prepared(verdicts={field: "refused"}, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"context_management": {"edits": []}},
        {"tags": {}},
        {"safeguards": []},
        {"speed": "standard"},
        {"diagnostics": None},
        {"output_config": {"effort": "high"}, "temperature": 1, "stop_sequences": ["x"], "metadata": {"user_id": "u"}},
    ],
)
def test_a_field_that_says_nothing_is_no_loss(fields: Json) -> None:
    assert prepared(**fields)[2].header() == "none"


def test_a_thread_is_refused_in_the_words_that_sdks_act_on() -> None:
    with pytest.raises(LossyError) as caught:
        prepared(thread={"type": "continue", "previous_message_id": "msg_0"})
    assert caught.value.details == {"error_code": "thread_unsupported_request"}


# 3: system messages in mid-conversation


def reminder(words: str) -> str:
    return f"<system-reminder>\n{words}\n</system-reminder>"


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([user("a"), system("S")], [("user", ["a", reminder("S")])]),
        (
            [user("a"), system("S"), assistant("b"), user("c")],
            [("user", ["a", reminder("S")]), ("assistant", ["b"]), ("user", ["c"])],
        ),
        (
            [user("a"), assistant("b"), system("S"), user("c")],
            [("user", ["a"]), ("assistant", ["b"]), ("user", [reminder("S"), "c"])],
        ),
        (
            [user("a"), assistant(CALL), user(result("r")), system("S")],
            [("user", ["a"]), ("assistant", ["tool_use"]), ("user", ["result: r | " + reminder("S")])],
        ),
        ([user("a"), system("S", "T")], [("user", ["a", reminder("S\n\nT")])]),
        ([user("a"), system(), user("b")], [("user", ["a", "b"])]),
        ([user("a"), system("")], [("user", ["a"])]),
    ],
)
def test_a_system_message_is_folded_where_it_stands(turns: list[Json], expected: list[tuple[str, list[str]]]) -> None:
    request, _, losses = prepared(turns)
    assert said(request) == expected
    assert ("messages.system" in found(losses)) == any("S" in str(texts) for _, texts in expected)


def test_a_system_message_stays_where_the_target_takes_it() -> None:
    request, _, _ = prepared([user("a"), system("S", "T"), assistant("b"), user("c")], native=("messages.system",))
    assert said(request) == [("user", ["a"]), ("system", ["S\n\nT"]), ("assistant", ["b"]), ("user", ["c"])]


def test_the_last_effort_of_a_system_message_is_the_requests() -> None:
    turns = [
        user("a"),
        system(output_config={"effort": "low"}),
        user("b"),
        system("S", output_config={"effort": "max"}),
    ]
    form = {"type": "json_schema", "schema": {}}
    request, _, losses = prepared(turns, output_config={"effort": "high", "format": form})
    assert request.output_config is not None and request.output_config.effort == "max"
    assert request.output_config.format is not None
    assert "messages.system.output_config" in found(losses)


# 4: the system prompt


def test_the_billing_block_goes_and_empty_ones_too() -> None:
    blocks = [text("x-anthropic-billing-header: cc_version=2;"), text(""), text("Be kind.")]
    request, _, losses = prepared(system=blocks)
    assert [block.text for block in request.system] == ["Be kind."]
    assert losses.header() == "none"


# 9, 10: thinking


def thinking(signature: str, words: str = "hm") -> Json:
    return {"type": "thinking", "thinking": words, "signature": signature}


@pytest.mark.parametrize(
    ("block", "kept", "field"),
    [
        (thinking(blobs.seal("p", "m", {"a": 1})), True, "thinking"),
        ({"type": "redacted_thinking", "data": blobs.seal("p", "m", {})}, True, "thinking"),
        (thinking(blobs.seal("other", "m", {})), False, "thinking.foreign"),
        (thinking(blobs.seal("p", "another", {})), False, "thinking.foreign"),
        (thinking(blobs.seal("p", None, {})), False, "thinking.foreign"),
        (thinking(blobs.UNSIGNED), False, "thinking.foreign"),
        (thinking("EqQBCgIYAhIM"), False, "thinking.foreign"),
        (thinking(""), False, "thinking.foreign"),
        (thinking(blobs.seal("p", "m", {})[:-3]), False, "thinking.foreign"),
        ({"type": "redacted_thinking", "data": "EmwKAhgB"}, False, "redacted_thinking"),
        ({"type": "redacted_thinking", "data": blobs.seal("other", "m", {})}, False, "redacted_thinking"),
        ({"type": "redacted_thinking", "data": blobs.seal("p", "another", {})}, False, "redacted_thinking"),
    ],
)
def test_only_the_models_own_reasoning_goes_back(block: Json, kept: bool, field: str) -> None:
    request, _, losses = prepared([user("a"), assistant(block, "b"), user("c")])
    assert said(request)[1] == ("assistant", [block["type"], "b"] if kept else ["b"])
    assert found(losses) == {field}


def test_unsigned_reasoning_goes_where_it_is_native() -> None:
    turns = [user("a"), assistant(thinking(""), "b"), assistant(thinking("", "")), user("c")]
    assert said(prepared(turns, native=("thinking.unsigned",))[0])[1] == ("assistant", ["thinking", "b"])


@pytest.mark.parametrize(("display", "shown"), [("omitted", False), ("summarized", True), (None, True)])
def test_whether_thinking_is_shown(display: str | None, shown: bool) -> None:
    assert prepared(thinking={"type": "adaptive", "display": display})[1].show_thinking is shown


def test_thinking_is_wanted_where_the_request_has_it_on() -> None:
    for thinking in ({"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2000}):
        assert prepared(thinking=thinking)[1].wants_thinking
    for off in (None, {"type": "disabled"}, {"type": "between_tools"}):
        context = prepared(thinking=off)[1]
        assert not context.wants_thinking and not context.show_thinking


# 11 and results in general


def test_a_result_that_is_an_error_begins_with_the_word() -> None:
    turns = [user("a"), assistant(CALL), user(result("no file", is_error=True))]
    request, _, losses = prepared(turns)
    assert (said(request)[2], found(losses)) == (("user", ["result: Error: no file"]), {"tool_result.is_error"})
    assert said(prepared(turns, native=("tool_result.is_error",))[0])[2] == ("user", ["result: no file"])
    with_image = [user("a"), assistant(CALL), user(result(PNG, is_error=True))]
    assert said(prepared(with_image)[0])[2] == ("user", ["result: Error:  | image"])


PAGE: Json = {"type": "search_result", "source": "https://e", "title": "E", "content": [text("x"), text("y")]}
NOTES: Json = {"type": "document", "source": {"type": "text", "data": "d"}}


def test_what_a_result_may_hold() -> None:
    request, _, losses = prepared([user("a"), assistant(CALL), user(result("t", PNG, NOTES, PAGE, {"type": "odd"}))])
    assert said(request)[2][1][0].startswith("result: t | image | <document>\nd\n</document> | <search_result")
    in_results = {"tool_result.image", "tool_result.document", "tool_result.search_result"}
    assert found(losses) == {*in_results, "image.base64", "document.text", "block.unknown"}
    native = prepared([user("a"), assistant(CALL), user(result(PAGE))], native=("tool_result.search_result",))[0]
    assert said(native)[2] == ("user", ["result: search_result"])


def test_a_result_without_its_call_is_the_users_text() -> None:
    request, _, losses = prepared([user(result("left", PNG, id="call_9"), "now")])
    assert said(request) == [("user", ["Result of an earlier tool call:", "left", "image", "now"])]
    assert found(losses) == {"tool_result.orphan", "tool_result.image", "image.base64"}


# 14, 18: limits and prefill


def test_max_tokens_is_lowered_to_what_the_model_gives() -> None:
    request, _, losses = prepared(max_tokens=128_000, facts={"max_output_tokens": 8192})
    assert (request.max_tokens, losses.header()) == (8192, "approximated: max_tokens")
    assert prepared(max_tokens=100, facts={"max_output_tokens": 8192})[2].header() == "none"


def test_a_prefill_is_met() -> None:
    assert found(prepared([user("a"), assistant("Well,")])[2]) == {"messages.prefill"}


# Blocks


def test_documents_and_search_results_are_texts_that_say_what_they_are() -> None:
    notes = {**NOTES, "title": "N", "context": "C", "citations": {"enabled": True}}
    parts = {"type": "content", "content": [text("a"), PNG, text("b")]}
    both = {"type": "document", "source": parts, "cache_control": MARK}
    plain = {"type": "document", "source": {"type": "content", "content": "p"}}
    request, _, losses = prepared([user(notes, both, plain, PAGE)], native=("cache_control",))
    assert said(request)[0][1] == [
        '<document title="N" context="C">\nd\n</document>',
        "<document>\na",
        "image",
        "b\n</document>",
        "<document>\np\n</document>",
        '<search_result source="https://e" title="E">\nx\ny\n</search_result>',
    ]
    documents = {"document.text", "document.content", "document.citations"}
    assert found(losses) == {*documents, "image.base64", "search_result"}
    marks = [getattr(block, "cache_control", None) for block in request.messages[0].content]
    assert marks == [None, None, None, MARK, None, None]


def test_documents_and_search_results_stay_where_they_are_native() -> None:
    request, _, _ = prepared([user(NOTES, PAGE)], native=("document.text", "search_result"))
    assert said(request) == [("user", ["document", "search_result"])]


def source(kind: str, type: str, **more: str) -> Json:
    return {"type": kind, "source": {"type": type, **more}}


SERVER_CALL: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (source("document", "base64", media_type="application/pdf", data="J"), "document.base64"),
        (source("document", "url", url="u"), "document.url"),
        (source("document", "file", file_id="f"), "document.file"),
        (source("document", "future"), "block.unknown"),
        (PNG, "image.base64"),
        (source("image", "url", url="u"), "image.url"),
        (source("image", "file", file_id="f"), "image.file"),
        (source("image", "future"), "block.unknown"),
        (text("t", citations=[{"type": "char_location"}]), "text.citations"),
        (SERVER_CALL, "server_tool_use"),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, "server_tool_use"),
        ({"type": "mcp_tool_use", "id": "m", "name": "x", "input": {}}, "mcp_tool_use"),
        ({"type": "container_upload", "file_id": "f"}, "container_upload"),
        ({"type": "fallback"}, "fallbacks.objects"),
        ({"type": "browser_state"}, "block.unknown"),
    ],
)
def test_a_block_is_met_at_its_place(block: Json, field: str) -> None:
    assert found(prepared([user("a", block)])[2]) == {field}
    with pytest.raises(LossyError) as caught:
        prepared([user("a", block)], verdicts={field: "refused"})
    assert caught.value.path == "messages.0.content.1"


def inside(image: Json) -> list[tuple[list[Json], str]]:
    """The image wherever one may stand, and its path there."""
    document = {"type": "document", "source": {"type": "content", "content": [text("d"), image]}}
    calling = [user("a"), assistant(CALL)]
    return [
        ([user(image)], "messages.0.content.0"),
        ([user(document)], "messages.0.content.0.source.content.1"),
        ([*calling, user(result("r", image))], "messages.2.content.0.content.1"),
        ([*calling, user(result(document))], "messages.2.content.0.content.0.source.content.1"),
    ]


@pytest.mark.parametrize("place", range(4))
def test_an_images_source_is_checked_wherever_it_stands(place: int) -> None:
    def refused(image: Json, field: str = "unknown") -> str:
        turns, path = inside(image)[place]
        with pytest.raises(LossyError) as caught:
            prepared(turns, verdicts={field: "refused"})
        assert caught.value.path.startswith(path)
        return caught.value.path.removeprefix(path)

    assert refused(source("image", "base64", media_type="image/png")) == ".source.data"
    assert refused(source("image", "base64", data="iVBO")) == ".source.media_type"
    assert refused(source("image", "file", file_id="f"), "image.file") == ""
    assert refused(source("image", "future"), "block.unknown") == ""
    assert "image" not in str(said(prepared(inside(source("image", "future"))[place][0])[0]))


def test_a_document_holds_texts_and_images_only() -> None:
    document = {"type": "document", "source": {"type": "content", "content": [text("d"), CALL]}}
    request, _, losses = prepared([user(document)])
    assert said(request) == [("user", ["<document>\nd\n</document>"])]
    assert found(losses) == {"document.content", "block.unknown"}


@pytest.mark.parametrize(
    "turn",
    [
        user("a", CALL),
        assistant("a", result("r")),
        assistant("a", PNG),
        assistant("a", NOTES),
        system("a", PNG),
        system("a", CALL),
        system("a", result("r")),
        system("a", thinking("x")),
    ],
)
def test_a_block_in_a_turn_that_may_not_hold_it_is_refused(turn: Json) -> None:
    with pytest.raises(LossyError, match="not supported in") as caught:
        prepared([user("a"), turn, user("b")])
    assert caught.value.path == "messages.1.content.1"


def test_a_call_has_a_single_result() -> None:
    call = [user("a"), assistant(CALL)]
    for turns in ([user(result("r"), result("s"))], [user(result("r")), user(result("s"))]):
        with pytest.raises(LossyError, match="single result"):
            prepared([*call, *turns])
    again = [*call, user(result("r")), assistant(CALL), user(result("s"))]
    assert said(prepared(again)[0])[-1] == ("user", ["result: s"])


def test_an_unknown_block_goes_on_only_where_it_is_native() -> None:
    turns = [user("a"), assistant(SERVER_CALL, "b"), user("c")]
    native = ("server_tool_use",)
    assert said(prepared(turns)[0])[1] == ("assistant", ["b"])
    assert said(prepared(turns, native=native)[0])[1] == ("assistant", ["server_tool_use", "b"])
    dropped = prepared(turns, native=native, verdicts={"server_tool_use": "dropped"})[0]
    assert said(dropped)[1] == ("assistant", ["b"])


def test_a_compaction_stands_for_what_was_said() -> None:
    turns = [assistant({"type": "compaction", "content": "Before."}), user("c")]
    assert said(prepared(turns)[0])[0] == ("assistant", ["Before."])
    assert said(prepared(turns, native=("compaction.block",))[0])[0] == ("assistant", ["compaction"])
    assert said(prepared(turns, verdicts={"compaction.block": "dropped"})[0]) == [("user", ["c"])]
    with pytest.raises(LossyError, match="readable"):
        prepared([assistant({"type": "compaction", "content": None, "encrypted_content": "e"}), user("c")])


def test_empty_texts_and_empty_turns_go_and_neighbours_of_one_role_are_one_turn() -> None:
    turns = [user("a", ""), assistant(""), user("b"), assistant("c"), assistant("d"), user("e")]
    request, _, losses = prepared(turns)
    assert said(request) == [("user", ["a", "b"]), ("assistant", ["c", "d"]), ("user", ["e"])]
    assert losses.header() == "none"


@pytest.mark.parametrize(
    ("turns", "fields"),
    [
        ([user(text("a", cache_control=MARK))], {}),
        ([user({**PNG, "cache_control": MARK})], {}),
        ([user("a"), assistant({**CALL, "cache_control": MARK}), user(result("r"))], {}),
        ([user("a"), assistant(CALL), user(result("r", cache_control=MARK))], {}),
        ([user("a"), system(text("S", cache_control=MARK))], {}),
        (None, {"system": [text("S", cache_control=MARK)]}),
        (None, {"tools": [tool("A", cache_control=MARK)]}),
        (None, {"cache_control": MARK}),
    ],
)
def test_a_breakpoint_is_met_wherever_it_stands_unless_the_target_has_them(
    turns: list[Json] | None, fields: Json
) -> None:
    assert "cache_control" in found(prepared(turns, **fields)[2])
    assert "cache_control" not in found(prepared(turns, native=("cache_control",), **fields)[2])


# Any conversation

IDS = st.sampled_from(["c1", "c2", "odd id"])
ANYWHERE = st.builds(text, st.text("ab", max_size=2)) | st.just({"type": "tool_addition"})
BLOCKS = {
    "user": ANYWHERE
    | st.builds(lambda id, error: result("r", id=id, is_error=error), IDS, st.booleans())
    | st.sampled_from([PNG, {"type": "document", "source": {"type": "content", "content": [text("d"), PNG]}}]),
    "assistant": ANYWHERE
    | st.builds(lambda id: {**CALL, "id": id}, IDS)
    | st.sampled_from([thinking(blobs.seal("p", "m", {})), thinking("x"), SERVER_CALL]),
    "system": ANYWHERE,
}
TURNS = st.lists(
    st.sampled_from(list(BLOCKS)).flatmap(
        lambda role: st.builds(lambda blocks: {"role": role, "content": blocks}, st.lists(BLOCKS[role], max_size=4))
    ),
    max_size=6,
)


@pytest.mark.parametrize("native", [("cache_control",), ("cache_control", "messages.system")])
def test_a_breakpoint_stays_with_what_its_words_become(native: tuple[str, ...]) -> None:
    request, _, _ = prepared([user("hi"), system("one", text("two", cache_control=MARK))], native=native)
    last = request.messages[-1].content[-1]
    assert isinstance(last, Text)
    assert ("one\n\ntwo" in last.text, last.cache_control) == (True, MARK)
    request, _, _ = prepared([user(result("x", id="gone", cache_control=MARK))], native=native)
    assert [getattr(block, "cache_control", None) for block in request.messages[0].content] == [None, MARK]


@given(TURNS, st.booleans())
def test_whatever_the_conversation_its_form_is_sound(turns: list[Json], system_stays: bool) -> None:
    native = ("messages.system",) if system_stays else ()
    try:
        request, _, _ = prepared(turns or [user("Hi")], native=native)
    except LossyError as error:
        results = [block.get("tool_use_id") for turn in turns for block in turn["content"]]
        assert "single result" in error.message and any(results.count(id) > 1 for id in results if id)
        return
    called: set[str] = set()
    for before, turn in zip([None, *request.messages], request.messages, strict=False):
        assert turn.content, "an empty turn"
        assert before is None or before.role != turn.role or turn.role == "system"
        assert turn.role != "system" or system_stays
        sound(turn, called)


def sound(turn: Turn, called: set[str]) -> None:
    for block in turn.content:
        assert not isinstance(block, Unknown)
        assert not isinstance(block, Text) or block.text
        if isinstance(block, ToolUse):
            called.add(block.id)
        if isinstance(block, ToolResult):
            assert block.tool_use_id in called
            assert not any(isinstance(part, Unknown) for part in block.content)
