"""One Record per exchange, whatever becomes of it, with what was true of it; and the headers that say the same."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime

import pytest

from tests.gateway.provider import (
    BLOCK,
    EVENTS,
    MESSAGE,
    MODEL,
    START,
    STOP,
    Upstream,
    answers,
    error_body,
    error_event,
    event,
    streams,
)
from tests.gateway.support import (
    Client,
    Reply,
    ask,
    asked,
    providers,
    request,
    run,
    serving,
)
from tests.upstream.rawserver import until

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PRICE = {"input": 3, "output": 15, "cache_read": 0.3, "cache_write_5m": 3.75, "cache_write_1h": 6}
VIRTUAL_KEY = "sk-bf-" + "r" * 43
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@streamed
def test_everything_known_of_an_exchange_that_went_well(stream: bool) -> None:
    async def main() -> None:
        ids = [(b"request-id", b"req_theirs")]
        play = streams(headers=ids) if stream else answers(200, MESSAGE, *ids)
        async with Upstream(answers(404, error_body("not_found_error"))) as a, Upstream(play) as b:
            config = providers(a, b) | {
                "virtual_keys": [{"name": "team-a", "value": VIRTUAL_KEY}],
                "prices": {f"b/{MODEL}": PRICE},
            }
            body = asked(stream=stream, fallbacks=[f"b/{MODEL}"])
            before = time.time() * 1000
            async with serving(config) as gateway:
                reply = await ask(
                    gateway,
                    body,
                    "/anthropic/v1/messages?beta=true",
                    x_bf_vk=VIRTUAL_KEY,
                    x_bf_dim_team="blue",
                    x_bf_dim_env="test",
                    x_claude_code_session_id="session-1",
                    user_agent="claude-cli/2.1 (test)",
                    x_claude_code_agent_id="agent-1",
                    x_claude_code_parent_agent_id="agent-0",
                    x_request_id="request-1",
                    traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
                )
        (record,) = gateway.records
        started_unix_ms = record.pop("started_unix_ms")
        assert before - 1 <= started_unix_ms <= time.time() * 1000 + 1
        moment = datetime.fromisoformat(record.pop("time"))
        assert (moment.tzinfo, round(moment.timestamp() * 1000)) == (UTC, started_unix_ms)
        first, second = record["attempts"]
        assert record.pop("stream", False) is stream
        assert record.pop("duration_ms") >= first.pop("duration_ms") + second["duration_ms"] > 0
        assert record.pop("upstream_ms") == second.pop("duration_ms")
        tokens = {name: count for name, count in record.pop("usage").items() if count}
        assert tokens == {"input_tokens": 10, "output_tokens": 5}
        cost = (10 * 3 + 5 * 15) / 1e6
        tried = {"model": MODEL, "error": None, "upstream_request_id": None}
        assert record.pop("cost_usd") == pytest.approx(cost)
        assert record == {
            "request_id": reply.value(b"x-asbru-request-id"),
            "method": "POST",
            "route": "messages",
            "principal": "team-a",
            "client_address": "127.0.0.1",
            "user_agent": "claude-cli/2.1 (test)",
            "model": MODEL,
            "status": 200,
            "provider": "b",
            "served_model": MODEL,
            "attempts": [
                {**tried, "provider": "a", "key": "a", "outcome": "404", "error": "as the upstream said it"},
                {**tried, "provider": "b", "key": "b", "outcome": "200", "upstream_request_id": "req_theirs"},
            ],
            "stop_reason": "end_turn",
            "usage_complete": True,
            "request_bytes": len(json.dumps(body)),
            "response_bytes": len(reply.body),
            "session_id": "session-1",
            "agent_id": "agent-1",
            "parent_agent_id": "agent-0",
            "client_request_id": "request-1",
            "trace_id": TRACE,
            "dimensions": {"team": "blue", "env": "test"},
        }
        assert reply.value(b"x-asbru-cost-usd") == (None if stream else f"{cost:.9f}")

    run(main())


@streamed
def test_the_headers_that_every_answer_carries(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(streams() if stream else answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(stream=stream))
            identity = reply.value(b"x-asbru-request-id")
            assert identity is not None
            assert re.fullmatch(r"req_[0-9a-f]{22}", identity)
            assert reply.value(b"request-id") == reply.value(b"x-bifrost-request-id") == identity
            assert reply.value(b"x-asbru-provider") == reply.value(b"x-bifrost-provider") == "a"
            assert reply.value(b"x-asbru-model") == reply.value(b"x-bifrost-resolved-model") == MODEL
            assert re.fullmatch(rf"a/{MODEL} 200 \d+ms", reply.value(b"x-asbru-attempts") or "")
            assert reply.value(b"x-asbru-upstream-ms") == reply.value(b"x-bifrost-upstream-latency-ms")
            assert (reply.value(b"x-asbru-upstream-ms") or "").isdigit()
            assert (reply.value(b"x-asbru-overhead-us") or "").isdigit()
            assert reply.value(b"x-bifrost-fallback-index") is None
            assert reply.value(b"x-asbru-loss") is None

    run(main())


@streamed
def test_cached_and_written_tokens_are_counted_and_priced_once(stream: bool) -> None:
    async def main() -> None:
        usage = {
            "input_tokens": 100,
            "output_tokens": 40,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 500,
            "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
        }
        message = json.loads(MESSAGE) | {"usage": usage}
        start = event("message_start", message={**message, "content": [], "stop_reason": None})
        delta = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage)
        play = streams(start, *EVENTS[2:6], delta, STOP) if stream else answers(200, json.dumps(message).encode())
        async with (
            Upstream(play) as a,
            serving(providers(a) | {"prices": {f"a/{MODEL}": PRICE}}) as gateway,
        ):
            await ask(gateway, asked(stream=stream))
        (record,) = gateway.records
        counted = record["usage"]
        assert (counted["cache_read_input_tokens"], counted["cache_creation_input_tokens"]) == (1000, 500)
        assert (counted["cache_creation_5m_tokens"], counted["cache_creation_1h_tokens"]) == (300, 200)
        cost = (100 * 3 + 40 * 15 + 1000 * 0.3 + 300 * 3.75 + 200 * 6) / 1e6
        assert record["cost_usd"] == pytest.approx(cost)

    run(main())


def test_what_strict_refused_to_lose_is_in_the_record() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a)
            config["providers"]["a"] |= {"dialect": "openai-chat"}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(inference_geo="eu"), x_asbru_strict="true")
            assert reply.status == 400
        (record,) = gateway.records
        assert record["losses"] == ["dropped: inference_geo"]

    run(main())


@streamed
def test_what_a_translation_lost_is_named_for_the_provider_that_served(stream: bool) -> None:
    async def main() -> None:
        said = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}], "usage": None}
        whole = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
        chunks = b"data: " + json.dumps(said).encode() + b"\n\ndata: [DONE]\n\n"
        play = streams(chunks) if stream else answers(200, json.dumps(whole).encode())
        async with Upstream(answers(503, b"{}"), play) as a, Upstream(streams() if stream else answers()) as b:
            config = providers(a, b, max_retries=0)
            config["providers"]["a"] |= {"dialect": "openai-chat"}
            thought = {"type": "thinking", "thinking": "x", "signature": "EqoBCkgIARAB"}
            turns = [{"role": "assistant", "content": [thought, {"type": "text", "text": "yes"}]}]
            messages = [*asked()["messages"], *turns, *asked()["messages"]]
            body = asked(stream=stream, messages=messages, inference_geo="eu", fallbacks=[f"b/{MODEL}"])
            async with serving(config) as gateway:
                replies = [await ask(gateway, body) for _ in range(2)]
        relayed, translated = gateway.records
        assert (relayed["provider"], translated["provider"]) == ("b", "a")
        assert replies[0].value(b"x-asbru-loss") is None and "losses" not in relayed
        assert replies[1].value(b"x-asbru-loss") == "dropped: inference_geo, messages.1.content.0"
        assert translated["losses"] == ["dropped: inference_geo", "dropped: thinking.foreign at messages.1.content.0"]

    run(main())


def test_who_served_is_known_although_a_ping_opened_the_stream() -> None:
    async def main() -> None:
        pinging = {"stream": {"ping_s": 0.01}}
        async with Upstream() as a, serving(providers(a) | pinging) as gateway, await Client.open(gateway) as client:
            await client.send(asked(stream=True))
            turn = await a.turn()
            await turn.begin()
            reply = await client.head()
            assert await reply.piece()
            await turn.chunk(*EVENTS)
            await turn.end()
            await reply.rest()
        (record,) = gateway.records
        assert (record["provider"], record["served_model"]) == ("a", MODEL)
        assert record["upstream_ms"] == record["attempts"][0]["duration_ms"] > 0

    run(main())


def test_usage_that_was_not_said_in_the_end_is_marked_incomplete() -> None:
    async def main() -> None:
        async with (
            Upstream(streams(START, BLOCK), streams(START, BLOCK, error_event())) as a,
            serving(providers(a)) as gateway,
        ):
            for _ in range(2):
                await ask(gateway, asked(stream=True))
        for record in gateway.records:
            assert (record["usage"]["input_tokens"], record["usage"]["output_tokens"]) == (10, 1)
            assert "usage_complete" not in record
            assert "stop_reason" not in record or record["stop_reason"] is None

    run(main())


def test_what_has_no_usage_has_no_cost() -> None:
    async def main() -> None:
        async with (
            Upstream(answers(200, b'{"input_tokens": 7}'), answers(400, error_body())) as a,
            serving(providers(a) | {"prices": {f"a/{MODEL}": PRICE}}) as gateway,
        ):
            await ask(gateway, asked(), "/v1/messages/count_tokens")
            await ask(gateway, asked())
        for record in gateway.records:
            assert "usage" not in record
            assert "cost_usd" not in record

    run(main())


def test_a_model_without_a_price_has_no_cost() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked())).value(b"x-asbru-cost-usd") is None
        assert "cost_usd" not in gateway.records[0]

    run(main())


def test_there_is_exactly_one_record_of_every_exchange() -> None:
    async def main() -> None:
        async with (
            Upstream(answers(), answers(529, error_body())) as a,
            serving(providers(a, max_retries=0)) as gateway,
            await Client.open(gateway) as client,
        ):
            expected = []
            for method, path, body, status, route in (
                ("POST", "/v1/messages", asked(), 200, "messages"),
                ("POST", "/v1/messages", asked(), 529, "messages"),
                ("POST", "/v1/messages", {}, 400, "messages"),
                ("GET", "/v1/models", None, 200, "models"),
                ("GET", "/nowhere", None, 404, ""),
                ("PUT", "/v1/messages", None, 405, ""),
            ):
                await client.send(body, path, method=method)
                assert (await client.reply()).status == status
                expected.append((status, route))
            # asked every few seconds, and no record
            for probe in ("/health", "/health/live", "/health/ready", "/api/hello"):
                await client.send(None, probe, method="GET")
                assert (await client.reply()).status == 200
        assert [(record["status"], record["route"]) for record in gateway.records] == expected
        assert len({record["request_id"] for record in gateway.records}) == len(expected)

    run(main())


def test_a_refusal_says_its_kind() -> None:
    async def main() -> None:
        async with Upstream() as a:
            keys = [{"name": "t", "value": VIRTUAL_KEY}]
            async with serving(providers(a) | {"virtual_keys": keys}) as gateway:
                await ask(gateway, asked())
                await ask(gateway, asked("b/x" * 300), x_api_key=VIRTUAL_KEY)
        first, second = gateway.records
        assert (first["status"], first["error_kind"]) == (401, "virtual_key_required")
        assert (second["status"], second["error_kind"], second["principal"]) == (400, "invalid_request", "t")

    run(main())


def test_a_key_in_a_path_or_a_user_agent_is_masked() -> None:
    async def main() -> None:
        agent = "tool/1.0 " + VIRTUAL_KEY
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, None, f"/v1/mesages/{VIRTUAL_KEY}?key={VIRTUAL_KEY}", user_agent=agent)
            await ask(gateway, asked(), user_agent=agent)
        first, second = gateway.records
        assert (first["path"], first["user_agent"]) == ("/v1/mesages/***", "tool/1.0 ***")
        assert second["user_agent"] == "tool/1.0 ***"
        assert VIRTUAL_KEY not in json.dumps(gateway.records)

    run(main())


@streamed
def test_an_attempts_time_is_the_same_in_every_header(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(streams() if stream else answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(stream=stream))
        (record,) = gateway.records
        shown = f"{round(record['upstream_ms'])}"
        assert reply.value(b"x-asbru-upstream-ms") == reply.value(b"x-bifrost-upstream-latency-ms") == shown
        assert (reply.value(b"x-asbru-attempts") or "").endswith(f" {shown}ms")

    run(main())


def test_debug_logs_each_request_and_each_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with (
            Upstream(answers(529, error_body())) as a,
            Upstream(answers()) as b,
            serving(providers(a, b, max_retries=0)) as gateway,
        ):
            with caplog.at_level("DEBUG", "asbru"):
                await ask(gateway, asked(fallbacks=[f"b/{MODEL}"]))
                await ask(gateway, None, "/nowhere")
        lines = [re.sub(r"\d+(?= ?ms)", "N", line) for line in caplog.messages]
        first, second = (record["request_id"] for record in gateway.records)
        assert any(line.startswith(f"{first}: attempt a/{MODEL} 529 Nms with key a: ") for line in lines)
        assert f"{first}: attempt b/{MODEL} 200 Nms with key b" in lines
        assert f"{first}: POST messages {MODEL} -> 200 in N ms" in lines
        assert any(line.startswith(f"{second}: GET /nowhere  -> 404 in N ms: Not found") for line in lines)

    run(main())


def test_dimensions_are_bounded() -> None:
    async def main() -> None:
        async with (
            Upstream(answers()) as a,
            serving(providers(a)) as gateway,
        ):
            many = {f"x_bf_dim_n{number}": "v" * 500 for number in range(40)}
            assert (await ask(gateway, asked(), **many)).status == 200
        dimensions = gateway.records[0]["dimensions"]
        assert len(dimensions) == 16
        assert all(len(value) == 128 for value in dimensions.values())

    run(main())


@streamed
def test_no_record_holds_a_word_of_what_was_said(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(streams() if stream else answers(), answers(400, error_body(message="a secret"))) as a,
            serving(providers(a)) as gateway,
        ):
            body = asked(stream=stream, messages=[{"role": "user", "content": "my prompt"}])
            for _ in range(2):
                await ask(gateway, body, cookie="my cookie")
        written = json.dumps(gateway.records)
        assert not re.search("my prompt|my cookie|a secret|Hello", written)

    run(main())


def test_pipelined_requests_have_their_own_answers_and_records() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(request(asked("m-1"), "/v1/messages") + request(asked("m-2"), "/v1/messages"))
            for model in ("m-1", "m-2"):
                turn = await a.turn()
                assert turn.model == model
                await turn.answer()
                assert (await client.reply()).attempts == [f"a/{model} 200"]
        assert [record["model"] for record in gateway.records] == ["m-1", "m-2"]

    run(main())


# The end of the process


def test_a_drained_stream_ends_with_an_error_event_and_a_record_that_says_so() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a) | {"server": {"drain_s": 0}}
            async with (
                serving(config) as gateway,
                await Client.open(gateway) as client,
                await Client.open(gateway) as waiting,
            ):
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK)
                reply = await client.head()
                await reply.until(BLOCK)
                await waiting.send(asked())
                second = await a.turn()
                stopping = asyncio.create_task(gateway.app.service.stop())
                await reply.rest()
                assert reply.body.startswith(START + BLOCK + b"event: error\n")
                assert json.loads(reply.body.rpartition(b"data: ")[2])["error"]["type"] == "overloaded_error"
                refused = await waiting.reply()
                assert refused.error == (503, "overloaded_error", "draining")
                assert refused.value(b"retry-after") is not None
                await turn.gone()
                await second.gone()
                await stopping
        kinds = sorted((record["status"], record["error_kind"]) for record in gateway.records)
        assert kinds == [(200, "draining"), (503, "draining")]
        assert all(record["usage"]["input_tokens"] == 10 for record in gateway.records if record["status"] == 200)

    run(main())


def test_a_drain_lets_running_streams_finish() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.send(asked(stream=True))
            turn = await a.turn()
            await turn.begin()
            await turn.chunk(START, BLOCK)
            reply = await client.head()
            stopping = asyncio.create_task(gateway.app.service.stop())
            await until(lambda: gateway.app.service.draining)
            await turn.chunk(*EVENTS[3:])
            await turn.end()
            assert (await reply.rest()).body == START + BLOCK + b"".join(EVENTS[3:])
            await stopping
        assert gateway.records[0]["usage_complete"] is True

    run(main())


def test_ids_are_bounded() -> None:
    async def main() -> None:
        long = "i" * 1000
        names = ("session", "agent", "parent_agent")
        said = {f"x_claude_code_{name}_id": long for name in names}
        play = answers(200, MESSAGE, (b"request-id", long.encode()))
        async with Upstream(play) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(), **said)
            assert reply.value(b"request-id") == long, "the client gets it as it came"
        (record,) = gateway.records
        kept = [record[f"{name}_id"] for name in names] + [record["attempts"][0]["upstream_request_id"]]
        assert kept == ["i" * 256] * 4

    run(main())


def own_ms(reply: Reply) -> float:
    return int(reply.value(b"x-asbru-overhead-us") or "") / 1e3


def test_the_time_a_client_takes_for_its_body_is_not_the_gateway_s() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            data = request(asked(), "/v1/messages")
            await client.write(data[:-1])
            await until(lambda: gateway.app.gateway.budget.in_flight == 1)
            slow_until = time.monotonic() + 0.1
            await until(lambda: time.monotonic() > slow_until)
            await client.write(data[-1:])
            reply = await client.reply()
        (record,) = gateway.records
        assert own_ms(reply) <= record["duration_ms"] - record["upstream_ms"] - 99

    run(main())


def test_the_wait_before_another_try_is_not_the_gateway_s() -> None:
    async def main() -> None:
        busy = answers(529, error_body(), (b"retry-after-ms", b"100"))
        async with Upstream(busy, answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked())
        (record,) = gateway.records
        upstream_ms = sum(attempt["duration_ms"] for attempt in record["attempts"])
        assert len(record["attempts"]) == 2
        assert own_ms(reply) <= record["duration_ms"] - upstream_ms - 95  # the loop's clock counts whole milliseconds

    run(main())


def test_ids_of_clients_are_bounded_and_hold_no_control_characters() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 3) as a, serving(providers(a)) as gateway:
            for request_id in ("x" * 5000, "a\x9b2Jb\xad", "plain"):
                await ask(gateway, asked(), x_request_id=request_id)
            assert [turn.values(b"x-request-id") for turn in a.seen][2] == [b"plain"]
        assert [record["client_request_id"] for record in gateway.records] == ["x" * 256, "a?2Jb?", "plain"]

    run(main())


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-00", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-later", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-00f067aa0ba902b7", None),
        ("x" * 5000, None),
    ],
)
def test_only_a_valid_trace_is_recorded(value: str, trace: str | None) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, asked(), traceparent=value)
            assert a.seen[0].values(b"traceparent") == [value.encode()]
        (record,) = gateway.records
        assert record.get("trace_id") == trace

    run(main())


# What an operator asks for


def test_a_request_that_no_route_takes_is_recorded_with_its_path_and_why() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            await ask(gateway, asked(), "/v1/massages?key=secret", user_agent="curl/8")
            await ask(gateway, None, "/v1/messages")
        first, second = gateway.records
        assert (first["status"], first["path"], first["user_agent"]) == (404, "/v1/massages", "curl/8")
        assert first["error_message"]
        assert (second["status"], second["path"], second["error_kind"]) == (405, "/v1/messages", "method_not_allowed")

    run(main())


def test_an_error_of_ours_is_recorded_with_its_message() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, {"max_tokens": 1})
        assert gateway.records[0]["error_message"] == reply.json["error"]["message"] == "model: Field required"

    run(main())


def test_numbers_are_rounded() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, asked())
        (record,) = gateway.records
        for number in (record["duration_ms"], record["upstream_ms"], record["attempts"][0]["duration_ms"]):
            assert round(number, 3) == number

    run(main())
