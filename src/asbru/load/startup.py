"""What decides whether `serve` starts with a valid configuration: the one list that `serve` and `check` share.

A start depends on the machine too: an address that is not here, a directory that is missing. Nothing is created and no
port is taken to find that out; only a port in use is left to the start itself, since `check` runs beside a gateway.
"""

from __future__ import annotations

from asbru.config import Config
from asbru.load.problems import Problem
from asbru.server.listen import ListenError, check_address
from asbru.telemetry.records import check_records, records_fault


def start_problems(config: Config) -> list[Problem]:
    """Every reason why a gateway cannot start with this configuration on this machine; none when it can."""
    problems = []
    try:
        check_records(config.log.records)
    except OSError as error:
        problems.append(Problem(("log", "records"), records_fault(config.log.records, error)))
    try:
        check_address(config.server.host, config.server.port)
    except ListenError as error:
        problems.append(Problem(("server",), str(error)))
    return problems
