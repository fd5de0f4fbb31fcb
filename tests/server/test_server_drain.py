"""The end of a service: draining, with and without signals, and what is still running then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from asbru.config import Server
from asbru.server import serve as serve_module
from asbru.server.exchange import Exchange
from asbru.server.serve import Service
from tests.server.rawclient import LIMIT, Peer, Runner, echo, post, run_on_each_loop, serving, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
EVENT = b"event: a\ndata: {}\n\n"
EVENT_STREAM = [(b"content-type", b"text/event-stream")]


class Gate:
    """A handler that answers when it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.body(LIMIT)
        self.entered.set()
        await self.go.wait()
        await exchange.respond(200, [], b"done")


@run_on_each_loop
def test_a_drain_lets_what_runs_finish_and_takes_nothing_new(run: Runner) -> None:
    async def main() -> None:
        gate = Gate()
        service = Service(gate, Server(port=0))
        await service.start()
        busy, idle = await Peer.connect(service.port), await Peer.connect(service.port)
        await busy.send(post(b"x"))
        await gate.entered.wait()
        assert not service.draining
        stopping = asyncio.create_task(service.stop())
        assert await idle.is_closed()
        assert service.draining
        with pytest.raises(ConnectionError):
            await Peer.connect(service.port)
        service.drain()  # once is enough
        assert not stopping.done()
        gate.go.set()
        answer = await busy.answer()
        assert (answer.status, answer.body, answer.headers[b"connection"]) == (200, b"done", b"close")
        assert await busy.is_closed()
        await stopping
        assert service.idle
        await asyncio.gather(busy.close(), idle.close())

    run(main())


@run_on_each_loop
def test_what_was_pipelined_behind_is_not_begun(run: Runner) -> None:
    async def main() -> None:
        gate = Gate()
        service = Service(gate, Server(port=0))
        await service.start()
        peer = await Peer.connect(service.port)
        await peer.send(post(b"1") + post(b"2"))
        await gate.entered.wait()
        service.drain()
        gate.go.set()
        assert (await peer.answer()).headers[b"connection"] == b"close"
        assert await peer.is_closed()
        await service.stop()
        await peer.close()

    run(main())


@run_on_each_loop
def test_a_request_that_is_out_of_time_is_answered_with_an_error(run: Runner) -> None:
    cleaned: list[bool] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def main() -> None:
        service = Service(handler, Server(port=0, drain_s=0))
        await service.start()
        peer = await Peer.connect(service.port)
        await peer.send(GET)
        await until(lambda: not service.idle and bool(service._shared.running))
        await asyncio.sleep(0)
        await service.stop()
        answer = await peer.answer()
        assert (answer.status, answer.error) == (503, "overloaded_error")
        assert answer.headers[b"x-asbru-reason"] == b"draining"
        assert answer.headers[b"retry-after"] == b"1" and cleaned == [True]
        assert await peer.is_closed() and service.idle
        await peer.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("torn", [False, True])
def test_a_stream_that_is_out_of_time_ends_with_an_error_event(run: Runner, torn: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.request_id = "req_mine"
        await exchange.start(200, EVENT_STREAM)
        await exchange.write(EVENT + (b"event: b\nda" if torn else b""))
        exchange.tail_open = torn
        await asyncio.Event().wait()

    async def main() -> None:
        service = Service(handler, Server(port=0, drain_s=0))
        await service.start()
        peer = await Peer.connect(service.port)
        await peer.send(GET)
        await peer.head()
        first = await peer.chunk()
        await service.stop()
        rest, whole = await peer.chunks()
        assert first.startswith(EVENT)
        assert whole is not torn
        if torn:
            assert rest == b""
        else:
            assert rest.startswith(b"event: error\ndata: {") and b'"overloaded_error"' in rest and b"req_mine" in rest
        assert await peer.is_closed() and service.idle
        await peer.close()

    run(main())


@run_on_each_loop
def test_a_handler_that_will_not_end_does_not_hold_up_the_process(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "GRACE_S", 0.02)
    release = asyncio.Event()

    async def stubborn(exchange: Exchange) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async def main() -> None:
        service = Service(stubborn, Server(port=0, drain_s=0))
        await service.start()
        peer = await Peer.connect(service.port)
        await peer.send(GET)
        await until(lambda: bool(service._shared.running))
        await asyncio.sleep(0)
        await service.stop()
        assert await peer.is_closed()
        release.set()
        await until(lambda: service.idle)
        await peer.close()

    run(main())


@run_on_each_loop
def test_a_client_that_takes_nothing_does_not_hold_up_the_process(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "GRACE_S", 0.02)

    async def handler(exchange: Exchange) -> None:
        await exchange.respond(200, [], bytes(20_000_000))

    async def main() -> None:
        service = Service(handler, Server(port=0, drain_s=0))
        await service.start()
        peer = await Peer.connect(service.port)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio calls it a write transport
        await peer.send(GET)
        await until(lambda: any(connection.full for connection in service._shared.connections))
        await service.stop()
        assert service.idle
        await peer.close()

    run(main())


@run_on_each_loop
def test_two_services_live_in_one_process(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as first, serving(echo) as second:
            assert first.port != second.port
            await first.service.stop()
            assert (await second.ask(GET)).status == 200
            assert not second.service.draining

    run(main())


@run_on_each_loop
def test_an_address_in_use_is_an_error_that_says_so(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{live.port}: address already in use "):
                await Service(echo, Server(port=live.port)).start()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_an_error_that_says_so(run: Runner, host: str) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match=f"cannot listen on {host}:0: "):
            await Service(echo, Server(host=host, port=0)).start()

    run(main())


@run_on_each_loop
def test_every_address_of_a_name_is_listened_on(run: Runner) -> None:
    infos = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)

    async def main() -> None:
        service = Service(echo, Server(host="localhost", port=0))
        await service.start()
        for address in {str(info[4][0]) for info in infos}:
            reader, writer = await asyncio.open_connection(address, service.port)
            peer = Peer(reader, writer)
            await peer.send(GET)
            assert (await peer.answer()).status == 200
            await peer.close()
        await service.stop()

    run(main())


# With signals: a process of its own

PROGRAM = """
    import asyncio, sys
    import uvloop
    from asbru.config import Server
    from asbru.server.serve import Service

    async def handler(exchange):
        if exchange.path == b"/ready":
            await exchange.respond(503 if service.draining else 200, [], b"")
        elif exchange.path == b"/stream":
            await exchange.start(200, [(b"content-type", b"text/event-stream")])
            await exchange.write(b"event: a\\ndata: {}\\n\\n")
            await asyncio.Event().wait()
        else:
            await exchange.start(200, [])
            await exchange.write(b"begun")
            while not service.draining:
                await asyncio.sleep(0.001)
            await exchange.write(b"ended")
            await exchange.finish()

    async def main():
        global service
        reloads = []
        def reload():
            reloads.append(1)
            print("reloaded", flush=True)
        service = Service(handler, Server(port=0, drain_s=float(sys.argv[1])), on_reload=reload)
        await service.start()
        print(service.port, flush=True)
        code = await service.run()
        print("code", code, flush=True)
        return code

    sys.exit(uvloop.run(main()))
"""


class Process:
    """The program, and a connection to it."""

    def __init__(self, drain_s: float) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(drain_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(serve_module.__file__).parents[2])},
        )
        self.port = int(self.line())

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def begin(self, path: str, until_bytes: bytes) -> socket.socket:
        """Ask, and read as far as these bytes."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while until_bytes not in data:
            data += client.recv(65536)
        return client

    def end(self) -> tuple[int, str]:
        out, err = self.child.communicate(timeout=20)
        return self.child.returncode, out + err


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.child.kill()
        process.child.communicate()


def read_all(client: socket.socket) -> bytes:
    data = b""
    with client, contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            data += more
    return data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_process(number: signal.Signals, processes: list[Process]) -> None:
    processes.append(process := Process(drain_s=20))
    client = process.begin("/", b"begun")
    process.child.send_signal(number)
    assert read_all(client) == b"5\r\nended\r\n0\r\n\r\n"
    code, output = process.end()
    assert (code, output) == (0, "code 0\n")


def test_streams_end_with_an_error_event_when_the_time_is_over(processes: list[Process]) -> None:
    processes.append(process := Process(drain_s=0.05))
    client = process.begin("/stream", b"data: {}\n\n")
    process.child.send_signal(signal.SIGTERM)
    rest = read_all(client)
    assert b"event: error\n" in rest and rest.endswith(b"\n\n\r\n0\r\n\r\n")
    assert process.end() == (0, "code 0\n")


def test_a_second_signal_ends_the_process_at_once(processes: list[Process]) -> None:
    processes.append(process := Process(drain_s=3600))
    client = process.begin("/stream", b"data: {}\n\n")
    # A connection that is closed says that the first signal has been taken note of.
    idle = process.begin("/ready", b"\r\n\r\n")
    process.child.send_signal(signal.SIGTERM)
    assert read_all(idle) == b""
    process.child.send_signal(signal.SIGTERM)
    assert b"0\r\n\r\n" not in read_all(client)
    code, output = process.end()
    assert code == 1
    assert output == "code 1\na second signal: ending at once\ncut off: 1 exchanges, 1 connections\n"


def test_sighup_reloads_and_serves_on(processes: list[Process]) -> None:
    processes.append(process := Process(drain_s=20))
    process.begin("/ready", b"HTTP/1.1 200").close()  # it runs, and so listens to signals
    process.child.send_signal(signal.SIGHUP)
    assert process.line() == "reloaded"
    process.begin("/ready", b"HTTP/1.1 200").close()
    process.child.send_signal(signal.SIGTERM)
    assert process.end() == (0, "code 0\n")


@run_on_each_loop
def test_an_open_connection_is_told_once(run: Runner) -> None:
    """Readiness, on a connection that was open before: one more answer, and the end."""

    async def main() -> None:
        async def ready(exchange: Exchange) -> None:
            await exchange.respond(503 if service.draining else 200, [], b"")

        service = Service(ready, Server(port=0))
        await service.start()
        asking, idle = await Peer.connect(service.port), await Peer.connect(service.port)
        for peer in (asking, idle):
            await peer.send(GET)
            assert (await peer.answer()).status == 200
        service.drain()
        await asking.send(GET)
        answer = await asking.answer()
        assert (answer.status, answer.headers[b"connection"]) == (503, b"close")
        assert await asking.is_closed()
        await service.stop()
        assert await idle.is_closed()
        await asyncio.gather(asking.close(), idle.close())

    run(main())
