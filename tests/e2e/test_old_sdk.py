"""The Python SDK of the API's first version: `old_sdk.py` has the cases, this runs them under every prefix.

Its three packages are kept apart from ours; everything else it needs is what our own SDK needs too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.clients import PREFIXES
from tests.e2e.running import Gateway, Server, bare_environment

SCRIPT = Path(__file__).parent / "old_sdk.py"
PACKAGES = ("anthropic==0.121.0", "httpx==0.28.1", "httpcore==1.0.9")
CASES = 9
INSTALL_S = 300
RUN_S = 120


@pytest.fixture(scope="module")
def old_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the old SDK in it."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if find_spec("pip"):
        installer = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    elif uv:
        installer = [uv, "pip", "install", "--python", sys.executable]
    else:
        pytest.skip("needs pip or uv, and neither is installed here")
    target = tmp_path_factory.mktemp("old-sdk")
    command = [*installer, "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(target), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("prefix", PREFIXES, ids=lambda prefix: prefix or "root")
def test_old_python_sdk(old_packages: Path, gateway: Gateway, sandbox: Server, tmp_path: Path, prefix: str) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            str(SCRIPT),
            gateway.url + prefix,
            sandbox.url,
            "old" + prefix.replace("/", "-"),
        ],
        env=bare_environment(tmp_path) | {"PYTHONPATH": str(old_packages), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert run.returncode == 0, run.stderr
    outcomes: dict[str, str | None] = json.loads(run.stdout)
    assert {name: wrong for name, wrong in outcomes.items() if wrong is not None} == {}
    assert len(outcomes) == CASES
