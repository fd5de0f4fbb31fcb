"""What a bench run found, as structs and as one table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import msgspec

PACED_EVENTS_PER_S = 20_000
"""Over all streams of a paced run: far enough below every gateway's limit that each event is read alone."""


@dataclass(frozen=True)
class Scenario:
    kind: str
    """``plain``, ``paced`` (streams, events one by one) or ``flat`` (streams as fast as they go)."""
    size_bytes: int
    connections: int

    @property
    def streamed(self) -> bool:
        return self.kind != "plain"

    def __str__(self) -> str:
        return f"{self.kind} {self.size_bytes // 1000} KB, {self.connections} connections"


class Run(msgspec.Struct, kw_only=True):
    requests_per_s: float
    cpu_us: float
    """Per request, of the gateway's whole process tree."""
    p50_ms: float
    p99_ms: float
    rss_mb: float
    failures: int


class Row(msgspec.Struct):
    scenario: Scenario
    gateway: str
    run: Run
    reference: str | None = None
    """The gateway that the ratio is against; None: the first of the run."""


class Idle(msgspec.Struct, kw_only=True):
    gateway: str
    streams: int
    ready_ms: float
    """From the start of the process to its first answer."""
    rss_mb: float
    open_rss_mb: float
    kb_per_stream: float
    closed_rss_mb: float


class Burst(msgspec.Struct, kw_only=True):
    gateway: str
    how: str
    """``at once`` or ``in sequence``."""
    seconds: float
    before_mb: float
    peak_mb: float
    after_mb: float
    settled_s: float
    """How long after the last answer that was."""
    failures: int


class Results(msgspec.Struct):
    rows: list[Row] = []
    idle: list[Idle] = []
    bursts: list[Burst] = []


def table(results: Results, *, markdown: bool) -> str:
    """The loads, and memory at rest."""
    first = {row.scenario: row.gateway for row in reversed(results.rows)}
    cpu_us = {(row.scenario, row.gateway): row.run.cpu_us for row in results.rows}
    loads = [["load", "gateway", "req/s", "CPU µs/req", "ratio", "p50 ms", "p99 ms", "RSS MB", "failed"]]
    for row in results.rows:
        run = row.run
        reference = cpu_us.get((row.scenario, row.reference or first[row.scenario]))
        ratio = "" if reference is None else f"{run.cpu_us / reference:.2f}"
        loads.append(
            [
                str(row.scenario),
                row.gateway,
                f"{run.requests_per_s:.0f}",
                f"{run.cpu_us:.1f}",
                f"{ratio} of {row.reference}" if ratio and row.reference else ratio,
                f"{run.p50_ms:.2f}",
                f"{run.p99_ms:.2f}",
                f"{run.rss_mb:.0f}",
                str(run.failures),
            ]
        )
    memory = [["idle streams", "gateway", "start ms", "RSS MB", "with streams MB", "KB/stream", "after MB"]]
    for it in results.idle:
        numbers = [f"{value:.1f}" for value in (it.rss_mb, it.open_rss_mb, it.kb_per_stream, it.closed_rss_mb)]
        memory.append([str(it.streams), it.gateway, f"{it.ready_ms:.0f}", *numbers])
    bursts = [
        [
            "memory after a burst",
            "gateway",
            "seconds",
            "before MB",
            "peak MB",
            "after MB",
            "growth MB",
            "after s",
            "failed",
        ]
    ]
    for burst in results.bursts:
        sizes = (burst.before_mb, burst.peak_mb, burst.after_mb, burst.after_mb - burst.before_mb)
        numbers = [f"{value:.1f}" for value in (burst.seconds, *sizes, burst.settled_s)]
        bursts.append([burst.how, burst.gateway, *numbers, str(burst.failures)])
    layout = as_markdown if markdown else as_text
    return "\n\n".join(layout(part) for part in (loads, memory, bursts) if len(part) > 1)


def as_text(cells: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def as_markdown(cells: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    rule = "|" + "|".join("---" if n < 2 else "---:" for n in range(len(cells[0]))) + "|"
    return "\n".join([head, rule, *body])


def grew(rss_kb: list[int]) -> bool:
    """Whether memory went on growing after the first fifth of a soak, by a tenth and 4 MB; prints the verdict."""
    fifth = max(1, len(rss_kb) // 5)
    early, late = statistics.median(rss_kb[fifth : 2 * fifth]), statistics.median(rss_kb[-fifth:])
    growth_kb = late - early
    grew = growth_kb > max(early / 10, 4096)
    print(f"memory: {early / 1024:.1f} MB early, {late / 1024:.1f} MB late: {'IT GREW' if grew else 'a plateau'}")
    return grew
