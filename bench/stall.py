"""The longest stall: how long a gateway answers nobody while it works on a hostile body.

One connection asks for the gateway's health, again and again; another sends one body of `attacks.ATTACKS`. What is
reported is the longest wait of the former, and what the attack cost in CPU time. Each attack is made several times and
the shortest of the longest waits counts: a stall of the gateway is there every time, one of the machine is not.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import msgspec

from bench.attacks import ATTACKS
from bench.clients import request_bytes
from bench.config import Gateway
from bench.processes import Server

_PAUSE_S = 0.001
_TIMEOUT_S = 60.0


class Stall(msgspec.Struct):
    """One gateway under one attack."""

    gateway: str
    attack: str
    status: int
    """What the attacker was answered with; 0 when the connection was cut."""
    stall_ms: float
    stall_cpu_ms: float
    """What the gateway itself worked during such a wait: without the time in which others had its core."""
    cpu_ms: float


def measure_stalls(
    gateway: Gateway, server: Server, headers: dict[str, str], repeats: int, only: str, progress: Callable[[str], None]
) -> list[Stall]:
    """Every attack on one gateway, one after another."""
    found = []
    for name, body_of in ATTACKS.items():
        if only not in name:
            continue
        progress(f"stall: {gateway.name}, {name}")
        request = request_bytes(gateway.path, headers, body_of(gateway.model))
        runs = [_attack(gateway, server, name, request) for _ in range(repeats)]
        found.append(min(runs, key=lambda run: run.stall_cpu_ms))
    return found


def _attack(gateway: Gateway, server: Server, name: str, request: bytes) -> Stall:
    status = 0

    def send() -> None:
        nonlocal status
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), _TIMEOUT_S) as client:
            threading.Thread(target=_send_all, args=(client, request), daemon=True).start()
            status = int(client.recv(1024)[9:12] or 0)
            while client.recv(65_536) and status == 200:  # to the end of the stream, as far as it comes
                pass

    cpu_before = server.cpu_ns()
    attacker = threading.Thread(target=send)
    attacker.start()
    longest_s = longest_cpu_ns = 0.0
    with socket.create_connection(("127.0.0.1", server.port), _TIMEOUT_S) as probe:
        probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while attacker.is_alive():
            began, busy_ns = time.perf_counter(), server.cpu_ns()
            probe.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            probe.recv(4096)
            longest_s = max(longest_s, time.perf_counter() - began)
            longest_cpu_ns = max(longest_cpu_ns, server.cpu_ns() - busy_ns)
            time.sleep(_PAUSE_S)
    cpu_ms = (server.cpu_ns() - cpu_before) / 1e6
    return Stall(gateway.name, name, status, longest_s * 1000, longest_cpu_ns / 1e6, cpu_ms)


def _send_all(client: socket.socket, request: bytes) -> None:
    with contextlib.suppress(OSError):  # refused in the middle
        client.sendall(request)


def table(stalls: list[Stall]) -> list[list[str]]:
    """One row for each attack, one column for each gateway: the longest stall, and the CPU time."""
    gateways = list(dict.fromkeys(stall.gateway for stall in stalls))
    cells = {(stall.attack, stall.gateway): stall for stall in stalls}
    rows = [["longest stall: CPU ms, wall ms (status, CPU ms of the attack)", *gateways]]
    for attack in dict.fromkeys(stall.attack for stall in stalls):
        row = [cells.get((attack, gateway)) for gateway in gateways]
        rows.append([attack, *("" if it is None else _cell(it) for it in row)])
    cpu = [max(stall.stall_cpu_ms for stall in stalls if stall.gateway == gateway) for gateway in gateways]
    wall = [max(stall.stall_ms for stall in stalls if stall.gateway == gateway) for gateway in gateways]
    return [*rows, ["longest", *(f"{own:.0f}, {all:.0f}" for own, all in zip(cpu, wall, strict=True))]]


def _cell(it: Stall) -> str:
    return f"{it.stall_cpu_ms:.0f}, {it.stall_ms:.0f} ({it.status}, {it.cpu_ms:.0f})"
