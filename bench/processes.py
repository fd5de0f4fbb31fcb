"""The processes of a bench run: started pinned to their core, watched, measured, and always ended.

CPU time is the kernel's own accounting in nanoseconds (`/proc/PID/task/*/schedstat`), summed over a process and
everything below it, so that gateways of several processes or threads are measured whole.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# With two cores: what is measured has the first for itself; load generator and upstreams share the rest.
CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORES = CORES[:1]
LOAD_CORES = CORES[1:] or CORES

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
"""Debian keeps nginx where an ordinary user's PATH does not look."""


class BenchError(Exception):
    """Something the person who runs the bench can mend; shown without a traceback."""


def program(name: str, package: str) -> str:
    """The path of a program, or an error that says which Debian package has it."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise BenchError(f"{name} is not installed: apt-get install {package}")
    return found


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def raise_file_limit() -> None:
    """2,000 streams through a gateway are 4,000 sockets; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def preferred(niceness: int = -15) -> Iterator[None]:
    """Have this session's processes go before those of others, where Linux has autogroups and lets us.

    Without it, what else runs on the machine is measured too.
    """
    group = Path("/proc/self/autogroup")
    with contextlib.suppress(OSError):
        group.write_text(str(niceness))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            group.write_text("0")


class Server:
    """One server process, from `start` to `stop`; its output goes to a file that error messages quote."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        cores: Sequence[int],
        log: Path,
        health: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = pinned(command, cores)
        self.port = port
        self.log = log
        self.health = health
        self.env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_s = 0.0
        """From the start of the process to its first good answer."""

    def start(self, timeout_s: float = 60.0) -> None:
        began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env={**os.environ, "PATH": SEARCH_PATH, **self.env}
            )
        while time.monotonic() - began < timeout_s:
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended at start:\n{self.log.read_text(errors='replace')[-2000:]}")
            try:
                if fetch(self.port, "GET", self.health)[0] < 500:
                    self.ready_s = time.monotonic() - began
                    return
            except OSError:
                time.sleep(0.01)
        self.stop()
        raise BenchError(f"{self.name} did not answer {self.health} on port {self.port}; see {self.log}")

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def cpu_ns(self) -> int:
        """Nanoseconds on a CPU so far, of the whole process tree."""
        return sum(
            int(task.read_text().split()[0])
            for pid in tree(self.pid)
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )

    def rss_kb(self) -> int:
        """Resident kilobytes of the whole process tree."""
        return sum(status_field(pid, "VmRSS") for pid in tree(self.pid))

    def threads(self) -> int:
        return sum(status_field(pid, "Threads") for pid in tree(self.pid))

    def open_files(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(self.pid))


def tree(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from tree(int(child))


def status_field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def fetch(port: int, method: str, path: str, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """One small request to 127.0.0.1, for health checks and the stream upstream's controls."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
