"""Thinking of the sandbox: when it thinks, what it shows, and that only untouched blocks come back."""

from __future__ import annotations

import base64

import pytest

from asbru.sandbox import models
from tests.sandbox.calling import CITY, USER, Json, Sandbox, content, count, kinds, usage

sandbox = Sandbox()
SHOWN: Json = {"type": "adaptive", "display": "summarized"}


def thought(**fields: object) -> Json:
    asked = sandbox.ask(
        "POST",
        "/v1/messages",
        {"model": "claude-sandbox", "max_tokens": 4096, "messages": USER, "thinking": SHOWN, **fields},
    )
    assert asked.status == 200, asked.response
    return content(asked.json())[0]


def replay(block: Json, **fields: object) -> str | None:
    """What the API says to a conversation that has this block in its history; None when it takes it."""
    messages = [*USER, {"role": "assistant", "content": [block, {"type": "text", "text": "Hello."}]}, *USER]
    asked = sandbox.message(messages=messages)
    return None if asked.status == 200 else str(asked.error()["message"])


def test_it_thinks_only_when_told_to() -> None:
    assert kinds(sandbox.answer()) == ["text"]
    assert kinds(sandbox.answer(thinking={"type": "disabled"})) == ["text"]
    assert kinds(sandbox.answer(thinking={"type": "between_tools"})) == ["text"]
    assert kinds(sandbox.answer(thinking=SHOWN)) == ["thinking", "text"]
    budget = {"type": "enabled", "budget_tokens": 1024}
    assert kinds(sandbox.answer(thinking=budget, max_tokens=2048)) == ["thinking", "text"]


def test_a_signature_is_taken_back() -> None:
    assert replay(thought()) is None


def test_what_is_omitted_is_signed_and_taken_back() -> None:
    block = thought(thinking={"type": "adaptive", "display": "omitted"})
    assert block["thinking"] == ""
    assert replay(block) is None


@pytest.mark.parametrize(
    ("model", "shown"), [("claude-opus-4-8", False), ("claude-sonnet-4-6", True), ("claude-sandbox", True)]
)
def test_whether_thinking_is_shown_by_default_depends_on_the_model(model: str, shown: bool) -> None:
    assert bool(thought(model=model, thinking={"type": "adaptive"})["thinking"]) == shown


def test_touched_blocks_are_refused_in_the_real_words() -> None:
    block = thought()
    words = "messages.1.content.0: Invalid `signature` in `thinking` block"
    signature = str(block["signature"])
    flipped = ("A" if signature[30] != "A" else "B").join((signature[:30], signature[31:]))
    short = base64.b64encode(base64.b64decode(signature)[:-1]).decode()
    assert replay({**block, "thinking": f"{block['thinking']} and more"}) == words
    assert replay({**block, "thinking": ""}) == words
    for other in (flipped, short, "", "sig==", "not base64 ü", base64.b64encode(b"").decode()):
        assert replay({**block, "signature": other}) == words
    assert replay({"type": "thinking", "thinking": "x"}) == "messages.1.content.0.thinking.signature: Field required"


def test_redacted_thinking_makes_the_round_trip() -> None:
    block = thought(model="claude-sandbox:thinking=redacted")
    assert block["type"] == "redacted_thinking"
    assert replay(block) is None
    words = "messages.1.content.0: Invalid `data` in `redacted_thinking` block"
    assert replay({**block, "data": "c2FuZGJveA=="}) == words
    signature = thought()["signature"]
    assert replay({"type": "redacted_thinking", "data": signature}) == words


def test_thinking_costs_output_tokens_even_when_it_is_not_shown() -> None:
    plain = usage(sandbox.answer())
    hidden = usage(sandbox.answer(thinking={"type": "adaptive", "display": "omitted"}))
    details = hidden["output_tokens_details"]
    assert isinstance(details, dict)
    assert count(hidden, "output_tokens") - count(plain, "output_tokens") == details["thinking_tokens"] > 10


def test_max_tokens_can_end_in_the_middle_of_a_thought() -> None:
    message = sandbox.answer(thinking=SHOWN, max_tokens=5)
    assert (kinds(message), message["stop_reason"]) == (["thinking"], "max_tokens")
    assert replay(content(message)[0]) is None


def test_with_a_budget_tool_results_need_the_thinking_before_the_call() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    named = [{"role": "user", "content": "get_weather"}]
    first = sandbox.answer(tools=[CITY], messages=named, thinking=thinking, max_tokens=2048)
    assert kinds(first) == ["thinking", "text", "tool_use"]
    call = content(first)[2]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "12C"}]}

    def ask(blocks: list[Json]) -> tuple[int, str]:
        messages = [*USER, {"role": "assistant", "content": blocks}, result]
        asked = sandbox.message(messages=messages, tools=[CITY], thinking=thinking, max_tokens=2048)
        return asked.status, "" if asked.status == 200 else str(asked.error()["message"])

    assert ask(content(first)) == (200, "")
    status, words = ask(content(first)[1:])
    assert status == 400
    assert words.startswith("messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.")


@pytest.mark.parametrize("profile", models.CLAUDE, ids=lambda profile: profile.id)
def test_without_the_field_a_model_thinks_when_that_is_its_default(profile: models.Profile) -> None:
    """As contract/anthropic.md has it, §2.6; thinking is then omitted: no text, but a signature."""
    name = (profile.alias or profile.id).removeprefix("claude-")
    message = sandbox.answer(model=profile.id)
    if name not in THINK_BY_DEFAULT:
        assert kinds(message) == ["text"]
        return
    assert kinds(message) == ["thinking", "text"]
    thinking = content(message)[0]
    assert thinking["thinking"] == "" and thinking["signature"]
    if "disabled" in profile.thinking:
        assert kinds(sandbox.answer(model=profile.id, thinking={"type": "disabled"})) == ["text"]


THINK_BY_DEFAULT = {
    *("fable-5", "fable-5-1", "fable-5-2", "mythos-5", "mythos-5-1", "mythos-5-2"),
    *("opus-5", "opus-5-5", "sonnet-5", "sonnet-5-5", "haiku-5-5"),
}
