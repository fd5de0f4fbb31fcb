"""Python clients that are not ours to depend on: each in an environment of its own, made from a lock with hashes.

`python/NAME.py` has the cases of a client and `requirements/clients/NAME.txt` what is installed for it. The environment
is kept in the user's cache, under the digest of its lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.running import bare_environment

ROOT = Path(__file__).parent.parent.parent
INSTALL_S = 600
RUN_S = 180


def python_of(client: str) -> Path:
    """The Python that has the client; skips the test where it cannot be had."""
    lock = ROOT / "requirements" / "clients" / f"{client}.txt"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asbru-tests"
    kept = cache / f"{client}-{digest}"
    python = kept / "bin" / "python"
    if (kept / "complete").exists():
        return python
    if not find_spec("pip"):
        pytest.skip("needs pip, which is not installed here")
    shutil.rmtree(kept, ignore_errors=True)
    venv.create(kept, with_pip=False, symlinks=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, done.stderr
    (kept / "complete").touch()
    return python


def outcomes(client: str, home: Path, *arguments: str) -> dict[str, str | None]:
    """Case -> None, or what went wrong."""
    script = Path(__file__).parent / "python" / f"{client.replace('-', '_')}.py"
    run = subprocess.run(
        [python_of(client), "-W", "ignore", script, *arguments],
        cwd=home,
        env=bare_environment(home) | {"NO_PROXY": "127.0.0.1", "HTTP_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[str, str | None] = json.loads(run.stdout.splitlines()[-1])
    return found
