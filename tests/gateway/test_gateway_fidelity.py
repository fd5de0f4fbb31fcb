"""Anthropic in, Anthropic out: what real clients sent (tests/captures) and what providers answer, byte for byte.

Which headers may not cross is spelled out here once more, from the issue and RFC 9110, and not taken from the code.
"""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gateway.provider import (
    EVENTS,
    MESSAGE,
    MODEL,
    Headers,
    Nowhere,
    Turn,
    Upstream,
    answers,
    error_body,
    streams,
)
from tests.gateway.support import (
    Client,
    ask,
    asked,
    provider,
    providers,
    request,
    run,
    serving,
)

CAPTURES = Path(__file__).parent.parent / "captures"
VIRTUAL_KEY = "sk-bf-" + "v" * 43
STORED_KEY = "sk-stored-" + "s" * 30
NEVER_UPSTREAM = {
    *(b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"host"),
    *(b"content-length", b"accept-encoding", b"connection", b"keep-alive", b"proxy-authorization", b"te"),
    *(b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
}


class Capture(NamedTuple):
    """A request that a real client sent."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def load(cls, name: str) -> Capture:
        data = json.loads((CAPTURES / f"{name}.json").read_text("utf-8"))
        headers = [(name, value) for name, value in data["headers"]]
        return cls(data["method"], data["path"], headers, (data["body_raw"] or "").encode())

    @property
    def route(self) -> str:
        return self.path.partition("?")[0]

    def raw(self, credential: str, body: bytes | None = None) -> bytes:
        """The request with another credential in the same place, cookies, and words for the gateway alone."""
        body = self.body if body is None else body
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        for name, value in self.headers:
            if name.lower() in ("authorization", "x-api-key"):
                value = f"Bearer {credential}" if name.lower() == "authorization" else credential
            if name.lower() == "content-length":
                value = str(len(body))
            lines.append(f"{name}: {value}")
        lines += ["Cookie: session=secret", "X-Bf-Dim-Team: blue", "x-bf-vk: " + VIRTUAL_KEY]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    @property
    def forwarded(self) -> Headers:
        """What must reach the provider of its headers."""
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers]
        return [pair for pair in pairs if pair[0] not in NEVER_UPSTREAM]

    @property
    def streams(self) -> bool:
        return self.route == "/v1/messages" and bool(json.loads(self.body).get("stream"))


NAMES = sorted(file.stem for file in CAPTURES.glob("*.json"))
ALL = {name: Capture.load(name) for name in NAMES}
RELAYED = {name: capture for name, capture in ALL.items() if not capture.route.startswith(("/v1/models", "/api/"))}
MESSAGES = {name: capture for name, capture in ALL.items() if capture.route == "/v1/messages"}
BATCHES = {name: capture for name, capture in ALL.items() if name.endswith("batch-create")}


def test_there_are_captures_of_every_kind() -> None:
    assert len(ALL) > 100
    assert {capture.route.split("/")[2] for capture in RELAYED.values()} == {"messages", "files"}
    assert len(MESSAGES) > 60
    assert BATCHES


def assert_as_sent(turn: Turn, capture: Capture, body: bytes, upstream: Upstream) -> None:
    own = [
        (b"host", f"127.0.0.1:{upstream.port}".encode()),
        (b"accept-encoding", b"identity"),
        (b"x-api-key", STORED_KEY.encode()),
    ]
    if capture.method == "POST":
        own.append((b"content-length", b"%d" % len(body)))
    assert turn.method == capture.method.encode()
    assert turn.target == capture.path.encode()
    assert turn.body == body
    forwarded = [(name.lower(), value) for name, value in turn.headers]
    for line in own:
        forwarded.remove(line)
    assert forwarded == capture.forwarded
    assert VIRTUAL_KEY.encode() not in turn.head + turn.body
    assert b"secret" not in turn.head


def answer_for(capture: Capture) -> tuple[bytes, Headers]:
    """An answer with everything a client may care about in its head."""
    headers = [
        (b"request-id", b"req_011CTheirs"),
        (b"anthropic-organization-id", b"org-1"),
        (b"anthropic-ratelimit-requests-remaining", b"49"),
        (b"Retry-After", b"3"),
        (b"x-should-retry", b"false"),
        (b"X-Unknown", b"kept  as it is"),
        (b"x-twice", b"one"),
        (b"x-twice", b"two"),
        (b"date", b"Mon, 05 Jan 2026 00:00:00 GMT"),
        (b"server", b"theirs"),
    ]
    body = b"".join(EVENTS) if capture.streams else MESSAGE
    return body, headers


NOT_FOR_THE_CLIENT = [
    (b"keep-alive", b"timeout=5"),
    (b"proxy-authenticate", b"Basic"),
    (b"connection", b"X-Mine , keep-alive"),
    (b"x-mine", b"this connection's"),
    (b"X-Asbru-Invented", b"1"),
    (b"x-bifrost-invented", b"1"),
    (b"Access-Control-Allow-Origin", b"*"),
]


@pytest.mark.parametrize("name", RELAYED)
def test_what_a_client_sent_reaches_the_provider_and_its_answer_the_client(name: str) -> None:
    async def main() -> None:
        capture = RELAYED[name]
        body, headers = answer_for(capture)
        told = headers + NOT_FOR_THE_CLIENT
        play = streams(headers=told) if capture.streams else answers(200, body, *told)
        async with Upstream(play) as a, serving(guarded(a)) as gateway, await Client.open(gateway) as client:
            await client.write(capture.raw(VIRTUAL_KEY))
            reply = await client.reply()
            assert_as_sent(a.seen[0], capture, capture.body, a)
            assert (reply.status, reply.body) == (200, body)
            theirs = [(name.lower(), value) for name, value in headers]
            assert [header for header in reply.headers if header in theirs] == theirs
            names = {header for header, _ in reply.headers}
            assert not names & {header.lower() for header, _ in NOT_FOR_THE_CLIENT}
            assert {b"x-asbru-request-id", b"x-asbru-attempts", b"x-asbru-provider"} <= names
            heard = b"".join(name + value for name, value in reply.headers) + reply.body
            assert STORED_KEY.encode() not in heard
            assert VIRTUAL_KEY.encode() not in heard

    run(main())


def guarded(upstream: Upstream | Nowhere, **more: object) -> dict[str, object]:
    """One provider behind one virtual key."""
    return {
        "providers": {"a": provider(upstream, STORED_KEY, max_retries=0, **more)},
        "virtual_keys": [{"name": "team", "value": VIRTUAL_KEY}],
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_only_the_model_changes_when_it_is_renamed(name: str) -> None:
    async def main() -> None:
        capture = MESSAGES[name]
        model = json.loads(capture.body)["model"]
        renamed = capture.body.replace(b'"model":"%b"' % model.encode(), b'"model":"another-model"', 1)
        renamed = renamed.replace(b'"model": "%b"' % model.encode(), b'"model": "another-model"', 1)
        assert renamed != capture.body
        play = streams() if capture.streams else answers()
        async with Upstream(play) as a:
            config = guarded(a) | {"models": {model: ["a/another-model"]}}
            async with serving(config) as gateway, await Client.open(gateway) as client:
                await client.write(capture.raw(VIRTUAL_KEY))
                reply = await client.reply()
                assert_as_sent(a.seen[0], capture, renamed, a)
                assert reply.attempts == ["a/another-model 200"]

    run(main())


@pytest.mark.parametrize("name", MESSAGES)
def test_only_the_gateways_own_fallbacks_are_left_out(name: str) -> None:
    async def main() -> None:
        capture = MESSAGES[name]
        body = capture.body.rstrip()
        extended = body[:-1] + b',"fallbacks":["a/claude-other"]}'
        async with (
            Upstream(streams() if capture.streams else answers()) as a,
            serving(guarded(a)) as gateway,
            await Client.open(gateway) as client,
        ):
            await client.write(capture.raw(VIRTUAL_KEY, extended))
            await client.reply()
            assert_as_sent(a.seen[0], capture, body, a)

    run(main())


def test_a_providers_own_fallbacks_stay() -> None:
    async def main() -> None:
        body = asked(fallbacks=[{"model": "claude-opus-4-1"}])
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, body)).status == 200
            assert json.loads(a.seen[0].body) == body

    run(main())


@pytest.mark.parametrize("name", BATCHES)
def test_a_batchs_models_are_renamed_and_nothing_else(name: str) -> None:
    async def main() -> None:
        capture = BATCHES[name]
        (model,) = {entry["params"]["model"] for entry in json.loads(capture.body)["requests"]}
        async with Upstream(answers(200, b"{}")) as a:
            config = guarded(a) | {"models": {model: ["a/another-model"]}}
            async with serving(config) as gateway, await Client.open(gateway) as client:
                await client.write(capture.raw(VIRTUAL_KEY))
                await client.reply()
                renamed = capture.body.replace(json.dumps(model).encode(), b'"another-model"')
                assert renamed != capture.body
                assert_as_sent(a.seen[0], capture, renamed, a)

    run(main())


def test_a_head_request_has_no_body() -> None:
    async def main() -> None:
        capture = ALL["claude-code-discovery"]
        async with Upstream() as a, serving(guarded(a)) as gateway, await Client.open(gateway) as client:
            await client.send(None, capture.path, method="HEAD")
            reply = await client.reply()
            assert (reply.status, reply.body) == (200, b"")
            await client.send(None, "/api/hello")
            assert (await client.reply()).json == {}

    run(main())


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Model", "model"),
        ("MODEL", "model"),
        ("Stream", "stream"),
        ("max_Tokens", "max_tokens"),
        ("fallBacks", "fallbacks"),
        ("mo\\u0044el", "model"),
        ("\u017ftream", "stream"),
        ("thin\u212aing", "thinking"),
    ],
)
def test_a_member_that_differs_from_a_known_one_in_case_is_refused(name: str, known: str) -> None:
    async def main() -> None:
        shown = json.loads(f'"{name}"')
        async with Upstream() as a, serving(providers(a)) as gateway:
            body = json.dumps(asked())[:-1].encode() + f', "{name}": "other"}}'.encode()
            for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/complete"):
                reply = await ask(gateway, body, path)
                assert reply.error == (400, "invalid_request_error", None)
                assert reply.json["error"]["message"].startswith(f"{shown}: ")
                assert reply.json["error"]["message"].endswith(known)
            batch = b'{"requests": [{"custom_id": "1", "params": %b}]}' % body
            reply = await ask(gateway, batch, "/v1/messages/batches")
            assert reply.error == (400, "invalid_request_error", None)
            assert reply.json["error"]["message"].startswith(f"requests.0.params.{shown}: ")
            for other in (
                b'{"Requests": [], "requests": []}',
                b'{"requests": [{"Params": 1, "params": {"model": "m"}}]}',
            ):
                reply = await ask(gateway, other, "/v1/messages/batches")
                assert reply.error == (400, "invalid_request_error", None)
                assert "equests" in reply.json["error"]["message"]
            assert a.seen == []

    run(main())


def test_a_member_whose_name_is_written_with_escapes_is_the_same_member() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            body = b'{"mod\\u0065l": "a/claude-x", "max_tokens": 1, "messages": []}'
            reply = await ask(gateway, body)
            assert reply.attempts == ["a/claude-x 200"]
            assert a.seen[0].body == body.replace(b"a/claude-x", b"claude-x")
            twice = await ask(gateway, b'{"mod\\u0065l": "a/claude-x", "model": "claude-y", "messages": []}')
            assert twice.error == (400, "invalid_request_error", None)

    run(main())


# Headers said to the gateway


def test_x_bf_eh_headers_are_forwarded_but_for_those_that_never_are() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(
                gateway,
                asked(),
                x_bf_eh_x_trace="1",
                x_bf_eh_anthropic_beta="b-1",
                x_bf_eh_authorization="Bearer stolen",
                x_bf_eh_x_api_key="stolen",
                x_bf_eh_cookie="stolen",
                x_bf_eh_host="stolen",
                x_bf_eh_connection="stolen",
                x_bf_eh_transfer_encoding="stolen",
                x_bf_eh_content_length="7",
                x_bf_eh_x_bf_vk="stolen",
                x_bf_dim_team="blue",
                x_asbru_whatever="no",
                x_forwarded_for="10.0.0.1",
            )
            (turn,) = a.seen
            names = {name for name, _ in turn.headers}
            assert {b"x-trace", b"anthropic-beta"} <= names
            assert b"stolen" not in turn.head
            assert turn.values(b"content-length") == [b"%d" % len(turn.body)]
            assert not [name for name in names if name.startswith((b"x-bf", b"x-asbru", b"x-forwarded"))]

    run(main())


def test_headers_that_the_client_names_as_hop_by_hop_stay_here() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, asked(), connection="keep-alive, X-Private", x_private="mine", x_public="all")
            assert a.seen[0].values(b"x-private") == []
            assert a.seen[0].values(b"x-public") == [b"all"]

    run(main())


def test_a_compressed_request_is_relayed_plain() -> None:
    async def main() -> None:
        body = json.dumps(asked()).encode()
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, gzip.compress(body), content_encoding="gzip")
            assert a.seen[0].body == body
            assert a.seen[0].values(b"content-encoding") == []

    run(main())


def test_a_chunked_request_is_relayed_whole() -> None:
    async def main() -> None:
        body = json.dumps(asked()).encode()
        head = request(None, "/v1/messages", method="POST", transfer_encoding="chunked")
        async with Upstream(answers()) as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(head + b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:]))
            assert (await client.reply()).status == 200
            assert a.seen[0].body == body
            assert a.seen[0].values(b"content-length") == [b"%d" % len(body)]
            assert a.seen[0].values(b"transfer-encoding") == []

    run(main())


def test_a_compressed_answer_that_nobody_asked_for_is_given_plain() -> None:
    async def main() -> None:
        play = answers(200, gzip.compress(MESSAGE), (b"content-encoding", b"gzip"))
        async with Upstream(play) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked())
            assert (reply.body, reply.value(b"content-encoding")) == (MESSAGE, None)

    run(main())


# Between attempts


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_of_a_failed_attempt_is_in_the_answer_of_the_next(stream: bool) -> None:
    async def main() -> None:
        failed = answers(404, error_body("not_found_error"), (b"request-id", b"req_first"), (b"x-first", b"yes"))
        served = streams(headers=[(b"x-second", b"yes")]) if stream else answers(200, MESSAGE, (b"x-second", b"yes"))
        async with Upstream(failed) as a, Upstream(served) as b, serving(providers(a, b)) as gateway:
            reply = await ask(gateway, asked(stream=stream, fallbacks=[f"b/{MODEL}"]))
            assert reply.value(b"x-first") is None
            assert reply.value(b"x-second") == "yes"
            assert reply.value(b"request-id") == reply.value(b"x-asbru-request-id") != "req_first"
            assert b"fallbacks" not in a.seen[0].body + b.seen[0].body

    run(main())


# Secrets


@pytest.mark.parametrize("stream", [False, True])
def test_no_credential_of_the_gateways_is_ever_shown(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        told = b""
        echo = error_body("authentication_error", f"invalid key {STORED_KEY}")
        async with Upstream(answers(401, echo), answers(403, echo)) as a:
            with Nowhere() as nowhere:
                for upstream, plays in ((a, 2), (nowhere, 1)):
                    async with serving(guarded(upstream)) as gateway:
                        for _ in range(plays):
                            reply = await ask(gateway, asked(stream=stream), x_api_key=VIRTUAL_KEY)
                            assert reply.status in (502, 504)
                            told += reply.body + b"".join(name + value for name, value in reply.headers)
                        dry = await ask(gateway, asked(), x_api_key=VIRTUAL_KEY, x_asbru_dry_run="true")
                        assert dry.json["candidates"][0]["keys"][0]["name"] == STORED_KEY.removeprefix("sk-")
                        wrong = await ask(gateway, asked(), x_api_key=VIRTUAL_KEY[:-1])
                        assert wrong.status == 401
                        told += dry.body.replace(STORED_KEY.removeprefix("sk-").encode(), b"") + wrong.body
                    told += json.dumps(gateway.records).encode()
        assert STORED_KEY.encode() not in told
        assert VIRTUAL_KEY[:-1].encode() not in told

    with caplog.at_level(logging.DEBUG):
        run(main())
    assert STORED_KEY not in caplog.text
    assert VIRTUAL_KEY[:-1] not in caplog.text


def test_a_byte_order_mark_is_left_out() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            body = json.dumps(asked()).encode()
            assert (await ask(gateway, b"\xef\xbb\xbf" + body)).status == 200
        assert a.seen[0].body == body

    run(main())
