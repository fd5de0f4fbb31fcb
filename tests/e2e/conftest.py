"""One sandbox and one open gateway in front of it for all end-to-end tests, and clients for both.

The sandbox answers the same request with the same bytes, so what a client gets through the gateway can be held against
what it gets from the provider itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anthropic import Anthropic

from tests.e2e import claude_code
from tests.e2e.clients import PREFIXES, connect
from tests.e2e.running import Gateway, Server


@pytest.fixture(scope="session", autouse=True)
def _only_what_a_test_says() -> Iterator[None]:
    """Neither keys nor proxies of the machine reach the clients."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS"):
            patch.delenv(f"ANTHROPIC_{name}", raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def program() -> Path:
    """Claude Code; opt-in."""
    return claude_code.fetched()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("sandbox"), "sandbox", "--port", "0") as server:
        yield server


@pytest.fixture(scope="session")
def gateway(sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Open to everyone; one try per candidate, so that a failure is seen as it comes."""
    config: dict[str, object] = {
        "server": {"max_body_bytes": 4 << 20, "drain_s": 5},
        "providers": {"sandbox": {"base_url": sandbox.url, "max_retries": 0}},
        "models": {"fast": ["sandbox/claude-sandbox"]},
        "prices": {"sandbox/claude-sandbox:priced": {"input": 3, "output": 15}},
    }
    with Gateway(tmp_path_factory.mktemp("gateway"), config) as running:
        yield running


@pytest.fixture(scope="session")
def direct(sandbox: Server) -> Iterator[Anthropic]:
    """A client of the provider itself."""
    with connect(sandbox.url) as client:
        yield client


@pytest.fixture(params=PREFIXES, ids=lambda prefix: prefix or "root")
def client(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Anthropic]:
    """A client of the gateway, under each prefix."""
    with connect(gateway.url + request.param) as made:
        yield made


@pytest.fixture(params=("", "/litellm/anthropic"), ids=("root", "prefixed"))
def via(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Anthropic]:
    """A client of the gateway, under the root and under the longest prefix."""
    with connect(gateway.url + request.param) as made:
        yield made
