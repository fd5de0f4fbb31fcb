"""Message threads when the place where one lives is gone: the official Python SDK must come through all the same.

The tool that the runner calls does the harm, between the turn that begins the thread and the one that continues it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import beta_tool

from tests.e2e.clients import MODEL, overheard
from tests.e2e.running import Gateway


class Restarts:
    """A gateway with the sandbox inside it, which forgets everything when it starts again at the same port."""

    def __init__(self, directory: Path, keys: list[str]) -> None:
        self._directory = directory
        self._config: dict[str, object] = {"providers": {"sandbox": {"keys": [{"value": key} for key in keys]}}}
        self.gateway = Gateway(directory / "first", self._config)

    def again(self) -> None:
        self.gateway.stop()
        self.gateway = Gateway(self._directory / "second", self._config, port=self.gateway.port)


@pytest.fixture(params=[["sk-one"], ["sk-one", "sk-two"]], ids=["one-key", "two-keys"])
def restarts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restarts]:
    made = Restarts(tmp_path, request.param)
    yield made
    made.gateway.stop()


def test_thread_stays_with_its_key(tmp_path: Path) -> None:
    """Of two keys the one that began a thread continues it, whichever that was."""

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Where.
        """
        return f"It rains in {city}."

    config: dict[str, object] = {"providers": {"sandbox": {"keys": [{"value": "sk-one"}, {"value": "sk-two"}]}}}
    with Gateway(tmp_path, config) as gateway:
        client, sent = overheard(gateway.url)
        with client:
            for number in range(30):
                final = client.beta.messages.tool_runner(
                    model=f"{MODEL}:thread-{number}",
                    max_tokens=300,
                    tools=[get_weather],
                    messages=[{"role": "user", "content": "Use get_weather"}],
                ).until_done()
                assert final.stop_reason == "end_turn"
    assert len(sent) == 60  # none had to be sent again
    keys: dict[str, list[str]] = {}
    for record in gateway.records():
        keys.setdefault(record["model"], []).append(record["attempts"][0]["key"])
    assert all(begun == continued for begun, continued in keys.values())
    assert {begun for begun, _ in keys.values()} == {"key-1", "key-2"}


def test_thread_that_nobody_remembers(restarts: Restarts, request: pytest.FixtureRequest) -> None:
    """With one key the provider is asked and knows no such thread; with two the gateway cannot tell whose it was."""

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Where.
        """
        restarts.again()
        return f"It rains in {city}."

    client, sent = overheard(restarts.gateway.url)
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 300, "tools": [get_weather]}
    with client:
        runner = client.beta.messages.tool_runner(**asked, messages=[{"role": "user", "content": "Use get_weather"}])
        final = runner.until_done()
    assert final.stop_reason == "end_turn"
    assert "It rains in Paris." in "".join(block.text for block in final.content if block.type == "text")
    begun, continued, resent = sent
    assert begun["thread"] == {"type": "create"}
    assert isinstance(continued["thread"], dict) and continued["thread"]["type"] == "continue"
    assert isinstance(resent["messages"], list) and len(resent["messages"]) == 3
    if "two-keys" in request.node.name:
        assert "thread" not in resent  # the gateway said that it does not do threads here
    else:
        assert resent["thread"] == {"type": "create"}  # the provider said that this one is gone
