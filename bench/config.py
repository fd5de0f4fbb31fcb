"""The bench's own configuration, `bench.toml`: which gateways to measure and how each is started."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from bench.processes import GATEWAY_CORES, BenchError, Server

HERE = Path(__file__).resolve().parent
HOSTILE_PORT = 9299
"""Where the hostile upstream of the row "neighbour's p99" listens."""


class Gateway(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    command: list[str]
    config_file: str | None = None
    """Filled in for each run; relative to the file that names it."""
    health: str = "/health"
    path: str = "/v1/messages"
    model: str = "claude-sonnet-4-5"
    reference: str | None = None
    """The gateway that its ratios are against; by default the first of the run."""
    loads: tuple[str, ...] = ("",)
    """Texts as for ``--only``: it is measured under the loads that have one of them in their names."""
    headers: dict[str, str] = {}
    env: dict[str, str] = {}

    def takes(self, load: str) -> bool:
        return any(text in load for text in self.loads)


class Bench(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    gateway: list[Gateway]


def load(path: Path, names: list[str]) -> list[Gateway]:
    """The gateways of the file, in its order; only those named, when any are."""
    gateways = msgspec.convert(tomllib.loads(path.read_text()), Bench).gateway
    known = [gateway.name for gateway in gateways]
    for name in names:
        if name not in known:
            raise BenchError(f"no gateway {name!r} in {path}; there are: {', '.join(known)}")
    return [
        msgspec.structs.replace(gateway, config_file=gateway.config_file and str(path.parent / gateway.config_file))
        for gateway in gateways
        if not names or gateway.name in names
    ]


def fill(text: str, values: dict[str, str | int]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def server(gateway: Gateway, port: int, upstream_port: int, out: Path) -> Server:
    """The gateway's process, its configuration written, not yet started."""
    values: dict[str, str | int] = {"port": port, "upstream_port": upstream_port, "out": str(out)}
    values["hostile_port"] = HOSTILE_PORT
    if gateway.config_file:
        template = Path(gateway.config_file)
        config = out / f"{gateway.name}{template.suffix}"
        config.write_text(fill(template.read_text(), values))
        values["config"] = str(config)
    return Server(
        gateway.name,
        [fill(word, values) for word in gateway.command],
        port=port,
        cores=GATEWAY_CORES,
        log=out / f"{gateway.name}.log",
        health=gateway.health,
        env={name: fill(value, values) for name, value in gateway.env.items()},
    )
