"""Asbru as its users run it: `asbru serve` and `asbru sandbox` in processes of their own, on free ports.

`Server` starts a command and knows where it listens; `Gateway` is one that serves a configuration and keeps its
Records in a file. A server's environment is bare, so that no key or proxy of the machine gets into a test. Nothing
here knows a client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, object]
Entry = dict[str, Any]
"""A Record as JSON."""

START_S = 30.0
STOP_S = 15.0
RECORD_S = 15.0
PASSED_ON = ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START")


def bare_environment(home: Path) -> dict[str, str]:
    """What a command sees: where programs are, and a home with nothing in it."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"HOME": str(home), "LANG": "C.UTF-8"}


class Server:
    """A command of ours that listens; its standard error is kept in a file. Raises AssertionError if it does not."""

    def __init__(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ends_with = 0
        """The exit code that a test provokes."""
        self.may_say: str | None = None
        """A part of the one complaint that a test provokes."""
        self._errors = directory / "stderr.txt"
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "asbru", *arguments],
                cwd=directory,
                env=bare_environment(directory) | (environment or {}),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        watchdog = threading.Timer(START_S, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        watchdog.cancel()
        if "http://" not in first:
            self.kill()
            raise AssertionError(f"did not start: {first}{self.errors()}")
        self.url = "http://" + first.split("http://")[1].strip()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def rest_of_start(self) -> list[str]:
        """What `serve` prints below its address, read once: the last line is the command it says to try."""
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line.strip())
            if len(said) > 1 and said[-2] == "try:":
                break
        return said

    def errors(self) -> str:
        """Everything it has said on its standard error."""
        return self._errors.read_text()

    def resident_bytes(self) -> int:
        """Memory in use, as the kernel counts it."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End it as a supervisor would; it must exit as it should and have nothing else to complain about."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        finally:
            self.kill()
        assert code == self.ends_with, f"exit code {code}: {self.errors()}"
        bad = [line for line in self.errors().splitlines() if " ERROR " in line or line.startswith("Traceback")]
        assert all(self.may_say is not None and self.may_say in line for line in bad), self.errors()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()


class Gateway(Server):
    """`asbru serve` with this configuration."""

    def __init__(
        self, directory: Path, config: Json, *, port: int = 0, environment: dict[str, str] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.records_file = directory / "records.jsonl"
        file = directory / "asbru.json"
        file.write_text(json.dumps({"log": {"records": str(self.records_file)}} | config))
        super().__init__(directory, "serve", "--config", str(file), "--port", str(port), environment=environment)
        self.said = self.rest_of_start()

    @property
    def example(self) -> str:
        """The command that the start says to try."""
        return self.said[-1]

    def records(self) -> list[Entry]:
        """The Records written so far, oldest first."""
        if not self.records_file.exists():
            return []
        written, _, _ = self.records_file.read_text().rpartition("\n")
        return [json.loads(line) for line in written.splitlines()]

    def record(self, request_id: str | None) -> Entry:
        """The Record of an exchange, by the gateway's id of it or by the provider's; waits until it is written."""
        return self._first(lambda record: request_id in identities(record))

    def record_with(self, **facts: object) -> Entry:
        """The newest Record that says this; waits until there is one."""
        return self._first(lambda record: facts.items() <= {name: record.get(name) for name in facts}.items())

    def _first(self, is_wanted: Callable[[Entry], bool]) -> Entry:
        end = time.monotonic() + RECORD_S
        while time.monotonic() < end:
            for record in reversed(self.records()):
                if is_wanted(record):
                    return record
            time.sleep(0.02)  # they are written in batches, four times a second
        raise AssertionError("there is no such record")


def identities(record: Entry) -> set[str | None]:
    """Every request id that an exchange has had."""
    return {record["request_id"], *(attempt.get("upstream_request_id") for attempt in record.get("attempts", []))}
