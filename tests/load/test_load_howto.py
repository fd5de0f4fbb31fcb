"""What docs/how-to/providers.md shows is what is understood: each of its configurations loads as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from asbru.config import Config
from asbru.upstream.catalog import known_providers

Loads = Callable[..., Config]

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "providers.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
USUAL = {variable: "k" for known in known_providers().values() for variable in known.env}
ENVIRON = USUAL | dict.fromkeys(["AZURE_TENANT_ID", "AZURE_CLIENT_ID", *re.findall(r"env\.([A-Z_]+)", PAGE)], "k")
HOSTS = {
    "entra": "{like: azure-openai, resource: r,",
    "google": "{like: vertex, project: p,",
    "aws": "{like: bedrock, region: us-east-1,",
}


def whole(block: str) -> str:
    """A block of keys alone, with a provider around it."""
    if block.startswith("providers:"):
        return block
    kind = next(kind for kind in HOSTS if f"{kind}:" in block)
    settings = HOSTS[kind].strip("{,").replace(", ", "\n    ").replace(",", "\n    ")
    return f"providers:\n  x:\n    {settings}\n{block}"


@pytest.mark.parametrize("block", BLOCKS)
def test_a_configuration_loads(loads: Loads, tmp_path: Path, block: str) -> None:
    account = tmp_path / "account.json"
    account.touch()
    text = whole(block).replace("…", "x").replace("/etc/asbru/account.json", str(account))
    assert loads(f"server: {{port: 8099}}\n{text}", ENVIRON).providers


def test_every_known_provider_has_its_lines() -> None:
    shown = set(re.findall(r"^  ([a-z-]+):", "\n".join(BLOCKS), re.MULTILINE))
    assert known_providers().keys() - {"anthropic", "sandbox"} <= shown
