"""The official TypeScript SDK: `ts/run.mjs` has the cases, this runs them under Node against the gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.clients import PREFIXES
from tests.e2e.running import Gateway, Server

HERE = Path(__file__).parent / "ts"
INSTALL_S = 300
RUN_S = 120
CORE_CASES = 8
ALL_CASES = 21
"""How many there must be: a script that runs none of them must not pass."""


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the pinned packages of `ts/package.json` installed beside the script."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("needs node and npm, which are not installed here")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 18:
        pytest.skip(f"needs Node 18 or newer, and this is {version.strip()}")
    wanted = (HERE / "package.json").read_text()
    installed = HERE / "node_modules" / ".asbru-installed"
    if not installed.exists() or installed.read_text() != wanted:
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_S)
        assert done.returncode == 0, f"npm install failed:\n{done.stdout}{done.stderr}"
        installed.write_text(wanted)
    return program


@pytest.mark.parametrize("prefix", PREFIXES, ids=lambda prefix: prefix or "root")
def test_typescript_sdk(node: str, gateway: Gateway, sandbox: Server, prefix: str) -> None:
    """The core under every prefix, everything under two."""
    everything = prefix in ("", "/litellm/anthropic")
    label = "ts" + prefix.replace("/", "-")
    arguments = [gateway.url + prefix, sandbox.url, label, "all" if everything else "core"]
    run = subprocess.run(
        [node, "run.mjs", *arguments],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert run.returncode == 0, run.stderr
    outcomes: dict[str, str | None] = json.loads(run.stdout)
    assert {name: wrong for name, wrong in outcomes.items() if wrong is not None} == {}
    assert len(outcomes) == (ALL_CASES if everything else CORE_CASES)
    if everything:
        aborted = gateway.record_with(model=f"claude-sandbox:chunks=200,delay_ms=50,ts-abort-{label}")
        assert aborted["status"] == 499
        assert aborted["usage"]["input_tokens"] > 0
