"""What the gateway itself refuses, besides credentials: each row of contract/gateway.md §7 and §1, exact and whole."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.provider import (
    MODEL,
    Json,
    Nowhere,
    Upstream,
    answers,
    error_body,
)
from tests.gateway.support import (
    Client,
    Reply,
    ask,
    asked,
    provider,
    providers,
    request,
    run,
    serving,
)
from tests.upstream.rawserver import until

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def assert_refused(reply: Reply, status: int, type: str, reason: str | None = None) -> None:
    assert reply.error == (status, type, reason)
    assert reply.value(b"content-type") == "application/json"
    ids = (reply.value(b"request-id"), reply.value(b"x-asbru-request-id"), reply.value(b"x-bifrost-request-id"))
    assert ids == (reply.json["request_id"],) * 3
    assert (reply.value(b"retry-after") is not None) == (status == 503)


# The request


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/complete", "/cursor/v1/messages/x"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b'{"model": "m", "model": "n"}', "model"),
        (b'{"max_tokens": 1}', "model: Field required"),
        (b'{"model": null}', "model: Field required"),
        (b'{"model": 7}', "model: Input should be a valid string"),
        (b'{"model": ""}', "model: "),
        (b'{"model": "\xff"}', "UTF-8"),
        (json.dumps({"model": "m" * 513}).encode(), "model: "),
        (b'{"model": "m", "stream": "yes"}', "stream: Input should be a valid boolean"),
        (json.dumps({"model": "m", "fallbacks": ["x"] * 17}).encode(), "fallbacks: "),
        (b'{"model": "m", "fallbacks": [""]}', "fallbacks.0: "),
        (b'{"model": "a/"}', "model: "),
        (b'{"model": "m", "thread": 7}', "thread: "),
    ],
)
def test_a_body_that_the_gateway_cannot_read_names_the_field(path: str, body: bytes, says: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, body, path)
            assert_refused(reply, 400, "invalid_request_error")
            assert says in reply.json["error"]["message"]
            assert a.seen == []

    run(main())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batches"])
def test_a_page_cannot_send_a_body_that_says_nothing(path: str) -> None:
    """A browser sends it without asking first, from any page; others may leave the content type out."""

    async def main() -> None:
        body = asked() if path == "/v1/messages" else {"requests": [{"custom_id": "c", "params": asked()}]}
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, body, path, content_type="", origin="http://evil.test")
            assert_refused(reply, 415, "invalid_request_error")
            assert a.seen == []
            assert (await ask(gateway, body, path, content_type="")).status == 200

    run(main())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batches"])
@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-ndjson"])
def test_a_body_that_says_it_is_no_json_is_refused(path: str, content_type: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(), path, content_type=content_type)
            assert_refused(reply, 415, "invalid_request_error")

    run(main())


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON"]
)
def test_json_by_any_name_is_taken(content_type: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked(), content_type=content_type)).status == 200

    run(main())


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/messages", "max_body_bytes"), ("/v1/messages/batches", "max_batch_body_bytes")]
)
def test_a_body_that_is_too_large_is_refused(path: str, limit: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a) | {"server": {limit: 1000}}) as gateway:
            reply = await ask(gateway, b" " * 1001, path)
            assert_refused(reply, 413, "request_too_large")
            assert (await ask(gateway, b" " * 1000, path)).status == 400

    run(main())


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v2/messages", "/openai/v1/messages", "/v1/files/a/b", "/v1/messages/../x"]
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            assert_refused(await ask(gateway, asked(), path), 404, "not_found_error")

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v1/messages", "POST, OPTIONS"), ("PUT", "/v1/files/f1", "GET, HEAD, DELETE, OPTIONS")],
)
def test_a_method_that_is_not_taken_is_told_which_are(method: str, path: str, allow: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, path, method=method)
            assert_refused(reply, 405, "invalid_request_error")
            assert reply.value(b"allow") == allow

    run(main())


def test_a_model_that_no_rule_places_names_the_nearest() -> None:
    async def main() -> None:
        async with Upstream(models=["claude-sonnet-4-5"]) as a, Upstream(models=["claude-haiku-4-5"]) as b:
            config = {"providers": {"a": provider(a), "b": provider(b)}}
            async with serving(config) as gateway:
                await gateway.listed("claude-sonnet-4-5", "claude-haiku-4-5")
                reply = await ask(gateway, asked("claude-sonet-4-5"))
                assert_refused(reply, 404, "not_found_error")
                assert "claude-sonnet-4-5" in reply.json["error"]["message"]

    run(main())


def test_a_pin_that_no_key_answers_to_is_refused() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            for pin in ("nobody", "sk-a"):
                reply = await ask(gateway, asked(), x_bf_api_key=pin)
                assert_refused(reply, 400, "invalid_request_error")

    run(main())


# The upstream


@streamed
def test_all_connections_busy_is_shed(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            serving(providers(a, max_connections=1, max_waiters=0)) as gateway,
            await Client.open(gateway) as client,
        ):
            await until(lambda: a.listed == 1)
            await gateway.quiet()  # the list of models takes a connection too
            await client.send(asked())
            turn = await a.turn()
            assert_refused(await ask(gateway, asked(stream=stream)), 503, "overloaded_error", "shed")
            await turn.answer()
            assert (await client.reply()).status == 200

    run(main())


@streamed
def test_waiting_too_long_for_a_connection_is_shed(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            serving(providers(a, max_connections=1, wait_s=0.02)) as gateway,
            await Client.open(gateway) as client,
        ):
            await until(lambda: a.listed == 1)
            await gateway.quiet()  # the list of models takes a connection too
            await client.send(asked())
            turn = await a.turn()
            assert_refused(await ask(gateway, asked(stream=stream)), 503, "overloaded_error", "shed")
            await turn.answer()
            await client.reply()

    run(main())


@streamed
def test_a_deadline_that_passes_is_a_timeout(stream: bool) -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b:
            config = providers(a, b, timeouts={"deadline_s": 0.05, "first_byte_s": 10})
            async with serving(config) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=stream, fallbacks=[f"b/{MODEL}"]))
                turn = await a.turn()
                assert_refused(await client.reply(), 504, "timeout_error")
                await turn.gone()
                assert b.seen == []

    run(main())


def test_the_deadline_counts_from_the_request_s_arrival_also_while_its_body_comes() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a, timeouts={"deadline_s": 0.05, "first_byte_s": 10})
            async with serving(config) as gateway, await Client.open(gateway) as client:
                data = request(asked(), "/v1/messages")
                await client.write(data[:-1])
                await until(lambda: gateway.app.gateway.budget.in_flight == 1)
                late = asyncio.get_running_loop().time() + 0.1
                await until(lambda: asyncio.get_running_loop().time() > late)
                await client.write(data[-1:])
                reply = await client.reply()
                assert_refused(reply, 504, "timeout_error")
                assert [name.partition(" ")[2] for name in reply.attempts] == ["deadline"]
                assert a.seen == []

    run(main())


@streamed
def test_what_cannot_be_reached_is_a_timeout(stream: bool) -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with serving(providers(nowhere)) as gateway:
                reply = await ask(gateway, asked(stream=stream))
                assert_refused(reply, 504, "timeout_error")

    run(main())


@streamed
def test_an_error_body_without_end_is_not_read_without_end(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            serving(providers(a, max_retries=0)) as gateway,
            await Client.open(gateway) as client,
        ):
            await client.send(asked(stream=stream))
            turn = await a.turn()
            await turn.say(b"HTTP/1.1 500 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            with pytest.raises(ConnectionError):
                while True:
                    await turn.chunk(b" " * 100_000)
            turn.over.set()
            assert_refused(await client.reply(), 502, "api_error")

    run(main())


# Breakers


@streamed
def test_a_breaker_fails_fast_even_for_a_single_candidate_and_recovers(stream: bool) -> None:
    async def main() -> None:
        failing = answers(500, error_body("api_error"))
        async with Upstream(*[failing] * 3) as a:
            breaker = {"failures": 3, "pause_s": 0.03, "max_pause_s": 30}
            async with serving(providers(a, max_retries=0, breaker=breaker)) as gateway:
                body: Json = asked(stream=stream)
                for _ in range(3):
                    assert (await ask(gateway, body)).status == 500
                reply = await ask(gateway, body)
                assert_refused(reply, 503, "overloaded_error", "no_candidate")
                assert reply.value(b"retry-after") == "1"
                assert reply.values(b"x-asbru-attempts") == []
                assert len(a.seen) == 3
                # A model of its own has a breaker of its own.
                a.plays = [answers()]
                assert (await ask(gateway, asked("other-model"))).status == 200
                # After the pause one request probes; its success closes the breaker for all.
                loop = asyncio.get_running_loop()
                await until(lambda: gateway.app.gateway.breakers.peek("a", MODEL, "messages", loop.time()) is None)
                a.plays = [answers()] * 2
                assert (await ask(gateway, asked())).status == 200
                assert len(gateway.app.gateway.breakers) == 0
                assert (await ask(gateway, asked())).status == 200

    run(main())


def test_an_open_breaker_sends_requests_to_the_fallback_at_once() -> None:
    async def main() -> None:
        failing = answers(500, error_body("api_error"))
        async with Upstream(failing) as a, Upstream(answers(), answers()) as b:
            breaker = {"failures": 1, "pause_s": 30}
            async with serving(providers(a, b, max_retries=0, breaker=breaker)) as gateway:
                for attempts in ([f"a/{MODEL} 500", f"b/{MODEL} 200"], [f"b/{MODEL} 200"]):
                    reply = await ask(gateway, asked(fallbacks=[f"b/{MODEL}"]))
                    assert reply.attempts == attempts
                    assert reply.value(b"x-bifrost-fallback-index") == "1"

    run(main())


def test_the_callers_faults_and_limits_open_no_breaker() -> None:
    async def main() -> None:
        plays = [answers(status, error_body()) for status in (400, 401, 404, 413, 422, 429) * 2]
        async with Upstream(*plays, answers()) as a:
            breaker = {"failures": 1, "pause_s": 30}
            async with serving(providers(a, max_retries=0, breaker=breaker)) as gateway:
                for _ in plays:
                    await ask(gateway, asked())
                assert (await ask(gateway, asked())).status == 200

    run(main())
