"""Failures by model name: each before, in the middle of and without a stream; pacing and waiting."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from asbru.sandbox.app import Settings, handler
from asbru.sandbox.failures import GARBAGE, KINDS, STATUSES
from tests.grammar import GrammarError, check
from tests.sandbox.calling import USER, Asked, Sandbox, text

sandbox = Sandbox(Settings(hang_s=0.0))
BOTH = pytest.mark.parametrize("stream", [False, True])


def fail(model: str, stream: bool = False, *, retry_count: str = "") -> Asked:
    body = {"model": model, "max_tokens": 256, "messages": USER, "stream": stream}
    return sandbox.ask("POST", "/v1/messages", body, headers={"x-stainless-retry-count": retry_count})


@BOTH
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
        (599, "api_error"),
    ],
)
def test_error_models_answer_with_their_status(status: int, kind: str, stream: bool) -> None:
    asked = fail(f"error-{status}:some-label", stream)
    assert asked.status == status
    assert asked.error()["type"] == kind
    assert asked.error()["message"]
    assert asked.response_headers["content-type"] == "application/json"
    assert ("retry-after" in asked.response_headers) == (status == 429)


def test_a_missing_model_is_named() -> None:
    assert fail("error-404:x").error()["message"] == "model: error-404:x"


def test_rate_limits_say_when_to_come_back() -> None:
    asked = fail("error-429")
    assert asked.response_headers["retry-after"] == "1"
    assert asked.response_headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert fail("error-429:retry_after_s=30").response_headers["retry-after"] == "30"
    assert fail("error-529:retry_after_s=0").response_headers["retry-after"] == "0"


@pytest.mark.parametrize("model", ["error-200", "error-600", "error-42", "error-4299", "my-error-429", "error-"])
def test_other_names_do_not_fail(model: str) -> None:
    assert fail(model).status == 200


def test_invalid_requests_are_refused_before_they_fail() -> None:
    assert sandbox.message(model="error-529", foo=1).status == 400


def test_failures_that_end_with_the_retries_of_the_sdk() -> None:
    model = "error-529:until_retry=2"
    for count, status in (("", 529), ("0", 529), ("1", 529), ("2", 200), ("3", 200), ("x", 529)):
        assert fail(model, retry_count=count).status == status


@BOTH
def test_garbage_is_neither_json_nor_events(stream: bool) -> None:
    asked = fail("garbage", stream)
    assert (asked.status, asked.response) == (200, GARBAGE)
    with pytest.raises(ValueError):
        json.loads(asked.response)
    with pytest.raises(GrammarError):
        check(asked.response)


@BOTH
def test_die_before_head_leaves_nothing(stream: bool) -> None:
    asked = fail("die-before-head", stream)
    assert asked.aborted
    assert not asked.started


@BOTH
def test_hang_ends_only_with_a_cut(stream: bool) -> None:
    asked = fail("hang", stream)
    assert asked.aborted
    assert not asked.started


@dataclass
class Watched(Asked):
    """Says when its body has been read."""

    was_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def body(self, limit_bytes: int) -> bytes:
        self.was_read.set()
        return await super().body(limit_bytes)


def test_a_hanging_request_ends_when_its_client_goes() -> None:
    async def leave() -> None:
        body = {"model": "hang", "max_tokens": 1, "messages": USER}
        headers = [(b"x-api-key", b"k"), (b"anthropic-version", b"2023-06-01")]
        asked = Watched("POST", b"/v1/messages", headers=headers, content=json.dumps(body).encode())
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(sandbox_that_hangs(asked))
            await asked.was_read.wait()
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        assert not asked.started

    async def sandbox_that_hangs(asked: Asked) -> None:
        await handler()(asked)

    asyncio.run(leave())


def test_slow_models_answer_all_the_same() -> None:
    assert fail("slow:wait_ms=0").status == 200
    assert fail("slow:wait_ms=1", stream=True).stream().text()
    assert fail("claude-sandbox:wait_ms=1").status == 200


@pytest.mark.parametrize("after", [1, 2, 4, 7, 10_000])
def test_streams_die_after_as_many_events_as_asked_for(after: int) -> None:
    whole = fail("claude-sandbox", stream=True).writes
    asked = fail(f"die-mid-stream:after={after}", stream=True)
    assert (asked.status, asked.aborted, asked.finished) == (200, True, False)
    assert len(asked.writes) == min(after, len(whole))


@pytest.mark.parametrize("model", ["die-mid-stream", "end-mid-stream", "hang-mid-stream", "error-mid-stream"])
def test_the_middle_of_a_stream_is_after_the_first_text(model: str) -> None:
    asked = fail(model, stream=True)
    events = [json.loads(data.partition(b"data: ")[2]) for data in asked.writes]
    kinds = ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert [event["type"] for event in events[:4]] == kinds
    assert asked.finished == (model in ("end-mid-stream", "error-mid-stream"))
    assert asked.aborted != asked.finished
    assert len(events) == (5 if model == "error-mid-stream" else 4)
    with pytest.raises(GrammarError):
        check(asked.response)


def test_errors_in_the_middle_of_a_stream_are_valid_events() -> None:
    stream = fail("error-mid-stream", stream=True).stream(error=True)
    assert stream.error == {"type": "overloaded_error", "message": "Overloaded"}
    assert stream.text()
    assert stream.events[-1]["request_id"]
    stream = fail("error-mid-stream:status=500,after=1", stream=True).stream(error=True)
    assert stream.error == {"type": "api_error", "message": "Internal server error"}
    assert len(stream.events) == 2


def test_an_error_can_be_the_first_event() -> None:
    stream = fail("error-first-event", stream=True).stream(error=True)
    assert [event["type"] for event in stream.events] == ["error"]
    stream = fail("error-first-event:after=1,status=429", stream=True).stream(error=True)
    assert [event["type"] for event in stream.events] == ["message_start", "error"]
    assert stream.error is not None
    assert stream.error["type"] == "rate_limit_error"


@pytest.mark.parametrize("model", ["error-first-event", "error-mid-stream"])
def test_without_a_stream_such_errors_are_answers(model: str) -> None:
    asked = fail(f"{model}:status=503,retry_after_s=2")
    assert (asked.status, asked.response_headers["retry-after"]) == (503, "2")


def test_whole_answers_break_in_the_middle_too() -> None:
    whole = fail("claude-sandbox").response
    for model in ("die-mid-stream", "hang-mid-stream"):
        asked = fail(model)
        assert int(asked.response_headers["content-length"]) > len(asked.response) > 0
        assert (asked.aborted, asked.finished) == (True, False)
    asked = fail("end-mid-stream")
    assert "content-length" not in asked.response_headers
    assert asked.finished
    assert abs(len(asked.response) - len(whole) // 2) < 10
    with pytest.raises(ValueError):
        json.loads(asked.response)


@pytest.mark.parametrize("model", [*KINDS, *(f"error-{status}" for status in STATUSES)])
def test_failing_models_are_in_the_models_list(model: str) -> None:
    listed = sandbox.ask("GET", "/v1/models?limit=1000").json()["data"]
    assert isinstance(listed, list)
    assert model in [entry["id"] for entry in listed]


def test_other_endpoints_fail_by_model_name_too() -> None:
    body = {"model": "error-529", "messages": USER}
    assert sandbox.ask("POST", "/v1/messages/count_tokens", body).status == 529
    legacy = {"model": "error-500", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 5}
    assert sandbox.ask("POST", "/v1/complete", legacy).status == 500


def test_pauses_do_not_change_what_is_said() -> None:
    slow = sandbox.message(stream=True, model="claude-sandbox:delay_ms=1,chunks=3").stream()
    assert len(slow.texts()) == 3
    assert slow.text() == text(sandbox.answer())
