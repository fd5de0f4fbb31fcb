"""wrk as the load generator: one POST again and again on so many connections, its result read back as JSON."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from bench.config import HERE
from bench.processes import BenchError


class Result(msgspec.Struct, kw_only=True):
    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    errors: int
    """Connect, read, write and time-out errors."""
    bad_statuses: int


class Wrk:
    def __init__(self, command: list[str], out: Path) -> None:
        self.command = command
        self.out = out

    def run(
        self, port: int, path: str, headers: dict[str, str], body: bytes, connections: int, seconds: float
    ) -> Result:
        body_file, headers_file = self.out / "body.json", self.out / "headers.txt"
        body_file.write_bytes(body)
        headers_file.write_text("".join(f"{name}: {value}\n" for name, value in headers.items()))
        # A stream of the paced rows takes seconds when there are many; wrk's own limit is two.
        options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "60s", "-s", str(HERE / "post.lua")]
        url = f"http://127.0.0.1:{port}{path}"
        command = [*self.command, *options, url, "--", str(body_file), str(headers_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = done.stdout.strip().rpartition("\n")[2]
        if done.returncode != 0 or not last.startswith("{"):
            raise BenchError(f"wrk failed: {done.stdout}{done.stderr}")
        return msgspec.json.decode(last, type=Result)
