"""A configuration that is replaced while requests run, and a process that is told to end: `asbru serve` as it is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asbru import gateway as gateway_module
from asbru.config import Config
from asbru.load import ConfigError, Problem
from tests import grammar
from tests.gateway.provider import (
    BLOCK,
    EVENTS,
    MODEL,
    START,
    Json,
    Upstream,
    answers,
    error_body,
)
from tests.gateway.support import (
    Client,
    Reply,
    ask,
    asked,
    decoded,
    provider,
    providers,
    run,
    serving,
)
from tests.upstream.rawserver import until


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retired configuration is looked at in every turn of the loop."""
    monkeypatch.setattr(gateway_module, "_RETIRE_POLL_S", 0)


class Files:
    """What the configuration's file says next."""

    def __init__(self) -> None:
        self.next: Json | Exception = {}

    def __call__(self) -> Config:
        if isinstance(self.next, Exception):
            raise self.next
        return decoded(self.next)


@pytest.mark.usefixtures("no_pause")
def test_a_new_configuration_serves_new_requests_and_the_old_one_those_that_run() -> None:
    async def main() -> None:
        files = Files()
        async with Upstream() as a, Upstream(answers()) as b, serving(providers(a), files) as gateway:
            old = gateway.app.gateway
            async with await Client.open(gateway) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK)
                reply = await client.head()
                files.next = providers(b)
                gateway.app.reload()
                await until(lambda: gateway.app.gateway is not old)
                assert (await ask(gateway, asked())).status == 200
                assert b.seen[0].key == "sk-a"
                await turn.chunk(*EVENTS[3:])
                await turn.end()
                grammar.check((await reply.rest()).body)
                await until(lambda: not gateway.app._retired)
                assert "closed" in repr(old.upstreams["a"].pool)

    run(main())


def test_what_is_known_of_health_outlives_a_reload_that_changes_nothing_of_it() -> None:
    """Breakers while their provider is at the same place, cooldowns while the key's credential is the same too."""

    async def main() -> None:
        limited = answers(429, error_body("rate_limit_error"), (b"retry-after", b"100"))
        async with Upstream(limited, answers(500, error_body())) as a, Upstream(answers()) as b:

            def config(base: Upstream, *keys: str, **more: object) -> Json:
                breaker = {"failures": 1, "pause_s": 60}
                return {"providers": {"a": provider(base, *keys, max_retries=0, breaker=breaker, **more)}}

            async def states() -> tuple[bool, dict[str, str]]:
                (candidate,) = (await ask(gateway, asked(), x_asbru_dry_run="true")).json["candidates"]
                keys = {key["name"]: key["state"] for key in candidate["keys"]}
                return candidate["breaker"].startswith("open"), keys

            async def reload(next: Json) -> None:
                old = gateway.app.gateway
                files.next = next
                gateway.app.reload()
                await until(lambda: gateway.app.gateway is not old)

            files = Files()
            async with serving(config(a, "sk-one", "sk-two"), files) as gateway:
                assert (await ask(gateway, asked())).status == 500
                opened, keys = await states()
                assert opened
                assert sorted(keys.values()) == ["cooling", "ready"]
                cooling = next(name for name, state in keys.items() if state == "cooling")
                weighed = config(a, "sk-one", "sk-two", models=["new"])
                for key in weighed["providers"]["a"]["keys"]:
                    key["weight"] = 5
                await reload(weighed)
                assert await states() == (opened, keys)
                assert (await ask(gateway, asked())).error == (503, "overloaded_error", "no_candidate")
                replaced = config(a, "sk-one", "sk-two")
                for key in replaced["providers"]["a"]["keys"]:
                    if key["name"] == cooling:
                        key["value"] = "sk-new"
                await reload(replaced)
                assert await states() == (True, dict.fromkeys(keys, "ready"))
                await reload(config(b, "sk-one", "sk-two"))
                assert await states() == (False, dict.fromkeys(keys, "ready"))
                assert (await ask(gateway, asked())).status == 200

    run(main())


def test_a_wrong_configuration_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        files = Files()
        async with Upstream(answers()) as a, serving(providers(a), files) as gateway:
            old = gateway.app.gateway
            files.next = ConfigError("asbru.yaml", [Problem(("providers", "x"), "is wrong")])
            gateway.app.reload()
            assert gateway.app.gateway is old
            assert (await ask(gateway, asked())).status == 200

    run(main())
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "providers.x" in record.getMessage()
    assert "keeping the running configuration" in record.getMessage()


def test_a_configuration_that_cannot_be_used_changes_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "ca.pem").write_text("this is no certificate")
        files = Files()
        async with Upstream(answers()) as a, serving(providers(a), files) as gateway:
            old = gateway.app.gateway
            secure = provider("https://127.0.0.1:1", tls={"ca_file": str(tmp_path / "ca.pem")})
            files.next = {"providers": {"a": secure}}
            gateway.app.reload()
            await until(lambda: not gateway.app._retired)
            assert gateway.app.gateway is old
            assert (await ask(gateway, asked())).status == 200

    run(main())
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "keeping the running configuration" in record.getMessage()


def test_reloads_take_effect_in_their_order() -> None:
    async def main() -> None:
        files = Files()
        async with Upstream() as a, serving(providers(a), files) as gateway:
            for number in range(5):
                files.next = providers(a) | {"models": {f"name-{number}": [f"a/{MODEL}"]}}
                gateway.app.reload()
            await until(lambda: not gateway.app._retired)
            assert list(gateway.app.gateway.config.models) == ["name-4"]

    run(main())


def test_models_and_threads_outlive_a_reload() -> None:
    async def main() -> None:
        files = Files()
        async with Upstream(answers(), answers()) as a, Upstream(answers(), models=["n-1"]) as b:
            config = providers(a, b)
            config["providers"]["a"] = provider(a, "sk-one", "sk-two")
            files.next = config
            async with serving(config, files) as gateway:
                await gateway.listed("n-1")
                body = asked() | {"thread": {"type": "new"}}
                assert (await ask(gateway, body)).status == 200
                old = gateway.app.gateway
                gateway.app.reload()
                await until(lambda: gateway.app.gateway is not old)
                assert (await ask(gateway, asked("n-1"))).value(b"x-asbru-provider") == "b"  # in the same turn
                body = asked() | {"thread": {"type": "continue", "previous_message_id": "msg_test1"}}
                assert (await ask(gateway, body)).status == 200
                home = a.seen[0].key
                assert a.seen[1].key == home
                # A key that is no longer there cannot go on with what it began.
                config["providers"]["a"] = provider(a, *({"sk-one", "sk-two"} - {home}), "sk-three")
                old = gateway.app.gateway
                gateway.app.reload()
                await until(lambda: gateway.app.gateway is not old)
                reply = await ask(gateway, body)
                assert reply.json["error"]["details"] == {"error_code": "thread_unsupported_request"}

    run(main())


def test_a_process_that_ends_does_not_wait_for_a_retired_configuration() -> None:
    async def main() -> None:
        files = Files()
        async with Upstream() as a, Upstream() as b:
            config = providers(a) | {"server": {"drain_s": 0}}
            files.next = providers(b) | {"server": {"drain_s": 0}}
            async with serving(config, files) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                old = gateway.app.gateway
                gateway.app.reload()
                await until(lambda: gateway.app.gateway is not old)
                stopping = asyncio.create_task(gateway.app.service.stop())
                assert (await client.reply()).error == (503, "overloaded_error", "draining")
                await turn.gone()
                await stopping

    run(main())


# The real process


class Serve:
    """`asbru serve` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path, first: bytes) -> None:
        self.process = process
        self.file = file
        self.port = int(first.rstrip().rpartition(b":")[2])

    def write(self, config: Json | str) -> None:
        self.file.write_text(config if isinstance(config, str) else json.dumps(config))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def logged(self, text: str) -> str:
        """The line of its standard error that says this, once it has."""
        assert self.process.stderr is not None
        while text.encode() not in (line := await self.process.stderr.readline()):
            assert line, f"ended without having said {text!r}"
        return line.decode()

    async def ask(self, body: Json, **headers: str) -> Reply:
        return await ask(self.port, body, **headers)


@asynccontextmanager
async def served(folder: Path, config: Mapping[str, object], *options: str) -> AsyncGenerator[Serve, None]:
    file = folder / "asbru.json"
    file.write_text(json.dumps(config))
    environ = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_PROXY", "_proxy"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "asbru", "serve", "--config", str(file), "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        started = process.stderr if "--log-records" in options else process.stdout
        assert started is not None
        while b" listens on " not in (first := await started.readline()):
            assert first, "ended before it listened"
        yield Serve(process, file, first)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # or its pipes are closed when the loop is gone


def test_sighup_takes_a_good_configuration_and_keeps_the_old_one_instead_of_a_bad_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Upstream(answers()) as a,
            Upstream(answers(), answers()) as b,
            served(tmp_path, providers(a)) as serve,
        ):
            assert (await serve.ask(asked())).status == 200
            serve.write(providers(b))
            serve.signal(signal.SIGHUP)
            await serve.logged("configuration reloaded")
            assert (await serve.ask(asked())).status == 200
            serve.write({"providers": {"a": {"base_ulr": "http://x"}}})
            serve.signal(signal.SIGHUP)
            assert "`base_url`" in await serve.logged("keeping the running configuration")  # the nearest known key
            assert (await serve.ask(asked())).status == 200
            serve.signal(signal.SIGTERM)
            assert await serve.process.wait() == 0

    run(main())


def test_sighup_opens_the_records_anew_and_leaves_the_server_as_it_started(tmp_path: Path) -> None:
    path, moved = tmp_path / "records.jsonl", tmp_path / "records.jsonl.1"

    async def main() -> None:
        async with (
            Upstream(answers(), answers()) as a,
            served(tmp_path, providers(a) | {"log": {"records": str(path)}}) as serve,
        ):
            assert (await serve.ask(asked())).status == 200
            path.rename(moved)
            serve.write(providers(a) | {"server": {"max_body_bytes": 1}, "log": {"records": "off"}})
            serve.signal(signal.SIGHUP)
            await serve.logged("restart to apply changes of server.")
            assert (await serve.ask(asked())).status == 200
            serve.signal(signal.SIGTERM)
            assert await serve.process.wait() == 0

    run(main())
    assert [len(file.read_bytes().splitlines()) for file in (moved, path)] == [1, 1]


def test_sigterm_lets_streams_run_for_a_while_and_ends_them_with_an_error_event(tmp_path: Path) -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a) | {"server": {"drain_s": 0.05}}
            async with served(tmp_path, config, "--log-records") as serve, await Client.open(serve.port) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK)
                reply = await client.head()
                await reply.until(BLOCK)
                serve.signal(signal.SIGTERM)
                await reply.rest()
                assert (grammar.check(reply.body, error=True).error or {})["type"] == "overloaded_error"
                assert await serve.process.wait() == 0
                assert serve.process.stdout is not None
                records = [line for line in (await serve.process.stdout.read()).splitlines() if line.startswith(b"{")]
                assert [json.loads(line)["error_kind"] for line in records] == ["draining"]
                await turn.gone()

    run(main())


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            served(tmp_path, providers(a)) as serve,
            await Client.open(serve.port) as client,
        ):
            await client.send(asked(stream=True))
            turn = await a.turn()
            serve.signal(signal.SIGTERM)
            await serve.logged("draining")
            serve.signal(signal.SIGTERM)
            assert await serve.process.wait() == 1
            await turn.gone()

    run(main())
