"""Claude Code from npm: fetched once for this user, run without a terminal against the gateway, all else shut off.

Opt-in, because it is 174 MB to fetch: ASBRU_E2E_CLAUDE_CODE=1 (as on CI). It is kept in the user's cache.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.running import bare_environment

PACKAGE, VERSION = "@anthropic-ai/claude-code-linux-x64", "2.1.329"
FETCH_S = 900
RUN_S = 120
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "IS_SANDBOX": "1",
    # Nothing but loopback can be reached.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
}


def fetched() -> Path:
    """The program; skips the test where it was not asked for or cannot be had."""
    if not os.environ.get("ASBRU_E2E_CLAUDE_CODE"):
        pytest.skip("needs ASBRU_E2E_CLAUDE_CODE=1: it fetches Claude Code, 174 MB")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("needs Linux on x86-64, which is what the package is for")
    npm = shutil.which("npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asbru-tests"
    kept = cache / f"claude-code-{VERSION}"
    if not kept.exists():
        if npm is None:
            pytest.skip("needs npm, which is not installed here")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fetched:
            command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
            packed = subprocess.run(command, cwd=fetched, capture_output=True, text=True, timeout=FETCH_S)
            assert packed.returncode == 0, packed.stderr
            shutil.unpack_archive(next(Path(fetched).glob("*.tgz")), fetched, filter="data")
            (Path(fetched) / "package").rename(kept)
    return kept / "claude"


def launch(
    program: Path, url: str, home: Path, form: str, *arguments: str, credential: tuple[str, str]
) -> subprocess.CompletedProcess[str]:
    """One run of `claude -p` that reports in this form, at home in ``home``; a prompt is among the arguments."""
    name, key = credential
    return subprocess.run(
        [program, "-p", "--output-format", form, *arguments],
        cwd=home,
        env=bare_environment(home) | QUIET | {"ANTHROPIC_BASE_URL": url, name: key},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
