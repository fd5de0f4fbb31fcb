"""Answers of the sandbox: text, truncation, structured output, citations, caching, counting, headers."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.calling import CITY, USER, Json, Sandbox, content, count, kinds, text, usage

sandbox = Sandbox()


def test_a_message_has_every_field_and_the_real_headers() -> None:
    asked = sandbox.message()
    assert asked.status == 200
    message = asked.json()
    assert list(message) == [
        "model",
        "id",
        "type",
        "role",
        "content",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "usage",
    ]
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "claude-sandbox")
    assert (message["stop_reason"], message["stop_sequence"], message["stop_details"]) == ("end_turn", None, None)
    assert str(message["id"]).startswith("msg_01")
    assert "“hi”" in text(message)
    assert set(usage(message)) == {
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation",
        "output_tokens",
        "service_tier",
        "inference_geo",
    }
    headers = asked.response_headers
    assert headers["content-type"] == "application/json"
    assert headers["request-id"].startswith("req_01")
    assert headers["anthropic-organization-id"]
    for limit in ("requests", "tokens", "input-tokens", "output-tokens"):
        for suffix in ("limit", "remaining", "reset"):
            assert headers[f"anthropic-ratelimit-{limit}-{suffix}"]


def test_the_same_request_gets_the_same_bytes_from_any_sandbox() -> None:
    for tools in ([], [CITY]):
        for stream in (False, True):
            first, second = (
                each.message(stream=stream, tools=tools, thinking={"type": "adaptive"}) for each in (sandbox, Sandbox())
            )
            assert first.response == second.response
            assert first.response_headers == second.response_headers


def test_other_requests_get_other_ids() -> None:
    first, second = sandbox.message(), sandbox.message(max_tokens=1023)
    assert first.json()["id"] != second.json()["id"]
    assert first.response_headers["request-id"] != second.response_headers["request-id"]


def test_max_tokens_cuts_the_text_to_exactly_that_many() -> None:
    whole = text(sandbox.answer())
    message = sandbox.answer(max_tokens=10)
    assert message["stop_reason"] == "max_tokens"
    assert usage(message)["output_tokens"] == 10
    assert text(message) == whole[: len(text(message))] != whole


@pytest.mark.parametrize("limit", range(1, 40))
def test_cutting_never_breaks_a_character(limit: int) -> None:
    message = sandbox.answer(max_tokens=limit, messages=[{"role": "user", "content": "naïve 🌉 brücke " * 4}])
    assert usage(message)["output_tokens"] == limit
    assert "�" not in text(message)


def test_max_tokens_zero_warms_the_cache_and_says_nothing() -> None:
    message = sandbox.answer(max_tokens=0)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert usage(message)["output_tokens"] == 0


def test_the_first_stop_sequence_in_the_text_ends_it() -> None:
    said = [{"role": "user", "content": "count: one STOP two HALT three"}]
    message = sandbox.answer(messages=said, stop_sequences=["HALT", "STOP", "never"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")
    assert text(message) == "You said: “count: one "
    assert sandbox.answer(messages=said, stop_sequences=["never"])["stop_reason"] == "end_turn"


def test_of_two_stop_sequences_at_one_place_the_longer_counts() -> None:
    message = sandbox.answer(stop_sequences=["hi", "hi”"])
    assert message["stop_sequence"] == "hi”"


def test_a_cut_before_the_stop_sequence_is_max_tokens() -> None:
    message = sandbox.answer(stop_sequences=["word for word"], max_tokens=5)
    assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)


def test_tokens_sets_the_length_of_the_answer() -> None:
    for wanted in (1, 7, 500):
        message = sandbox.answer(model=f"claude-sandbox:tokens={wanted}", max_tokens=1000)
        assert usage(message)["output_tokens"] == wanted
        assert message["stop_reason"] == "end_turn"


def test_long_texts_are_repeated_only_in_part() -> None:
    message = sandbox.answer(messages=[{"role": "user", "content": "x" * 100_000}])
    assert 400 < len(text(message)) < 1_000


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "model_context_window_exceeded"])
def test_other_stop_reasons_can_be_asked_for(reason: str) -> None:
    message = sandbox.answer(model=f"claude-x:stop_reason={reason}", tools=[CITY])
    assert message["stop_reason"] == reason
    details = message["stop_details"]
    assert (details is not None) == (reason == "refusal")
    if reason == "refusal":
        assert isinstance(details, dict) and details["type"] == "refusal"
        assert kinds(message) == ["text"], "tools of a refused turn must not be there to run"


def test_content_without_words_is_answered() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    message = sandbox.answer(messages=[{"role": "user", "content": [image]}])
    assert text(message).startswith("You said nothing in words.")


def test_a_prefill_is_continued() -> None:
    messages = [*USER, {"role": "assistant", "content": "The answer is"}]
    assert sandbox.answer(messages=messages)["stop_reason"] == "end_turn"


SCHEMA: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["city", "population"],
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
}


def test_structured_output_fits_its_schema_from_either_field() -> None:
    shape = {"type": "json_schema", "schema": SCHEMA}
    new = sandbox.answer(output_config={"format": shape})
    old = sandbox.answer(output_format=shape, betas="structured-outputs-2025-11-13")
    for message in (new, old):
        assert kinds(message) == ["text"]
        assert json.loads(text(message)) == {"city": "Paris", "population": 1}


def test_structured_output_is_cut_like_any_text() -> None:
    message = sandbox.answer(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}, max_tokens=3)
    assert message["stop_reason"] == "max_tokens"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(text(message))


PLAIN = "Bridges carry weight. They also carry words."
DOCUMENTS: list[Json] = [
    {
        "type": "document",
        "title": "On bridges",
        "source": {"type": "text", "media_type": "text/plain", "data": PLAIN},
        "citations": {"enabled": True},
    },
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Not to be cited."}},
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQKJSVFT0Y="},
        "citations": {"enabled": True},
    },
    {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": "Chunk one."}]},
        "citations": {"enabled": True},
    },
    {
        "type": "search_result",
        "source": "https://example.com/s",
        "title": "Found",
        "content": [{"type": "text", "text": "A result."}],
        "citations": {"enabled": True},
    },
]


def test_documents_that_allow_it_are_cited_where_the_words_are() -> None:
    message = sandbox.answer(messages=[{"role": "user", "content": [*DOCUMENTS, {"type": "text", "text": "Read."}]}])
    cited = [found[0] for block in content(message) if isinstance(found := block.get("citations"), list)]
    assert [citation["type"] for citation in cited] == [
        "char_location",
        "page_location",
        "content_block_location",
        "search_result_location",
    ]
    plain = cited[0]
    assert PLAIN[plain["start_char_index"] : plain["end_char_index"]] == plain["cited_text"] == "Bridges carry weight. "
    assert (plain["document_index"], plain["document_title"]) == (0, "On bridges")
    assert [citation["document_index"] for citation in cited[1:3]] == [2, 3]
    assert cited[3]["cited_text"] == "A result."


def test_citations_come_back_and_are_accepted() -> None:
    user = {"role": "user", "content": [*DOCUMENTS, {"type": "text", "text": "Read."}]}
    message = sandbox.answer(messages=[user])
    messages = [user, {"role": "assistant", "content": message["content"]}, *USER]
    assert sandbox.answer(messages=messages, version="2026-10-21")["stop_reason"] == "end_turn"


def cache(**fields: object) -> tuple[int, int, int]:
    """Input tokens of a request: plain, written, read; and the count must be their sum."""
    body: Json = {"model": "claude-sandbox", "messages": USER, **fields}
    counted = usage(sandbox.ask("POST", "/v1/messages", {**body, "max_tokens": 64}).json())
    total = sandbox.ask("POST", "/v1/messages/count_tokens", body).json()["input_tokens"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    plain, written, read = (count(counted, name) for name in names)
    parts = (plain, written, read)
    assert sum(parts) == total
    return parts


def test_without_cache_control_nothing_is_cached() -> None:
    plain, written, read = cache()
    assert plain > 0
    assert (written, read) == (0, 0)


MARK = {"type": "ephemeral"}
SYSTEM = [{"type": "text", "text": "You are a bridge. " * 40, "cache_control": MARK}]


def test_a_first_turn_writes_the_cache() -> None:
    plain, written, read = cache(system=SYSTEM)
    assert written == 180
    assert read == 0
    assert plain < 10


def test_a_later_turn_reads_what_the_first_one_wrote() -> None:
    turns = [*USER, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "and now?"}]
    _, written_first, _ = cache(system=SYSTEM)
    plain, written, read = cache(system=SYSTEM, messages=turns)
    assert (written, read) == (0, written_first)
    assert plain > 0


def test_a_moving_breakpoint_reads_up_to_the_last_answer_and_writes_the_rest() -> None:
    marked = [{"type": "text", "text": "and now?", "cache_control": MARK}]
    turns = [*USER, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": marked}]
    plain, written, read = cache(system=SYSTEM, messages=turns)
    _, written_before, _ = cache(
        system=SYSTEM, messages=[{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARK}]}]
    )
    assert read == written_before
    assert written > 0
    assert plain == 0


def test_automatic_caching_marks_the_last_block() -> None:
    plain, written, read = cache(cache_control=MARK)
    assert written > 0
    assert (plain, read) == (0, 0)


def test_cache_writes_are_told_apart_by_how_long_they_last() -> None:
    long = [{"type": "text", "text": "You are a bridge. " * 40, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    said = [{"role": "user", "content": [{"type": "text", "text": "hi there", "cache_control": MARK}]}]
    counted = usage(sandbox.answer(system=long, messages=said))
    assert counted["cache_creation"] == {"ephemeral_1h_input_tokens": 180, "ephemeral_5m_input_tokens": 5}


def test_cache_marks_do_not_change_the_count() -> None:
    assert sum(cache(tools=[CITY])) == sum(cache(tools=[{**CITY, "cache_control": MARK}]))


def test_everything_in_a_prompt_counts() -> None:
    said = [{"role": "user", "content": DOCUMENTS}]
    counts = [
        sum(cache()),
        sum(cache(system="Be brief.")),
        sum(cache(system="Be brief.", tools=[CITY])),
        sum(cache(system="Be brief.", tools=[CITY], messages=said)),
    ]
    assert counts == sorted(set(counts))


def test_count_tokens_takes_no_max_tokens_and_no_stream() -> None:
    for field in ("max_tokens", "stream"):
        body = {"model": "claude-sandbox", "messages": USER, field: 1}
        asked = sandbox.ask("POST", "/v1/messages/count_tokens", body)
        assert asked.status == 400
        assert asked.error()["message"] == f"{field}: Extra inputs are not permitted"


def test_context_management_is_answered_in_kind() -> None:
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    betas = "context-management-2025-06-27"
    message = sandbox.answer(context_management=edits, betas=betas)
    assert message["context_management"] == {"applied_edits": []}
    body = {"model": "claude-sandbox", "messages": USER, "context_management": edits}
    counted = sandbox.ask("POST", "/v1/messages/count_tokens", body, betas=betas).json()
    assert counted["context_management"] == {"original_input_tokens": counted["input_tokens"]}


def test_fields_about_service_are_echoed_in_usage() -> None:
    counted = usage(sandbox.answer(inference_geo="us", service_tier="auto", speed="fast", model="claude-opus-5"))
    assert (counted["inference_geo"], counted["service_tier"]) == ("us", "standard")


def test_unknown_options_of_a_model_name_are_refused() -> None:
    assert "chunk" in sandbox.refusal(model="claude-sandbox:chunk=3")
    assert "chunks" in sandbox.refusal(model="claude-sandbox:chunks=many")
    assert sandbox.answer(model="claude-sandbox:primary,tokens=3")["model"] == "claude-sandbox:primary,tokens=3"


def test_any_model_name_is_served() -> None:
    for name in ("gpt-9", "meta-llama/Llama-5", "llama3:8b", "claude-opus-99"):
        assert sandbox.answer(model=name)["model"] == name
