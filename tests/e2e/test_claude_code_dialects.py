"""Claude Code through the gateway to models that are not Claude: in each dialect it finishes tasks with tool calls.

Opt-in: ASBRU_E2E_CLAUDE_CODE=1. What goes by is kept: every stream is held against the grammar, and what a translation
lost must be the same in the answer's header, in its Record and here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asbru.secrets import new_virtual_key
from tests import grammar
from tests.e2e.claude_code import launch
from tests.e2e.running import Entry, Gateway, Server
from tests.e2e.tap import Passed, Tap

Json = dict[str, Any]


class Dialect(NamedTuple):
    provider: Json
    base_path: str
    model: str
    lost: set[str]
    """What of Claude Code's requests it does not carry."""


USER = "approximated: metadata.user_id"
DEFERRED = "emulated: tools.defer_loading"
DIALECTS = {
    "openai-chat": Dialect({"like": "openai", "dialect": "openai-chat"}, "/v1", "gpt-5.6", {USER, DEFERRED}),
    "openai-responses": Dialect({"like": "openai"}, "/v1", "gpt-5.6", {USER, DEFERRED}),
    "gemini": Dialect(
        {"like": "gemini"},
        "/v1beta",
        "gemini-3-flash-preview",
        {"dropped: metadata.user_id", "approximated: cache_control", "approximated: messages.system", DEFERRED},
    ),
    "bedrock-converse": Dialect(
        {"like": "bedrock", "region": "us-east-1"}, "", "us.anthropic.claude-opus-4-8", {USER, DEFERRED}
    ),
    "bedrock-invoke": Dialect(
        {"like": "bedrock-anthropic", "region": "us-east-1"},
        "",
        "us.anthropic.claude-opus-4-8",
        {"dropped: context_management", "dropped: anthropic-beta"},
    ),
}
"""Each is also the name of its provider; the last is no dialect but Anthropic's own in an envelope."""
KEYS = {name: new_virtual_key() for name in DIALECTS}
"""The client names the same model everywhere, and its key decides whose that is: to a model of another name Claude Code
itself would not send the reasoning of the one before."""
NAMES = ("coder", "claude-opus-5-5")
"""How Claude Code calls the model. Of one whose name it knows it asks more: other betas, effort turn by turn."""
EACH = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def running(program: Path, sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A provider for each dialect; behind all of them is the same sandbox."""
    usual = {"keys": [{"value": "sk-any"}], "max_retries": 0}
    providers = {
        name: {**usual, "base_url": sandbox.url + row.base_path, **row.provider} for name, row in DIALECTS.items()
    }
    candidates = [f"{name}/{row.model}" for name, row in DIALECTS.items()]
    config: dict[str, object] = {
        "providers": providers,
        "models": dict.fromkeys(NAMES, candidates),
        "virtual_keys": [
            {"name": f"to-{name}", "value": key, "providers": [{"name": name}]} for name, key in KEYS.items()
        ],
    }
    with Gateway(tmp_path_factory.mktemp("dialects"), config) as gateway:
        yield gateway


@pytest.fixture
def tap(running: Gateway) -> Iterator[Tap]:
    with Tap(running.port) as between:
        yield between


class Run:
    """One run of Claude Code that went well: what it said and did, and the turns with the model that it took."""

    def __init__(
        self, program: Path, tap: Tap, home: Path, dialect: str, *arguments: str, model: str = NAMES[0]
    ) -> None:
        before = len(tap.passed)
        arguments = (*arguments, "--model", model, "--verbose", "--allowedTools", "Bash(echo *)", "Read")
        done = launch(
            program, tap.url, home, "stream-json", *arguments, credential=("ANTHROPIC_API_KEY", KEYS[dialect])
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines: list[Json] = [json.loads(line) for line in done.stdout.splitlines()]
        report = lines[-1]
        assert (report["type"], report["is_error"]) == ("result", False), report
        self.text = str(report["result"])
        self.results = [line["tool_use_result"] for line in lines if "tool_use_result" in line]
        """What its tools really did, in its own words."""
        self.turns = [passed for passed in tap.passed[before:] if passed.path.startswith("/v1/messages?")]
        assert all(turn.status == 200 for turn in self.turns), self.turns
        self.messages = [grammar.check(turn.body).message for turn in self.turns]

    @property
    def stops(self) -> list[object]:
        return [message["stop_reason"] for message in self.messages]


def lost(gateway: Gateway, turn: Passed, dialect: str) -> set[str]:
    """What a turn lost, without the places; its Record and its answer's headers say that, and what else is true."""
    record: Entry = gateway.record(turn.headers["x-asbru-request-id"])
    assert (record["status"], record["provider"]) == (200, dialect)
    assert record["attempts"][-1]["model"] == DIALECTS[dialect].model
    assert record["served_model"] in DIALECTS[dialect].model  # InvokeModel's answer has Anthropic's own name
    assert turn.headers["x-asbru-provider"] == dialect
    assert (record["stream"], record["usage_complete"], record.get("error_kind")) == (True, True, None)
    assert record["usage"]["output_tokens"] > 0 and record["stop_reason"] in ("tool_use", "end_turn")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["200"]
    places: dict[str, list[str]] = {}
    for loss in record["losses"]:
        verdict, _, named = loss.partition(": ")
        places.setdefault(verdict, []).append(named.rpartition(" at ")[2])
    header = "; ".join(f"{verdict}: {', '.join(each)}" for verdict, each in places.items())
    assert turn.headers["x-asbru-loss"] == header
    return {loss.partition(" at ")[0] for loss in record["losses"]}


@EACH
def test_a_tool(program: Path, running: Gateway, tap: Tap, tmp_path: Path, dialect: str) -> None:
    """The model asks for a command, Claude Code runs it and sends what it printed; the model tells."""
    run = Run(program, tap, tmp_path, dialect, "Use Bash now", "--tools", "Bash")
    assert [result["stdout"] for result in run.results] == ["sandbox"]
    assert run.text.startswith("The tool call ") and run.text.endswith(" returned: sandbox")
    assert run.stops == ["tool_use", "end_turn"]
    assert [lost(running, turn, dialect) for turn in run.turns] == [DIALECTS[dialect].lost] * 2


@EACH
def test_two_tools_at_once_one_of_which_fails(
    program: Path, running: Gateway, tap: Tap, tmp_path: Path, dialect: str
) -> None:
    """The file that the model wants to read is not there."""
    run = Run(program, tap, tmp_path, dialect, "Use Bash and Read now", "--tools", "Bash,Read")
    failed, ran = sorted(run.results, key=lambda result: isinstance(result, dict))
    assert ran["stdout"] == "sandbox" and "does not exist" in failed
    assert "returned: sandbox" in run.text and "does not exist" in run.text
    assert run.stops == ["tool_use", "end_turn"]
    for turn in run.turns:
        assert lost(running, turn, dialect) >= DIALECTS[dialect].lost


@pytest.mark.parametrize("model", NAMES)
@EACH
def test_every_tool(program: Path, running: Gateway, tap: Tap, tmp_path: Path, dialect: str, model: str) -> None:
    """Claude Code as it comes, with all its tools and the deferred ones, and turns of the system in between."""
    run = Run(program, tap, tmp_path, dialect, "Use Bash now", model=model)
    assert "sandbox" in [result["stdout"] for result in run.results if isinstance(result, dict) and "stdout" in result]
    assert "returned: sandbox" in run.text
    assert (run.stops[0], run.stops[-1]) == ("tool_use", "end_turn")
    for turn in run.turns:
        lost(running, turn, dialect)


@pytest.mark.parametrize("other", [name for name in DIALECTS if name != "openai-responses"])
def test_another_model_goes_on(program: Path, running: Gateway, tap: Tap, tmp_path: Path, other: str) -> None:
    """A conversation with tool calls and reasoning goes on with a model of another dialect, and back.

    To each goes its own reasoning; that of the others is left out, and a translation says so.
    """
    foreign_seen: list[bool] = []
    for turn_of in ("openai-responses", other, "openai-responses"):
        again = ("--continue",) if foreign_seen else ()
        run = Run(program, tap, tmp_path, turn_of, *again, "Use Bash now", "--tools", "Bash")
        assert [result["stdout"] for result in run.results] == ["sandbox"]
        assert run.text.endswith(" returned: sandbox") and run.stops == ["tool_use", "end_turn"]
        for turn in run.turns:
            is_foreign = {signature.split(".")[1:2] != [turn_of] for signature in signatures(turn)}
            foreign_seen.append(True in is_foreign)
            if turn_of != "bedrock-invoke":
                assert ("dropped: thinking.foreign" in lost(running, turn, turn_of)) == foreign_seen[-1]
    assert foreign_seen[:4] == [False, False, True, True]


def signatures(turn: Passed) -> list[str]:
    """Of the reasoning that a request brings along."""
    messages: list[Json] = json.loads(turn.sent)["messages"]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    return [block["signature"] for block in blocks if block["type"] == "thinking"]
