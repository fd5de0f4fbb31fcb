"""Browsers from elsewhere: refused unless their origin is listed. The rules alone, then through a running service."""

from __future__ import annotations

import asyncio

import pytest

from asbru import config
from asbru.errors import GatewayError, Headers
from asbru.server.cors import Cors, merge
from asbru.server.exchange import Exchange
from tests.server.rawclient import echo, serving

APP = b"https://app.example"
ASKED: Headers = [
    (b"origin", APP),
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"authorization,x-api-key"),
]


def test_a_listed_origin_is_allowed_by_name() -> None:
    rules = Cors(config.Cors(origins=("https://app.example", "https://b.example")))
    assert dict(rules.headers([(b"origin", APP)])) == {
        b"access-control-allow-origin": APP,
        b"access-control-expose-headers": b"*",
        b"vary": b"origin",
    }


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"https://app.example.evil", b"http://app.example", b"null", b""]
)
def test_another_origin_is_told_nothing(origin: bytes) -> None:
    rules = Cors(config.Cors(origins=("https://app.example",)))
    assert rules.headers([(b"origin", origin)]) == []
    assert rules.headers([]) == []


def test_any_origin_is_allowed_by_a_star() -> None:
    rules = Cors(config.Cors(origins=("*",)))
    assert (b"access-control-allow-origin", b"*") in rules.headers([(b"origin", b"null")])
    assert rules.headers([]) == []


def test_a_preflight_echoes_the_headers_that_were_asked_for() -> None:
    rules = Cors(config.Cors(origins=("*",), max_age_s=7))
    assert dict(rules.preflight(ASKED)) == {
        b"access-control-allow-methods": b"GET, HEAD, POST, DELETE",
        b"access-control-allow-headers": b"authorization,x-api-key",
        b"access-control-max-age": b"7",
    }
    assert dict(rules.preflight(ASKED[:2]))[b"access-control-allow-headers"] == b"*"
    assert rules.preflight(ASKED[:1]) == []


def test_an_upstreams_own_rules_are_replaced() -> None:
    ours: Headers = [(b"access-control-allow-origin", APP)]
    assert merge([(b"a", b"1"), (b"access-control-allow-origin", b"*"), (b"b", b"2")], ours) == [
        (b"a", b"1"),
        (b"b", b"2"),
        *ours,
    ]


def request(line: str, headers: Headers) -> bytes:
    return (
        line.encode() + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n"
    )


IDS = {b"request-id", b"x-asbru-request-id", b"x-bifrost-request-id"}
SERVER = config.Server(cors=config.Cors(origins=("https://app.example",)))


def test_a_preflight_is_answered_without_the_handler() -> None:
    async def unreachable(exchange: Exchange) -> None:
        raise AssertionError

    async def main() -> None:
        async with serving(unreachable, SERVER) as live:
            answer = await live.ask(request("OPTIONS /anthropic/v1/messages", ASKED))
            assert answer.status == 204
            assert answer.headers[b"access-control-allow-origin"] == APP
            assert answer.headers[b"access-control-allow-headers"] == b"authorization,x-api-key"
            assert answer.headers[b"allow"] == b"POST, OPTIONS"
            answer = await live.ask(request("OPTIONS /v1/messages", [(b"origin", b"https://evil.example"), *ASKED[1:]]))
            assert answer.status == 204 and set(answer.headers) == {b"allow", *IDS}
            answer = await live.ask(request("OPTIONS /nowhere", ASKED))
            assert (answer.status, answer.error) == (404, "not_found_error")
            assert answer.headers[b"access-control-allow-origin"] == APP

    asyncio.run(main())


def test_every_response_to_a_listed_origin_can_be_read_there() -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.path == b"/error":
            raise GatewayError("shed", "no")
        if exchange.path == b"/stream":
            await exchange.start(200, [(b"access-control-allow-origin", b"*")])
            await exchange.finish()
            return
        await echo(exchange)

    async def main() -> None:
        async with serving(handler, SERVER) as live:
            for path, status in (("/x", 200), ("/error", 503), ("/stream", 200)):
                answer = await live.ask(request(f"GET {path}", ASKED[:1]))
                assert (answer.status, answer.headers[b"access-control-allow-origin"]) == (status, APP)
            answer = await live.ask(request("GET /x", []))
            assert not any(name.startswith(b"access-control") for name in answer.headers)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("broken", "status"), [(b"Y: 1\r\nX : 1\r\n", 400), (b"X: %b\r\n" % bytes(70_000).replace(b"\0", b"x"), 431)]
)
def test_refusals_of_what_is_no_request_can_be_read_there_too(broken: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(echo, SERVER) as live:
            answer = await live.ask(request("GET /x", ASKED[:1])[:-2] + broken + b"\r\n")
            assert (answer.status, answer.error) == (status, "invalid_request_error")
            assert answer.headers[b"access-control-allow-origin"] == APP

    asyncio.run(main())


def test_without_a_configuration_options_say_what_is_allowed_and_no_more() -> None:
    async def main() -> None:
        async with serving(echo) as live:
            for target, allow in (("/v1/models", b"GET, HEAD, OPTIONS"), ("/v1/messages/x/", b"POST, OPTIONS")):
                answer = await live.ask(request(f"OPTIONS {target}", ASKED))
                assert (answer.status, answer.headers.pop(b"allow"), set(answer.headers)) == (204, allow, IDS)
                assert len(set(answer.headers.values())) == 1
            answer = await live.ask(request("OPTIONS *", ASKED))
            assert (answer.status, set(answer.headers)) == (204, IDS)

    asyncio.run(main())
