"""PydanticAI, LangChain and LiteLLM against the gateway, each under the prefix that is meant for it and under none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.python_clients import outcomes
from tests.e2e.running import Gateway

CLIENTS = {"pydantic-ai": ("/pydanticai", 5), "langchain-anthropic": ("/langchain", 4), "litellm": ("/litellm", 4)}


@pytest.mark.parametrize("own_prefix", [False, True], ids=["root", "prefixed"])
@pytest.mark.parametrize("client", CLIENTS)
def test_python_client(client: str, own_prefix: bool, gateway: Gateway, tmp_path: Path) -> None:
    prefix, cases = CLIENTS[client]
    found = outcomes(client, tmp_path, gateway.url + (prefix if own_prefix else ""), "claude-sandbox")
    assert {name: wrong for name, wrong in found.items() if wrong is not None} == {}
    assert len(found) == cases
