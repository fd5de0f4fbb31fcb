"""What decides whether `serve` starts with a valid configuration: the one list that `serve` and `check` share.

A start depends on the machine too: an address that is not here, a directory that is missing. Nothing is created and no
port is taken to find that out; only a port in use is left to the start itself, since `check` runs beside a gateway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from asbru.config import Config
from asbru.load.problems import Problem
from asbru.server.listen import ListenError, check_address
from asbru.telemetry.records import check_records, records_fault


def start_problems(config: Config, environ: Mapping[str, str]) -> list[Problem]:
    """Every reason why a gateway cannot start with this configuration on this machine; none when it can."""
    problems = [*_certificate_problems(config, environ)]
    try:
        check_records(config.log.records)
    except OSError as error:
        problems.append(Problem(("log", "records"), records_fault(config.log.records, error)))
    try:
        check_address(config.server.host, config.server.port)
    except ListenError as error:
        problems.append(Problem(("server",), str(error)))
    return problems


def _certificate_problems(config: Config, environ: Mapping[str, str]) -> Iterator[Problem]:
    """OpenSSL passes over certificates that are missing, and then refuses every provider."""
    providers = config.providers.values()
    if not any((each.base_url or "").startswith("https:") and each.tls.ca_file is None for each in providers):
        return
    file, folders = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    if file and not Path(file).is_file():
        yield Problem(("environment",), f"environment: SSL_CERT_FILE: no such file: {file}")
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        yield Problem(("environment",), f"environment: SSL_CERT_DIR: no such directory: {folders}")
