"""The sandbox's page says what there is: every option, every failing model, and an example that works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from asbru.sandbox.failures import KINDS
from asbru.sandbox.models import Options
from tests.sandbox.calling import Sandbox

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "sandbox.md").read_text()


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
