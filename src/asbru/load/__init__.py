"""The configuration: found, read, decoded, completed and checked, or refused with everything that is wrong with it.

`load` is all of that; `ConfigError` is what it raises. Its steps, each in a file of its own: ``files`` (bytes to plain
values), ``decode`` (plain values to structs, references resolved), ``complete`` (what was left unsaid), ``checks``
(what no single field can say). `redacted` and `describe` show a configuration to people; no secret comes out of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from asbru.config import Config, Provider
from asbru.load.checks import check, open_to_others
from asbru.load.complete import SANDBOX, complete
from asbru.load.decode import Decoder
from asbru.load.files import read
from asbru.load.problems import ConfigError, Problem
from asbru.load.view import describe, redacted

__all__ = ["ConfigError", "Problem", "describe", "find", "load", "open_to_others", "redacted", "source"]

CONFIG_VARIABLE = "ASBRU_CONFIG"
SCHEMA_KEY = "$schema"
USUAL_FILE = Path("asbru.yaml")


def find(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: the one named, or ``ASBRU_CONFIG``, or ``./asbru.yaml`` when it is there, or none."""
    if named is not None:
        return named
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    return USUAL_FILE if USUAL_FILE.is_file() else None


def source(path: Path | None) -> str:
    """How messages call what a configuration was read from."""
    return "environment" if path is None else str(path)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    host: str | None = None,
    port: int | None = None,
    sandbox: bool = False,
) -> Config:
    """The whole configuration from a file, or from the environment alone; ``host`` and ``port`` go before the file's.

    ``sandbox`` adds the built-in provider when it is not there by itself.
    Raises `ConfigError` with every problem found. The Config returned has its references resolved, and nothing is left
    to guess: see ``complete``.
    """
    name = source(path)
    raw, lines = (None, {}) if path is None else read(path)
    decoder = Decoder(name, environ, lines)
    if isinstance(raw, dict) and isinstance(raw.get(SCHEMA_KEY), str):
        del raw[SCHEMA_KEY]  # for editors
    config = decoder.decode(Config, raw)
    if config is not None:
        server = config.server
        server = replace(server, host=host or server.host, port=server.port if port is None else port)
        providers = (
            {**config.providers, SANDBOX: config.providers.get(SANDBOX, Provider())} if sandbox else config.providers
        )
        config = complete(replace(config, server=server, providers=providers), environ, decoder)
        if not decoder.problems:
            check(config, environ, decoder)
    if config is None or decoder.problems:
        raise ConfigError(name, decoder.problems)
    return config
