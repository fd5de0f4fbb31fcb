"""The neighbour's p99: how much longer somebody waits for small answers while another attacks the gateway.

The neighbour sends small requests at a steady rate over kept-alive connections; `hostile` runs one attack at a time.
Rounds alone and attacked alternate, a second each, and medians of the rounds are shown, because a machine's speed
drifts. A wait begins when the request was due, so that one stall counts for everybody who would have come meanwhile.
Beside each wait by the clock stands what the gateway worked during it, in CPU time: that leaves out the time in which
others had its core, and what the attack costs the client's and the upstream's.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import cast

import msgspec
import uvloop

from bench.config import HOSTILE_PORT
from bench.hostile import ATTACKS
from bench.processes import LOAD_CORES, Server, pinned

RATE_PER_S = 300
CONNECTIONS = 24
ROUND_S = 0.8
SETTLE_S = 0.4
"""How long an attack runs before a round begins, so that its connections stand, and how long nothing runs after it."""
LATE_S = 5.0


class Waits(msgspec.Struct):
    """One round's p99."""

    wall_ms: float
    cpu_ms: float


class Neighbour(msgspec.Struct):
    """One gateway under one attack; medians of the rounds."""

    gateway: str
    attack: str
    alone: Waits
    attacked: Waits
    per_s: float
    """The attacker's exchanges."""
    late: int
    """Requests of the neighbour that were not answered within some seconds."""


def measure_neighbours(
    name: str, server: Server, request: bytes, repeats: int, only: str, progress: Callable[[str], None]
) -> list[Neighbour]:
    """Every attack on one gateway; the attacks take turns, so that none has the machine's worst minute for itself."""
    chosen = [attack for attack in ATTACKS if only in attack]
    alone: dict[str, list[Waits]] = {attack: [] for attack in chosen}
    attacked: dict[str, list[Waits]] = {attack: [] for attack in chosen}
    done, late = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0)
    with _hostile(server.port) as hostile:
        for repeat in range(repeats):
            for attack in chosen:
                progress(f"neighbour: {name}, {attack} {repeat + 1}/{repeats}")
                waits, _ = uvloop.run(Client(server, request).run())
                alone[attack].append(waits)
                _order(hostile, attack)
                sleep(SETTLE_S)
                waits, unanswered = uvloop.run(Client(server, request).run())
                attacked[attack].append(waits)
                late[attack] += unanswered
                _order(hostile, "")
                assert hostile.stdout is not None
                done[attack] += int(hostile.stdout.readline())
                sleep(SETTLE_S)
    seconds = repeats * (ROUND_S + SETTLE_S)
    return [
        Neighbour(name, attack, _median(alone[attack]), _median(attacked[attack]), done[attack] / seconds, late[attack])
        for attack in chosen
    ]


def _median(waits: list[Waits]) -> Waits:
    return Waits(statistics.median(it.wall_ms for it in waits), statistics.median(it.cpu_ms for it in waits))


@contextlib.contextmanager
def _hostile(port: int) -> Iterator[subprocess.Popen[str]]:
    command = pinned([sys.executable, "-m", "bench.hostile", str(port), str(HOSTILE_PORT)], LOAD_CORES)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _order(process: subprocess.Popen[str], order: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{order}\n")
    process.stdin.flush()


class Client:
    """The neighbour, for one round."""

    def __init__(self, server: Server, request: bytes) -> None:
        self._server = server
        self._request = request
        self._free: deque[_Connection] = deque()
        self._due: deque[tuple[float, int]] = deque()
        self._wall_ms: list[float] = []
        self._cpu_ms: list[float] = []
        self._wanted = 0
        self._done = asyncio.Event()

    async def run(self) -> tuple[Waits, int]:
        """The round's p99, and how many were not answered."""
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._server.port)
            connections.append(connection)
            self._free.append(connection)
        began = monotonic()
        count = int(ROUND_S * RATE_PER_S)
        for number in range(count):
            due = began + number / RATE_PER_S
            await asyncio.sleep(due - monotonic())
            self._due.append((due, self._server.cpu_ns()))
            self.send()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered(count), LATE_S)
        for connection in connections:
            connection.close()
        missing = count - len(self._wall_ms)
        self._wall_ms += [LATE_S * 1000] * missing
        self._cpu_ms += [LATE_S * 1000] * missing
        return Waits(_p99(self._wall_ms), _p99(self._cpu_ms)), missing

    async def _all_answered(self, count: int) -> None:
        self._wanted = count
        if len(self._wall_ms) < count:
            await self._done.wait()

    def send(self) -> None:
        while self._due and self._free:
            self._free.popleft().send(self._request, *self._due.popleft())

    def answered(self, connection: _Connection, due: float, cpu_ns: int) -> None:
        self._wall_ms.append((monotonic() - due) * 1000)
        self._cpu_ms.append((self._server.cpu_ns() - cpu_ns) / 1e6)
        self._free.append(connection)
        self.send()
        if len(self._wall_ms) == self._wanted:
            self._done.set()


class _Connection(asyncio.Protocol):
    """Sends a request, and says when the first byte of its answer is there: the answers are small."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: tuple[float, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            self._client.answered(self, *asked)

    def send(self, request: bytes, due: float, cpu_ns: int) -> None:
        self._asked = due, cpu_ns
        self._transport.write(request)

    def close(self) -> None:
        self._transport.abort()


def _p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98]


def table(found: list[Neighbour]) -> list[list[str]]:
    """One row for each attack, one column for each gateway."""
    gateways = list(dict.fromkeys(it.gateway for it in found))
    cells = {(it.attack, it.gateway): it for it in found}
    rows = [["neighbour's p99 under: CPU ms + difference, wall ms + difference (attacker's exchanges/s)", *gateways]]
    for attack in dict.fromkeys(it.attack for it in found):
        row = [cells.get((attack, gateway)) for gateway in gateways]
        rows.append([attack, *("" if it is None else _cell(it) for it in row)])
    return rows


def _cell(it: Neighbour) -> str:
    cpu, wall = ((alone, attacked - alone) for alone, attacked in _pairs(it))
    late = f", {it.late} late" if it.late else ""
    return f"{cpu[0]:.1f} {cpu[1]:+.1f}, {wall[0]:.1f} {wall[1]:+.1f} ({it.per_s:.0f}{late})"


def _pairs(it: Neighbour) -> list[tuple[float, float]]:
    return [(it.alone.cpu_ms, it.attacked.cpu_ms), (it.alone.wall_ms, it.attacked.wall_ms)]
