"""Claude Code through the gateway to the sandbox: a turn of text, a turn with a tool, a broken primary, bad keys.

Opt-in: ASBRU_E2E_CLAUDE_CODE=1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asbru.sandbox
from asbru.secrets import new_virtual_key
from tests.e2e.claude_code import launch
from tests.e2e.running import Gateway

KEY, NARROW = new_virtual_key(), new_virtual_key()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The sandbox inside, a virtual key in front, and a model whose primary fails in its first event."""
    text = "sandbox/claude-opus-5-5:tools=never"
    config: dict[str, object] = {
        "providers": {"sandbox": {"max_retries": 0}},
        "virtual_keys": [
            {"name": "coder", "value": "env.CODER"},
            {"name": "narrow", "value": "env.NARROW", "providers": [{"name": "sandbox", "models": ["claude-haiku-*"]}]},
        ],
        "models": {"claude-text": [text], "claude-resilient": ["sandbox/error-first-event:coder", text]},
    }
    with Gateway(tmp_path_factory.mktemp("coder"), config, environment={"CODER": KEY, "NARROW": NARROW}) as running:
        yield running


def ask(
    program: Path,
    url: str,
    home: Path,
    *arguments: str,
    credential: tuple[str, str] = ("ANTHROPIC_API_KEY", KEY),
) -> tuple[int, dict[str, Any]]:
    """One run of `claude -p`, in an empty home; its exit code and what it reports."""
    done = launch(program, url, home, "json", *arguments, credential=credential)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


@pytest.mark.parametrize("prefix", ["", "/anthropic"], ids=["root", "prefixed"])
@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_text(program: Path, locked: Gateway, tmp_path: Path, name: str, prefix: str) -> None:
    arguments = ("hi", "--model", "claude-text")
    code, report = ask(program, locked.url + prefix, tmp_path, *arguments, credential=(name, KEY))
    assert code == 0 and report["is_error"] is False
    assert report["result"].startswith("You said: “hi”. This is the Asbru sandbox")
    record = locked.record_with(session_id=report["session_id"])
    assert (record["principal"], record["status"], record["stop_reason"]) == ("coder", 200, "end_turn")
    assert record["session_id"] == report["session_id"]
    assert record["usage"]["cache_creation_input_tokens"] == report["usage"]["cache_creation_input_tokens"] > 0


def test_tool(program: Path, locked: Gateway, tmp_path: Path) -> None:
    """The model asks for a command, Claude Code runs it and sends what it printed; the model tells."""
    arguments = ("Use Bash now", "--model", "claude-opus-5-5", "--tools", "Bash", "--allowedTools", "Bash(echo *)")
    code, report = ask(program, locked.url, tmp_path, *arguments)
    assert code == 0 and report["is_error"] is False
    assert report["num_turns"] == 2
    assert report["result"].startswith("The tool call toolu_") and report["result"].endswith("returned: sandbox")
    locked.record_with(session_id=report["session_id"], stop_reason="end_turn")
    turns = [record for record in locked.records() if record["session_id"] == report["session_id"]]
    assert [turn["stop_reason"] for turn in turns] == ["tool_use", "end_turn"]
    assert turns[1]["usage"]["cache_read_input_tokens"] > 0


def test_all_tools(program: Path, tmp_path: Path) -> None:
    """With every tool it has, "Hello" is answered in text at once: no agent is started."""
    with asbru.sandbox.running() as sandbox:
        code, report = ask(program, sandbox.url, tmp_path, "Hello", "--model", "claude-opus-5-5")
        turns = [request for request in sandbox.requests if request.path == "/v1/messages"]
    assert code == 0 and report["result"].startswith("You said: “Hello”.")
    assert 1 <= len(turns) <= 2
    assert "Agent" in [tool["name"] for tool in turns[-1].body["tools"]]


def test_scripted_tool(program: Path, tmp_path: Path) -> None:
    """A scripted call is run, and its result is in the log of requests."""
    with asbru.sandbox.running() as sandbox:
        call = {"command": "echo scripted", "description": "Say it"}
        sandbox.reply(content=[{"type": "tool_use", "name": "Bash", "input": call}])
        sandbox.reply("All done.")
        code, report = ask(
            program, sandbox.url, tmp_path, "Go", "--model", "claude-opus-5-5", "--allowedTools", "Bash(echo *)"
        )
        last = sandbox.requests[-1]
    assert (code, report["result"]) == (0, "All done.")
    assert "scripted" in json.dumps(last.body["messages"][-1])


def test_broken_primary(program: Path, locked: Gateway, tmp_path: Path) -> None:
    """The fallback answers; Claude Code notices nothing."""
    code, report = ask(program, locked.url, tmp_path, "hi", "--model", "claude-resilient")
    assert code == 0 and report["result"].startswith("You said: “hi”.")
    record = locked.record_with(session_id=report["session_id"])
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["529", "200"]


@pytest.mark.parametrize(
    ("key", "model", "status"),
    [("sk-bf-unknown", "claude-text", 401), ("sk-ant-somebody", "claude-text", 401), (NARROW, "claude-text", 403)],
    ids=["unknown", "direct", "model"],
)
def test_refused(program: Path, locked: Gateway, tmp_path: Path, key: str, model: str, status: int) -> None:
    """The gateway's own error reaches the user in words, at once: nothing is gained by asking again."""
    credential = ("ANTHROPIC_API_KEY", key)
    code, report = ask(program, locked.url, tmp_path, "hi", "--model", model, credential=credential)
    assert code == 1 and report["is_error"] is True
    assert report["api_error_status"] == status
    assert "virtual key" in report["result"]
    record = locked.record_with(status=status, model=model) if status == 403 else locked.record_with(status=status)
    assert record["error_kind"] in ("virtual_key_not_found", "virtual_key_required", "model_blocked")
