"""How long `asbru serve` takes to its first answered request, and how much memory it has then.

    python -m bench.startup [--runs N] [--gateway COMMAND]

The clock starts before the process does and stops when a whole message has come back from the built-in sandbox, so it
holds the interpreter, every import, the listener and one request. Each run is a new process in an empty directory with
a bare environment; the first is shown apart, because the files it reads may not be in the page cache yet. COMMAND
measures another gateway: ``{port}`` in it stands for the port to listen on.

Memory is that of the process and everything below it. Asbru reads its prices in a process that lives for a moment after
the start: "later" is when that has ended and some more requests have been answered.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.processes import status_field, tree

START_LIMIT_S, RSS_LIMIT_MB = 0.8, 60.0
PATIENCE_S = 60.0
SETTLE_S = 10.0
MORE = 200
"""Requests after which memory is read again."""
COMMAND = f"{Path(sys.executable).parent / 'asbru'} serve --port {{port}}"
BODY = msgspec.json.encode(
    {"model": "claude-sandbox", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
)
HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "bench"}


class Start(NamedTuple):
    seconds: float
    first_mb: float
    later_mb: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def ask(port: int) -> bool:
    """Whether a message was answered; false while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/v1/messages", BODY, HEADERS)
        response = connection.getresponse()
        answer = response.read()
    except OSError:
        return False
    finally:
        connection.close()
    if response.status != 200:
        raise SystemExit(f"the first request was answered with {response.status}: {answer[:300]!r}")
    return True


def resident_mb(pid: int) -> tuple[float, int]:
    """Memory, and how many processes have it."""
    while True:
        with contextlib.suppress(OSError):  # one ended between being found and being looked at: look again
            sizes_kb = [status_field(each, "VmRSS") for each in tree(pid)]
            return sum(sizes_kb) * 1024 / 1e6, len(sizes_kb)


def start(command: str) -> Start:
    """One start, measured, and ended again."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            shlex.split(command.format(port=port)),
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": directory},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            while not ask(port):
                if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                    errors.seek(0)
                    raise SystemExit(f"it did not start:\n{errors.read()}")
                time.sleep(0.001)
            seconds = time.perf_counter() - began
            first_mb, _ = resident_mb(process.pid)
            for _ in range(MORE):
                ask(port)
            settled = time.perf_counter() + SETTLE_S
            later_mb, processes = resident_mb(process.pid)
            while processes > 1 and time.perf_counter() < settled:
                time.sleep(0.05)
                later_mb, processes = resident_mb(process.pid)
            return Start(seconds, first_mb, later_mb)
        finally:
            process.terminate()
            process.wait()


def line(name: str, values: list[float], unit: str, limit: float | None = None) -> str:
    aim = "" if limit is None else f"   aim: below {limit:g} {unit}"
    shown = f"median {statistics.median(values):7.3f} {unit}   worst {max(values):7.3f} {unit}"
    return f"{name:<34}{shown}{aim}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to the first answered request, and resident memory.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--gateway", default=COMMAND, metavar="COMMAND", help="default: %(default)s")
    asked = parser.parse_args()
    first = start(asked.gateway)
    starts = [start(asked.gateway) for _ in range(max(1, asked.runs))]
    print(f"{len(starts)} starts of: {asked.gateway}")
    print(f"{'the very first start':<34}       {first.seconds:7.3f} s")
    print(line("start to first answer", [each.seconds for each in starts], "s", START_LIMIT_S))
    print(line("resident after the first answer", [each.first_mb for each in starts], "MB", RSS_LIMIT_MB))
    print(line(f"resident later, {MORE} requests on", [each.later_mb for each in starts], "MB", RSS_LIMIT_MB))


if __name__ == "__main__":
    main()
