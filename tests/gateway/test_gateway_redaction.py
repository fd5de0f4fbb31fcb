"""The credential that was sent to an upstream never comes back from it: in errors, headers, events, logs, Records."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from urllib.parse import quote

import pytest

from asbru.dialects import sse
from tests.gateway.provider import (
    BLOCK,
    EVENT_STREAM,
    HELLO,
    MESSAGE,
    MODEL,
    START,
    Json,
    Play,
    Turn,
    Upstream,
    answers,
    error_body,
    event,
    streams,
)
from tests.gateway.support import Reply, Running, ask, asked, provider, run, serving
from tests.upstream.issuer import Issuer

KEY = "sk-upstream-aB3+/cD-eF_ghIJ" + "k9" * 20
TOKEN = "eyJ0eXAiOi.JKV1QiLCJhbGciOi." + "t0" * 30
SESSION = "FwoGZXIvYXdzEBYaD+/=" + "Zz9" * 40
FORMS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "percent-encoded": lambda key: quote(key, safe=""),
    "JSON escapes": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "base64": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
}
forms = pytest.mark.parametrize("form", FORMS)
DIALECTS = ["anthropic", "openai-chat", "openai-responses", "gemini", "bedrock-converse"]


def one(upstream: Upstream, **settings: object) -> Json:
    keys = {"keys": [{"name": "main", "value": KEY}]}
    return {"providers": {"a": provider(upstream, max_retries=0, list_models="none", **settings) | keys}}


def spellings(key: str) -> list[bytes]:
    """What must not be found, in lower case."""
    return [FORMS[form](key).lower().encode()[:40] for form in FORMS]


def assert_hidden(reply: Reply, key: str = KEY) -> None:
    heard = b"\n".join(b"%b: %b" % header for header in reply.headers) + reply.body
    for spelling in spellings(key):
        assert spelling not in heard.lower()


async def hidden(gateway: Running, key: str = KEY, *, stream: bool = False) -> Reply:
    reply = await ask(gateway, asked(stream=stream))
    assert_hidden(reply, key)
    assert b"***" in reply.body
    return reply


@forms
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 404, 500, 307])
def test_an_error_body_in_every_dialect(dialect: str, form: str, status: int) -> None:
    async def main() -> None:
        message = f"no such thing: {FORMS[form](KEY)}"
        body = f'{{"error": {{"message": "{message}", "type": "x", "code": 1}}, "message": "{message}"}}'.encode()
        async with Upstream(answers(status, body)) as up, serving(one(up, dialect=dialect)) as gateway:
            reply = await ask(gateway, asked())
            assert reply.status >= 400 or reply.status == status
            assert_hidden(reply)
        assert_hidden_record(gateway)

    run(main())


def assert_hidden_record(gateway: Running, key: str = KEY) -> None:
    written = json.dumps(gateway.records).lower().encode()
    for spelling in spellings(key):
        assert spelling not in written


@forms
@pytest.mark.parametrize("status", [200, 400])
def test_headers(form: str, status: int) -> None:
    async def main() -> None:
        said = FORMS[form](KEY).encode()
        headers = [
            (b"x-echo-authorization", b"Bearer " + said),
            (b"location", b"https://x.test/?key=" + said),
            (b"www-authenticate", b'Bearer error="' + said + b'"'),
            (b"request-id", b"req-" + said),
        ]
        body = MESSAGE if status == 200 else error_body()
        async with Upstream(answers(status, body, *headers)) as up, serving(one(up)) as gateway:
            reply = await ask(gateway, asked())
            assert (reply.status, reply.body) == (status, body)
            assert_hidden(reply)
            assert reply.value(b"location") == "https://x.test/?key=***" or form == "base64"
        assert_hidden_record(gateway)

    run(main())


def test_a_successful_body_is_not_touched() -> None:
    async def main() -> None:
        body = MESSAGE.replace("wörld".encode(), KEY.encode())
        text = event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"error {KEY}"})
        play = streams(START, BLOCK, text + error(KEY))
        async with Upstream(answers(200, body), play) as up, serving(one(up)) as gateway:
            assert (await ask(gateway, asked())).body == body
            reply = await ask(gateway, asked(stream=True))
            assert reply.body == START + BLOCK + text + error("***")

    run(main())


def error(said: str) -> bytes:
    return sse.encode(b"error", error_body("api_error", f"for {said} this failed"))


@forms
def test_error_events_before_and_after_content(form: str) -> None:
    async def main() -> None:
        said = error(FORMS[form](KEY))
        nameless = said.removeprefix(b"event: error\n")
        plays: list[Play] = [
            streams(START, said),
            streams(START, BLOCK, HELLO, said),
            streams(START, BLOCK, HELLO, nameless),
        ]
        async with Upstream(*plays) as up, serving(one(up)) as gateway:
            early = await hidden(gateway, stream=True)
            assert early.status >= 500
            for _ in range(2):
                late = await hidden(gateway, stream=True)
                assert late.body.startswith(START + BLOCK + HELLO)
                assert late.status == 200
        assert_hidden_record(gateway)

    run(main())


def test_an_error_event_whose_type_is_the_credential() -> None:
    async def main() -> None:
        said = sse.encode(b"error", error_body(KEY, "x"))
        async with Upstream(streams(START, BLOCK, HELLO, said)) as up, serving(one(up)) as gateway:
            await hidden(gateway, stream=True)
        assert_hidden_record(gateway)

    run(main())


def test_an_error_in_a_translated_stream() -> None:
    async def main() -> None:
        begin = b'data: {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": '
        begin += b'[{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": null}]}\n\n'
        said = b'data: {"error": {"message": "for %b this failed", "type": "server_error"}}\n\n' % KEY.encode()

        plays = [streams(said), streams(begin, said)]
        async with Upstream(*plays) as up, serving(one(up, dialect="openai-chat")) as gateway:
            for _ in range(2):
                assert_hidden(await ask(gateway, asked(stream=True)))
        assert_hidden_record(gateway)

    run(main())


def test_a_legacy_completions_error_event() -> None:
    async def main() -> None:
        text = b'event: completion\ndata: {"type": "completion", "completion": "%b error"}\n\n' % KEY.encode()

        async def play(turn: Turn) -> None:
            await turn.read()
            await turn.begin(EVENT_STREAM)
            said = text + error(KEY)
            await turn.chunk(said[:150], said[150:-20], said[-20:])
            await turn.end()

        async with Upstream(play) as up, serving(one(up)) as gateway:
            reply = await ask(gateway, asked(stream=True), "/v1/complete")
            assert reply.body == text + error("***")

    run(main())


ROUTES: list[tuple[str, str, Json | bytes | None]] = [
    ("POST", "/v1/messages/count_tokens", asked()),
    ("POST", "/v1/complete", asked()),
    ("POST", "/v1/messages/batches", {"requests": [{"custom_id": "x", "params": asked()}]}),
    ("GET", "/v1/messages/batches", None),
    ("GET", "/v1/messages/batches/b1/results", None),
    ("POST", "/v1/messages/batches/b1/cancel", b"{}"),
    ("POST", "/v1/files", b"--x"),
    ("GET", "/v1/files/f1/content", None),
    ("DELETE", "/v1/files/f1", None),
    ("GET", f"/v1/models/{MODEL}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES])
def test_every_route(method: str, path: str, body: Json | bytes | None) -> None:
    async def main() -> None:
        refuses = answers(422, error_body("invalid_request_error", f"for {KEY}"), (b"x-echo", KEY.encode()))
        async with Upstream(refuses) as up, serving(one(up)) as gateway:
            reply = await ask(gateway, body, path, method=method)
            assert_hidden(reply)
            assert (reply.status, reply.value(b"x-echo")) == (422, "***")

    run(main())


def test_logs_do_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with caplog.at_level(logging.DEBUG):
            plays = [answers(status, error_body("x", f"for {KEY}")) for status in (401, 500, 429)]
            async with Upstream(*plays) as up, serving(one(up, breaker={"failures": 1})) as gateway:
                for _ in range(3):
                    assert_hidden(await ask(gateway, asked()))
                up.plays.clear()
            assert_hidden_record(gateway)
            assert KEY not in caplog.text

    run(main())


def test_the_callers_own_key() -> None:
    async def main() -> None:
        refuses = answers(400, error_body("x", f"for {KEY} no"))
        async with Upstream(refuses) as up:
            config = one(up) | {"auth": {"allow_direct_keys": True}}
            async with serving(config) as gateway:
                assert_hidden(await ask(gateway, asked(), x_api_key=KEY))
            assert_hidden_record(gateway)

    run(main())


def test_a_fetched_token() -> None:
    async def main() -> None:
        async with Upstream(answers(400, error_body("x", f"Bearer {TOKEN}"))) as up:
            identity = {"tenant_id": "t", "client_id": "c", "client_secret": "hunter2", "authority": issuer.url}
            config = one(up)
            config["providers"]["a"]["keys"] = [{"name": "main", "entra": {**identity, "scope": "x/.default"}}]
            async with serving(config) as gateway:
                await hidden(gateway, TOKEN)

    with Issuer(lambda asked: (200, json.dumps({"access_token": TOKEN, "expires_in": 3599}).encode())) as issuer:
        run(main())


def test_an_aws_signature_and_session_token() -> None:
    async def echo(turn: Turn) -> None:
        await turn.read()
        sent = b" ".join(value for _, value in turn.headers)
        await turn.answer(403, error_body("x", sent.decode().replace('"', "")), (b"x-echo", sent))

    async def main() -> None:
        async with Upstream(echo) as up:
            aws = {"access_key_id": "AKIATEST12345678", "secret_access_key": "the-secret-key", "session_token": SESSION}
            config = one(up, region="eu-west-1")
            config["providers"]["a"]["keys"] = [{"name": "main", "aws": aws}]
            async with serving(config) as gateway:
                reply = await ask(gateway, asked())
                (authorization,) = up.seen[0].values(b"authorization")
                signature = authorization.rpartition(b"=")[2].decode()
                assert len(signature) == 64
                for secret in (SESSION, signature, "AKIATEST12345678"):
                    assert_hidden(reply, secret)
            assert_hidden_record(gateway, SESSION)

    run(main())
