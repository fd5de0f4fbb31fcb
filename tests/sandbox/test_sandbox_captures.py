"""Every recorded request of a real client: taken, or refused for the reason that the real API would give.

The recordings were made against a server that accepted everything, so some of them are not requests that the real API
would take; `REFUSED` says which and why.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sandbox.calling import Asked, Sandbox, kinds

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
FILES = sorted(CAPTURES.glob("*.json"))

UNSIGNED = "messages.1.content.0: Invalid `signature` in `thinking` block"
UNKNOWN_THREAD = "thread: no thread ends with the message msg_01CaptureServer0000000000"
NO_BATCH = "Message Batch msgbatch_01Capture not found."
NO_FILE = "File not found: file_01Capture"
SYSTEM_ROLE = "role 'system' is not supported on this model"
REFUSED: dict[str, tuple[int, str]] = {
    # Sampling fields no longer exist in the version the client asks for.
    "anthropic-py-create-full": (400, "temperature: Extra inputs are not permitted"),
    # claude-sonnet-5 thinks adaptively only.
    "anthropic-py-stream-thinking": (400, '"thinking.type.enabled" is not supported for this model.'),
    "anthropic-py-system-role": (400, SYSTEM_ROLE),
    # The signatures were made up by the recording server.
    "anthropic-py-tool-result": (400, UNSIGNED),
    "anthropic-py-0.121-tool-result": (400, UNSIGNED),
    "claude-code-continue": (400, UNSIGNED.replace(".1.", ".2.")),
    # What they continue or look for was never made here.
    "anthropic-py-beta-tool-runner-2": (404, UNKNOWN_THREAD),
    "anthropic-py-runner-tool_notfound-2": (404, UNKNOWN_THREAD),
    "anthropic-ts-tool-runner-2": (404, UNKNOWN_THREAD),
    "anthropic-py-files-delete": (404, NO_FILE),
    "anthropic-py-files-meta": (404, NO_FILE),
    **{
        f"anthropic-{name}": (404, NO_BATCH)
        for name in (
            "py-0.121-batch-results",
            "py-batch-cancel",
            "py-batch-delete",
            "py-batch-results",
            "py-batch-results-2",
            "py-batch-retrieve",
            "ts-batch-results",
            "ts-batch-results-2",
        )
    },
}


def replay(name: str, without: tuple[str, ...] = (), text: str | None = None) -> Asked:
    """The recorded request, as it was, without some top-level fields, or with another ``text`` from the user."""
    capture = json.loads((CAPTURES / f"{name}.json").read_text())
    body = capture.get("body_raw") or ""
    if without:
        body = json.dumps({key: value for key, value in json.loads(body).items() if key not in without})
    if text is not None:
        made = json.loads(body)
        [user] = [message for message in made["messages"] if message["role"] == "user"]
        user["content"][-1]["text"] = text
        body = json.dumps(made)
    return Sandbox().ask(
        capture["method"],
        capture["path"],
        body.encode(),
        headers={
            "x-api-key": "",
            "anthropic-version": "",
            **{key.lower(): value for key, value in capture["headers"]},
        },
    )


def test_there_are_recordings() -> None:
    assert len(FILES) > 100
    assert set(REFUSED) <= {path.stem for path in FILES}


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_recorded_requests(name: str) -> None:
    asked = replay(name)
    status, words = REFUSED.get(name, (200, ""))
    assert asked.status == status, asked.response
    if status != 200:
        assert str(asked.error()["message"]).startswith(words)
        return
    assert asked.finished
    if asked.response_headers["content-type"].startswith("text/event-stream"):
        asked.stream()


def test_claude_code_is_asked_to_use_a_tool_and_answered_after_its_result() -> None:
    first = replay("claude-code-hi", text="Run Bash").stream().message
    assert kinds(first) == ["thinking", "text", "tool_use"]
    second = replay("claude-code-tool-2").stream().message
    assert kinds(second) == ["thinking", "text"]
    assert kinds(replay("claude-code-websearch-2").stream().message)[:2] == ["thinking", "server_tool_use"]


def test_claude_code_with_all_its_tools_is_answered_in_text() -> None:
    assert kinds(replay("claude-code-hi").stream().message) == ["thinking", "text"]
    assert kinds(replay("claude-code-nobetas").stream().message) == ["thinking", "text"]


def test_the_request_with_everything_is_taken_without_its_sampling() -> None:
    message = replay("anthropic-py-create-full", ("temperature", "top_p", "top_k")).json()
    assert kinds(message) == ["thinking", "text", "text", "text"]
