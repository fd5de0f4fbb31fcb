"""The sandbox's page says what there is: every option, every failing model, and an example that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import msgspec

from asbru.sandbox.failures import KINDS
from asbru.sandbox.models import Options
from tests.sandbox.calling import Sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "sandbox.md").read_text()
PLUGIN = "asbru.sandbox.pytest_plugin"


def rows(heading: str) -> set[str]:
    """The first cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_every_option_is_documented() -> None:
    named = {cell.partition("=")[0] for cell in rows("Steer it by the model's name")}
    assert named == set(msgspec.structs.asdict(Options()))


def test_every_failing_model_is_documented() -> None:
    assert rows("Make it fail") == {*KINDS, "error-<status>"}


def test_the_examples_work() -> None:
    bodies = [json.loads(body) for body in re.findall(r"-d '([^']+)'", PAGE)]
    assert len(bodies) == 2
    assert PAGE.count("-H 'anthropic-version: 2023-06-01'") == len(bodies)
    for body in bodies:
        body.pop("fallbacks", None)  # the gateway's own
        status = Sandbox().ask("POST", "/v1/messages", {**body, "model": body["model"].removeprefix("sandbox/")}).status
        assert status == (529 if "error-529" in body["model"] else 200)
    name = re.search(r"`(claude-[^`]+:chunks=[^`]+)` streams", PAGE)
    assert name is not None
    quick = name.group(1).replace("delay_ms=20", "delay_ms=0")
    assert len(Sandbox().message(model=quick, stream=True).stream().texts()) == 100


def run_python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120)


def test_the_example_for_pytest_works(tmp_path: Path) -> None:
    """In a process of its own, with the plugin named: what is installed here may be older than its entry point."""
    [example] = re.findall(r"```python\n(# test_agent\.py\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_agent.py").write_text(example)
    done = run_python(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", PLUGIN, "-p", "no:cacheprovider")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_without_pytest_works(tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(import asbru\.sandbox\n.*?)```", PAGE, re.DOTALL)
    done = run_python(tmp_path, "-W", "error", "-c", example)
    assert (done.returncode, done.stdout[:17]) == (0, "http://127.0.0.1:"), done.stderr


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"asbru_sandbox": PLUGIN}
    assert hasattr(import_module(PLUGIN), "asbru_sandbox")


def test_the_plugin_is_light(tmp_path: Path) -> None:
    """Every run of pytest imports it: only a test that uses the sandbox pays for it."""
    code = f"import sys, pytest; before = set(sys.modules); import {PLUGIN}; print(*sorted(set(sys.modules) - before))"
    done = run_python(tmp_path, "-c", code)
    assert done.stdout.split() == ["asbru", "asbru.sandbox", PLUGIN], done.stderr
