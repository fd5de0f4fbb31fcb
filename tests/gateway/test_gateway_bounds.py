"""Bodies that hold too much are refused before anything is made of them; large ones are worked on in threads."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asbru.dialects.bounds import LARGE_BYTES
from tests.gateway.provider import MESSAGE, MODEL, Json, Nowhere, Upstream, answers
from tests.gateway.support import Client, Running, ask, asked, provider, providers, run, serving
from tests.gateway.test_gateway_garbage import without_the_collector
from tests.upstream.rawserver import until

DIALECTS = ("openai-chat", "openai-responses", "gemini", "bedrock-converse")
PADDING = "x" * LARGE_BYTES
TEXT = {"type": "text", "text": "a"}
CHAT = json.dumps(
    {
        "id": "chatcmpl-1",
        "model": "gpt",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 200_000}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
).encode()


def raw(**fields: bytes) -> bytes:
    """A request with these members as they stand."""
    text = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items())
    return json.dumps(asked()).encode()[:-1] + b"," + text + b"}"


def translating(url: str) -> Json:
    """One provider of every dialect, and one that relays."""
    made = {name: provider(url, dialect=name, credential="authorization") for name in DIALECTS}
    return {"providers": {"a": provider(url), **made}, "routing": {"default_provider": "a"}}


EVERYWHERE = {
    "max_values": raw(x=b"[" + b",".join([b"{}"] * 400_000) + b"]"),
    "max_depth": raw(x=b"[" * 300_000 + b"]" * 300_000),
    "max_members": raw(**{f"k{number}": b"1" for number in range(1000)}),
    "max_escapes": raw(x=b'"%b"' % (rb"\n" * 4_000_001)),
}
TRANSLATED: dict[str, Json] = {
    "max_tools": {"tools": [{"name": "t", "input_schema": {"type": "object"}}] * 2001},
    "max_stop_sequences": {"stop_sequences": ["a"] * 1001},
    "max_system_blocks": {"system": [TEXT] * 1001},
    "max_depth": {"metadata": json.loads('{"a":' * 200 + "1" + "}" * 200)},
}


def assert_refused(reply: Any, setting: str) -> None:
    assert reply.error == (413, "request_too_large", None)
    assert reply.json["error"]["message"].endswith(f"are allowed (server.limits.{setting})")


@pytest.mark.parametrize("setting", EVERYWHERE)
def test_what_holds_too_much_goes_nowhere(setting: str) -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with serving(translating(nowhere.url)) as gateway:
                for model in (MODEL, *(f"{dialect}/m" for dialect in DIALECTS)):
                    body = EVERYWHERE[setting].replace(MODEL.encode(), model.encode(), 1)
                    assert_refused(await ask(gateway, body), setting)
                assert_refused(await ask(gateway, EVERYWHERE[setting], x_asbru_dry_run="true"), setting)

    run(main())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("setting", TRANSLATED)
def test_what_holds_too_much_is_not_translated(setting: str, dialect: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(translating(a.url)) as gateway:
            body = asked(f"{dialect}/m", **TRANSLATED[setting])
            assert_refused(await ask(gateway, body), setting)
            assert not a.seen
            assert (await ask(gateway, {**body, "model": MODEL})).status == 200  # the provider's business

    run(main())


def test_limits_are_the_operators() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            config = {**translating(a.url), "server": {"limits": {"max_members": 4, "max_tools": 1}}}
            async with serving(config) as gateway:
                assert (await ask(gateway, asked(system="s"))).status == 200
                assert_refused(await ask(gateway, asked(system="s", stream=False)), "max_members")
                two = asked("gemini/m", tools=[{"name": "t", "input_schema": {"type": "object"}}] * 2)
                assert_refused(await ask(gateway, two), "max_tools")

    run(main())


def test_a_batch_holds_ten_times_as_much_and_is_bounded_too() -> None:
    def batch(count: int) -> bytes:
        return b'{"requests":[{"custom_id":"a","params":%b}]}' % raw(x=b"[" + b",".join([b"{}"] * count) + b"]")

    async def main() -> None:
        async with Upstream(answers(200, b'{"id":"msgbatch_1"}')) as a:
            config = {**providers(a), "server": {"limits": {"max_values": 50_000}}}
            async with serving(config) as gateway:
                reply = await ask(gateway, batch(300_000), "/v1/messages/batches")
                assert_refused(reply, "max_values")
                assert "JSON values: at most 500000 " in reply.json["error"]["message"]
                assert (await ask(gateway, batch(200_000), "/v1/messages/batches")).status == 200

    run(main())


def test_a_batch_names_only_so_many_models() -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with serving(providers(nowhere)) as gateway:
                items = [{"custom_id": "a", "params": asked(f"claude-{number}")} for number in range(101)]
                reply = await ask(gateway, {"requests": items}, "/v1/messages/batches")
                assert reply.error == (413, "request_too_large", None)
                assert "at most 100 different models" in reply.json["error"]["message"]

    run(main())


@asynccontextmanager
async def busy_workers(gateway: Running) -> AsyncGenerator[threading.Event]:
    """Every worker thread waits for the event."""
    freed = threading.Event()
    workers = gateway.app.gateway.workers
    begun = threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        freed.wait()

    waiting = [workers._loop.run_in_executor(workers._executor, wait) for _ in range(workers._executor._max_workers)]
    try:
        await until(lambda: begun._value == len(waiting))
        yield freed
    finally:
        freed.set()
        for each in waiting:
            await each


LARGE: dict[str, tuple[Json, str, dict[str, str]]] = {
    "relayed": (asked(system=PADDING), "/v1/messages", {}),
    "counted": (asked(system=PADDING), "/v1/messages/count_tokens", {}),
    "planned": (asked(system=PADDING), "/v1/messages", {"x_asbru_dry_run": "true"}),
    "a batch": (
        {"requests": [{"custom_id": "a", "params": asked(system=PADDING)}]},
        "/v1/messages/batches",
        {},
    ),
    **{dialect: (asked(f"{dialect}/m", system=PADDING), "/v1/messages", {}) for dialect in DIALECTS},
}


@pytest.mark.parametrize("name", LARGE)
def test_the_loop_serves_others_while_a_large_body_is_worked_on(name: str) -> None:
    body, path, headers = LARGE[name]

    async def main() -> None:
        async with Upstream() as a, serving(translating(a.url)) as gateway, await Client.open(gateway) as client:
            async with busy_workers(gateway):
                await client.send(body, path, **headers)
                await until(lambda: gateway.app.gateway.budget.in_flight == 1)
                a.plays = [answers()]
                assert (await ask(gateway, asked())).status == 200
                assert len(a.seen) == 1
            if name != "planned":
                turn = await a.turn()
                assert len(turn.body) > LARGE_BYTES
                await turn.answer(400, b"{}")
            assert (await client.reply()).status in (200, 400)

    run(main())


def test_a_large_body_is_relayed_byte_for_byte() -> None:
    body = raw(system=b'"' + rb"\u00e9 \/ " * 50_000 + b'"', metadata=b'{ "a" : 1.0 }')

    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, body)).body == MESSAGE
            assert a.seen[0].body == body

    run(main())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nothing_is_left_of_large_bodies(stream: bool) -> None:
    large = answers(200, MESSAGE.replace(b"Hello", b"z" * 300_000))
    chat = answers(200, CHAT)

    async def main() -> None:
        async with (
            Upstream(large, chat, answers(200, b"[" * 300_000)) as a,
            serving(translating(a.url)) as gateway,
            without_the_collector(gateway),
        ):
            for model in (MODEL, "openai-chat/m"):
                reply = await ask(gateway, asked(model, system=PADDING, stream=stream))
                assert reply.status == 200 and len(reply.body) > 200_000
            assert (await ask(gateway, asked("openai-chat/m", system=PADDING))).status == 502
            assert_refused(await ask(gateway, EVERYWHERE["max_depth"]), "max_depth")

    run(main())


@pytest.mark.parametrize("model", [MODEL, "gemini/m"])
def test_nothing_is_left_of_a_client_that_goes_away_before_its_body_was_worked_on(model: str) -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with (
                serving(translating(nowhere.url)) as gateway,
                without_the_collector(gateway),
                busy_workers(gateway),
            ):
                async with await Client.open(gateway) as client:
                    await client.send(asked(model, system=PADDING))
                    await until(lambda: gateway.app.gateway.budget.in_flight == 1)
                await gateway.quiet()
            assert [record["status"] for record in gateway.records] == [499]

    run(main())
