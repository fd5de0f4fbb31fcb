"""The configuration: found, read, decoded, completed and checked, or refused with everything that is wrong with it.

`load` is all of that; `ConfigError` is what it raises. Its steps, each in a file of its own: ``files`` (bytes to plain
values), ``decode`` (plain values to structs, references resolved), ``complete`` (what was left unsaid), ``checks``
(what no single field can say). `redacted` and `describe` show a configuration to people; no secret comes out of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from asbru.config import Config, Provider, Server
from asbru.load.checks import check, is_loopback, open_to_others
from asbru.load.complete import SANDBOX, complete
from asbru.load.decode import Decoder
from asbru.load.files import read
from asbru.load.problems import ConfigError, Problem, Value
from asbru.load.view import describe, redacted, summary

__all__ = [
    "ConfigError",
    "Problem",
    "describe",
    "find",
    "is_loopback",
    "load",
    "only_sandbox",
    "open_to_others",
    "redacted",
    "sandbox_by_default",
    "source",
    "summary",
]

CONFIG_VARIABLE = "ASBRU_CONFIG"
MAX_PORT = 65535
SCHEMA_KEY = "$schema"
USUAL_FILES = Path("asbru.yaml"), Path("asbru.yml")
HOST_VARIABLE, PORT_VARIABLE, PLATFORM_PORT_VARIABLE = "ASBRU_HOST", "ASBRU_PORT", "PORT"


def find(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: the one named, or ``ASBRU_CONFIG``, or ``./asbru.yaml`` or ``./asbru.yml``, or none."""
    if named is not None:
        return named
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    return next((file for file in USUAL_FILES if file.is_file()), None)


def sandbox_by_default(config: Config, file: Path | None) -> bool:
    """Whether the sandbox answers only because there is nothing else: no file names it."""
    if config.providers.keys() != {SANDBOX}:
        return False
    raw = None if file is None else read(file)[0]
    return not (isinstance(raw, dict) and raw.get("providers"))


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
    allow_missing_env: bool = False,
) -> Config:
    """The whole configuration from a file, or from the environment alone; ``host`` and ``port`` take precedence.

    ``sandbox`` adds the built-in provider when it is not there by itself. With ``allow_missing_env`` something
    stands for variables that are not set: the Config can be checked, not served.
    Raises `ConfigError` with every problem found. The Config returned has its references resolved, and nothing is left
    to guess: see ``complete``.
    """
    name = source(path)
    raw, lines = (None, {}) if path is None else read(path)
    decoder = Decoder(name, environ, lines, allow_missing=allow_missing_env)
    if isinstance(raw, dict) and isinstance(raw.get(SCHEMA_KEY), str):
        del raw[SCHEMA_KEY]  # for editors
    config = decoder.decode(Config, raw)
    if config is not None:
        server = _listening(config.server, raw, environ, host, port, decoder)
        providers = (
            {**config.providers, SANDBOX: config.providers.get(SANDBOX, Provider())} if sandbox else config.providers
        )
        config = complete(replace(config, server=server, providers=providers), environ, decoder)
        if not decoder.problems:
            check(config, environ, decoder)
    if config is None or decoder.problems:
        raise ConfigError(name, decoder.problems)
    return config


def _listening(
    server: Server,
    raw: Value,
    environ: Mapping[str, str],
    host: str | None,
    port: int | None,
    decoder: Decoder,
) -> Server:
    """Where to listen: as the command line says, the environment, the file, in this order.

    A platform's ``PORT`` is for whatever it runs, so a port in the file takes precedence over that one.
    """
    host = host or environ.get(HOST_VARIABLE, "").strip() or server.host
    if port is None:
        section = raw.get("server") if isinstance(raw, dict) else None
        in_file = isinstance(section, dict) and "port" in section
        names = (PORT_VARIABLE,) if in_file else (PORT_VARIABLE, PLATFORM_PORT_VARIABLE)
        name = next((name for name in names if environ.get(name, "").strip()), None)
        text = environ[name].strip() if name is not None else str(server.port)
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_PORT):
            decoder.note(("server", "port"), f"the environment variable {name} must be a port, 0 to {MAX_PORT}")
            return server
        port = int(text)
    return replace(server, host=host, port=port)
