"""The bench: requests per second, CPU per request, latency and memory of gateways beside nginx, in one table.

    python -m bench.run [--quick] [--markdown] [--gateway NAME …] [--only TEXT] [--soak SECONDS] [--serve NAME]

What is measured and why stands in bench/README.md. Runs are interleaved (every gateway once, then again) and the
medians shown, because a machine's speed drifts while it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from bench import burst, config, neighbour, report, stall
from bench.bodies import REQUEST_HEADERS, RESPONSE_HEADERS, plain_answer, request_body
from bench.clients import IdleStreams, Soak, request_bytes
from bench.config import Gateway
from bench.dialects import ANSWERS
from bench.processes import LOAD_CORES, BenchError, Server, fetch, pinned, preferred, program, raise_file_limit
from bench.report import Idle, Results, Row, Run, Scenario
from bench.upstream import EVENTS
from bench.wrk import Wrk

OUT = config.HERE / "out"
UPSTREAM_PORT = 9290
GATEWAY_PORT = 9300

BURST = "memory after a burst"
SCENARIOS = [
    Scenario(kind, size_bytes, connections)
    for kind, sizes in (("plain", (1_000, 100_000)), ("paced", (1_000, 100_000)), ("flat", (1_000,)))
    for size_bytes in sizes
    for connections in (32, 256)
]


class Field:
    """The upstream and every gateway on it, running, from `start` to `stop`."""

    def __init__(self, gateways: list[Gateway], streamed: bool) -> None:
        self.upstream = stream_upstream() if streamed else plain_upstream()
        self.gateways = gateways
        self.servers = [
            config.server(gateway, GATEWAY_PORT + n, UPSTREAM_PORT, OUT) for n, gateway in enumerate(gateways)
        ]

    def start(self) -> None:
        self.upstream.start()
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        for server in (*self.servers, self.upstream):
            server.stop()

    def pairs(self) -> Iterator[tuple[Gateway, Server]]:
        return zip(self.gateways, self.servers, strict=True)


@contextlib.contextmanager
def running(gateways: list[Gateway], *, streamed: bool) -> Iterator[Field]:
    field = Field(gateways, streamed)
    try:
        field.start()
        yield field
    finally:
        field.stop()


def plain_upstream() -> Server:
    headers = "\n".join(f"        add_header {name} '{value}';" for name, value in RESPONSE_HEADERS.items())
    values: dict[str, str | int] = {
        "port": UPSTREAM_PORT,
        "out": str(OUT),
        "headers": headers,
        "answer": plain_answer().decode(),
        "answers": "\n".join(
            f"        location /{dialect}/ {{ return 200 '{answers.plain.decode()}'; }}"
            for dialect, answers in ANSWERS.items()
        ),
    }
    path = OUT / "nginx-upstream.conf"
    path.write_text(config.fill((config.HERE / path.name).read_text(), values))
    command = [program("nginx", "nginx-light"), "-p", str(OUT), "-e", "stderr", "-c", str(path)]
    return upstream(command)


def stream_upstream() -> Server:
    return upstream([sys.executable, "-m", "bench.upstream", str(UPSTREAM_PORT)])


def upstream(command: list[str]) -> Server:
    log = OUT / "upstream.log"
    return Server("upstream", command, port=UPSTREAM_PORT, cores=LOAD_CORES, log=log, health="/bench/counters")


def counters() -> dict[str, int]:
    return msgspec.json.decode(fetch(UPSTREAM_PORT, "GET", "/bench/counters")[1], type=dict[str, int])


def body_of(gateway: Gateway, size_bytes: int, *, stream: bool) -> bytes:
    return request_body(size_bytes, stream=stream, model=gateway.model)


def headers_of(gateway: Gateway) -> dict[str, str]:
    return {**REQUEST_HEADERS, **gateway.headers}


def measure(scenario: Scenario, gateway: Gateway, server: Server, wrk: Wrk, seconds: float) -> Run:
    """One run of one gateway under one load."""
    if scenario.streamed:
        fetch(UPSTREAM_PORT, "POST", f"/bench/{scenario.kind}?events_per_s={report.PACED_EVENTS_PER_S}")
    body = body_of(gateway, scenario.size_bytes, stream=scenario.streamed)
    events_before = counters()["events"] if scenario.streamed else 0
    cpu_before = server.cpu_ns()
    result = wrk.run(server.port, gateway.path, headers_of(gateway), body, scenario.connections, seconds)
    cpu_ns = server.cpu_ns() - cpu_before
    # A run ends in the middle of many streams, so streams are counted in events, not in those that were finished.
    requests = (counters()["events"] - events_before) / EVENTS if scenario.streamed else result.requests
    return Run(
        requests_per_s=requests / (result.duration_us / 1e6),
        cpu_us=cpu_ns / 1000 / max(requests, 1),
        p50_ms=result.p50_us / 1000,
        p99_ms=result.p99_us / 1000,
        rss_mb=server.rss_kb() / 1024,
        failures=result.errors + result.bad_statuses,
    )


def measure_scenario(scenario: Scenario, field: Field, repeats: int, seconds: float) -> list[Row]:
    """One load on every gateway that takes it, interleaved; medians of the repeats."""
    wrk = Wrk(pinned([program("wrk", "wrk")], LOAD_CORES), OUT)
    pairs = [(gateway, server) for gateway, server in field.pairs() if gateway.takes(str(scenario))]
    runs: dict[str, list[Run]] = {gateway.name: [] for gateway, _ in pairs}
    for repeat in range(repeats + 1):
        for gateway, server in pairs:
            progress(f"{scenario}: {gateway.name} {'warm-up' if repeat == 0 else f'{repeat}/{repeats}'}")
            run = measure(scenario, gateway, server, wrk, seconds if repeat else min(seconds, 1.0))
            if repeat:
                runs[gateway.name].append(run)
    return [Row(scenario, gateway.name, median(runs[gateway.name]), gateway.reference) for gateway, _ in pairs]


def median(runs: list[Run]) -> Run:
    """The middle of each number; the failures added up."""
    return Run(
        requests_per_s=statistics.median(run.requests_per_s for run in runs),
        cpu_us=statistics.median(run.cpu_us for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        rss_mb=statistics.median(run.rss_mb for run in runs),
        failures=sum(run.failures for run in runs),
    )


async def measure_idle(gateway: Gateway, server: Server, streams: int) -> Idle:
    """Memory of many open streams in which nothing happens, on a fresh process."""
    fetch(UPSTREAM_PORT, "POST", "/bench/idle")
    request = request_bytes(gateway.path, headers_of(gateway), body_of(gateway, 100_000, stream=True))
    idle = IdleStreams(server.port, request)
    await idle.start(1)
    await idle.close()
    before_kb = server.rss_kb()
    try:
        await idle.start(streams)
        open_kb = server.rss_kb()
    finally:
        await idle.close()
    await upstream_quiet(gateway.name)
    return Idle(
        gateway=gateway.name,
        streams=streams,
        ready_ms=server.ready_s * 1000,
        rss_mb=before_kb / 1024,
        open_rss_mb=open_kb / 1024,
        kb_per_stream=(open_kb - before_kb) / streams,
        closed_rss_mb=server.rss_kb() / 1024,
    )


async def measure_burst(gateway: Gateway, server: Server) -> list[report.Burst]:
    body = body_of(gateway, 1_000, stream=False)
    small, large = (
        request_bytes(gateway.path, headers_of(gateway), content) for content in (body, burst.large_body(body))
    )
    return await burst.measure_burst(gateway.name, server, small, large)


async def upstream_quiet(name: str) -> None:
    """Wait until the gateway has let go of every stream whose client is gone."""
    for _ in range(200):
        if (still_open := counters()["open"]) == 0:
            return
        await asyncio.sleep(0.05)
    raise BenchError(f"{name}: clients are gone for 10 s, but {still_open} streams are still open upstream")


async def soak(gateway: Gateway, server: Server, seconds: float) -> bool:
    """Load of every kind for a long time; whether anything grew."""
    fetch(UPSTREAM_PORT, "POST", f"/bench/paced?events_per_s={report.PACED_EVENTS_PER_S}")

    def request(size_bytes: int, *, stream: bool) -> bytes:
        return request_bytes(gateway.path, headers_of(gateway), body_of(gateway, size_bytes, stream=stream))

    load = Soak(
        server.port,
        plain=request(1_000, stream=False),
        plain_large=request(100_000, stream=False),
        stream=request(1_000, stream=True),
    )
    samples: list[int] = []
    files_before = server.open_files()
    print(f"{gateway.name}, {seconds:.0f} s")
    print(f"{'s':>6} {'exchanges':>10} {'RSS MB':>8} {'files':>6} {'threads':>8} {'open upstream':>14}")
    every_s = min(30.0, seconds / 4)

    def sample(done: Counter[str]) -> None:
        samples.append(server.rss_kb())
        print(
            f"{len(samples) * every_s:6.0f} {done.total():10} {samples[-1] / 1024:8.1f} {server.open_files():6} "
            f"{server.threads():8} {counters()['open']:14}",
            flush=True,
        )

    await load.run(64, seconds, every_s, sample)
    await upstream_quiet(gateway.name)
    print(f"after: {server.rss_kb() / 1024:.1f} MB, {server.open_files()} files ({files_before} at start)")
    print(f"exchanges: {dict(load.done)}")
    return report.grew(samples)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    raise_file_limit()
    OUT.mkdir(exist_ok=True)
    gateways = config.load(options.config, options.gateway)
    if options.serve:
        return serve(config.load(options.config, [options.serve]), streamed=options.streamed)
    if options.soak:
        with running(config.load(options.config, options.gateway or ["asbru"]), streamed=True) as field:
            grew = [uvloop.run(soak(gateway, server, options.soak)) for gateway, server in field.pairs()]
        return 1 if any(grew) else 0
    if options.stall:
        return stalls(options)
    if options.neighbour:
        return neighbours(options)
    results = Results()
    try:
        measure_all(options, gateways, results)
    finally:  # what was measured before something failed is worth seeing
        progress("")
        print(report.table(results, markdown=options.markdown))
        (OUT / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return 1 if any(row.run.failures for row in results.rows) else 0


def measure_all(options: argparse.Namespace, gateways: list[Gateway], results: Results) -> None:
    """First the loads on the plain upstream, then memory at rest and the loads on the one that streams."""
    scenarios = [scenario for scenario in SCENARIOS if options.only in str(scenario)]
    for streamed in (False, True):
        chosen = [scenario for scenario in scenarios if scenario.streamed is streamed]
        wants_idle = streamed and options.only in f"idle {options.streams}"
        wants_burst = not streamed and options.only in BURST
        if not chosen and not wants_idle and not wants_burst:
            continue
        with running(gateways, streamed=streamed) as field:
            if wants_burst:
                for gateway, server in field.pairs():
                    if gateway.takes(BURST):
                        progress(f"{BURST}: {gateway.name}")
                        results.bursts += uvloop.run(measure_burst(gateway, server))
            if wants_idle:
                for gateway, server in field.pairs():
                    if not gateway.takes(f"idle {options.streams}"):
                        continue
                    progress(f"idle streams: {gateway.name}")
                    results.idle.append(uvloop.run(measure_idle(gateway, server, options.streams)))
            for scenario in chosen:
                results.rows += measure_scenario(scenario, field, options.repeats, options.seconds)


def stalls(options: argparse.Namespace) -> int:
    """The longest stall under each attack, of Asbru alone: nginx reads no bodies."""
    found: list[stall.Stall] = []
    with running(asbrus(options), streamed=True) as field:
        fetch(UPSTREAM_PORT, "POST", "/bench/flat")
        for gateway, server in field.pairs():
            headers = {**headers_of(gateway), "connection": "close"}
            found += stall.measure_stalls(gateway, server, headers, options.repeats, options.only, progress)
    progress("")
    layout = report.as_markdown if options.markdown else report.as_text
    print(layout(stall.table(found)))
    (OUT / "stalls.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return 0


def neighbours(options: argparse.Namespace) -> int:
    """The p99 of small requests beside each attack, of Asbru alone; one gateway unless others are named."""
    gateways = asbrus(options)
    found: list[neighbour.Neighbour] = []
    with preferred(), running(gateways if options.gateway else gateways[:1], streamed=False) as field:
        for gateway, server in field.pairs():
            small = request_bytes(gateway.path, headers_of(gateway), body_of(gateway, 1_000, stream=False))
            repeats = min(options.repeats, 3)
            found += neighbour.measure_neighbours(gateway.name, server, small, repeats, options.only, progress)
    progress("")
    layout = report.as_markdown if options.markdown else report.as_text
    print(layout(neighbour.table(found)))
    (OUT / "neighbours.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return 0


def asbrus(options: argparse.Namespace) -> list[Gateway]:
    """The gateways that are named, otherwise every Asbru."""
    gateways = config.load(options.config, options.gateway)
    return [gateway for gateway in gateways if options.gateway or "asbru" in gateway.name]


def serve(gateways: list[Gateway], *, streamed: bool) -> int:
    """Keep one gateway and its upstream running, to point a profiler at."""
    with running(gateways, streamed=streamed) as field:
        fetch(UPSTREAM_PORT, "POST", f"/bench/paced?events_per_s={report.PACED_EVENTS_PER_S}")
        for gateway, server in field.pairs():
            print(f"{gateway.name}: pid {server.pid}, http://127.0.0.1:{server.port}{gateway.path}; Ctrl-C ends it")
        ending = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ending)
        signal.sigwait(ending)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.run", description="Measure gateways beside nginx.")
    parser.add_argument("--config", type=Path, default=config.HERE / "bench.toml")
    parser.add_argument("--gateway", action="append", default=[], metavar="NAME", help="only these (repeatable)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only loads with this in their name, such as 'paced 1 KB'"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    parser.add_argument("--streams", type=int, default=2000, help="idle streams to hold open")
    parser.add_argument("--quick", action="store_true", help="one run of three seconds each: a rough picture")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS", help="mixed load; exit 1 when memory grows")
    parser.add_argument("--stall", action="store_true", help="only the longest stall under hostile bodies")
    parser.add_argument("--neighbour", action="store_true", help="only the p99 of others beside each attack")
    parser.add_argument("--serve", metavar="NAME", help="only start this gateway and its upstream, for a profiler")
    parser.add_argument("--streamed", action="store_true", help="with --serve: the upstream that streams")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds = 1, 3.0
    return options


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    try:
        sys.exit(run(parse(sys.argv[1:])))
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
