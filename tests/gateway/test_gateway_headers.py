"""Which headers cross the gateway: those of the hops around it stop, unless a provider's rules keep them."""

from __future__ import annotations

import gzip

import pytest

from tests.gateway.provider import MESSAGE, MODEL, Json, Upstream, answers, error_body
from tests.gateway.support import Client, ask, asked, provider, providers, run, serving

EDGE = [
    "cf-connecting-ip",
    "cf-ray",
    "cf-access-client-secret",
    "cf-aig-authorization",
    "cdn-loop",
    "true-client-ip",
    "fastly-client-ip",
    "x-original-forwarded-for",
    "x-forwarded",
    "x-forwarded-access-token",
    "x-real-ip",
    "x-amzn-oidc-accesstoken",
    "x-amz-security-token",
    "x-amzn-trace-id",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-ms-token-aad-access-token",
    "x-litellm-api-key",
    "x-portkey-api-key",
    "helicone-auth",
    "ocp-apim-subscription-key",
    "x-azure-clientip",
    "x-envoy-external-address",
    "x-auth-request-access-token",
    "fly-client-ip",
    "remote-user",
    "x-vercel-oidc-token",
]
DISGUISED = ["x_api_key", "authorization_", "x_bf_vk", "transfer_encoding", "content_length", "x.api.key", "host_"]
OF_THE_ORIGIN = [
    (b"Strict-Transport-Security", b"max-age=31536000"),
    (b"alt-svc", b'h3=":443"'),
    (b"nel", b"{}"),
    (b"report-to", b"{}"),
    (b"set-cookie", b"__cf_bm=theirs"),
    (b"clear-site-data", b'"*"'),
]


def with_headers(names: list[str]) -> bytes:
    body = b'{"model": "%b"}' % MODEL.encode()
    fields = b"".join(b"%b: stolen\r\n" % name.encode() for name in names)
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (fields, len(body)) + body


def test_headers_added_by_earlier_hops_are_not_forwarded() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            headers = dict.fromkeys(EDGE, "stolen") | {"x-b3-traceid": "kept", "http-referer": "kept"}
            assert (await ask(gateway, asked(), **headers)).status == 200
            assert b"stolen" not in a.seen[0].head
            assert a.seen[0].head.count(b"kept") == 2

    run(main())


def test_names_that_spell_a_stopped_header_with_other_punctuation_are_dropped() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(with_headers([*DISGUISED, "x-bf-eh-x_api_key"]))
            assert (await client.reply()).status == 200
            assert b"stolen" not in a.seen[0].head
            assert a.seen[0].key == "sk-a"

    run(main())


def test_headers_about_the_upstreams_origin_are_not_relayed() -> None:
    async def main() -> None:
        plays = [answers(200, MESSAGE, *OF_THE_ORIGIN), answers(400, error_body(), *OF_THE_ORIGIN)]
        async with Upstream(*plays) as a, serving(providers(a)) as gateway:
            for status in (200, 400):
                reply = await ask(gateway, asked())
                assert reply.status == status
                assert not {name for name, _ in reply.headers} & {name.lower() for name, _ in OF_THE_ORIGIN}

    run(main())


def test_a_providers_header_rules_apply_in_both_directions() -> None:
    async def main() -> None:
        rules: Json = {
            "request_headers": {"keep": ["cf-access-client-*"], "drop": ["x-stainless-*"]},
            "response_headers": {"keep": ["set-cookie"], "drop": ["server"]},
        }
        told = [(b"set-cookie", b"a=1"), (b"server", b"theirs"), (b"alt-svc", b"h3"), (b"content-encoding", b"gzip")]
        play = answers(200, gzip.compress(MESSAGE), *told)
        async with Upstream(play) as a, serving({"providers": {"a": provider(a, **rules)}}) as gateway:
            headers = {"cf-access-client-id": "id", "cf-ray": "1", "x-stainless-lang": "js", "x-other": "1"}
            reply = await ask(gateway, asked(), **headers)
            assert (reply.status, reply.body) == (200, MESSAGE)
            turn = a.seen[0]
            assert turn.values(b"cf-access-client-id") == [b"id"]
            assert turn.values(b"x-other") == [b"1"]
            assert turn.values(b"cf-ray") == turn.values(b"x-stainless-lang") == []
            assert reply.values(b"set-cookie") == [b"a=1"]
            assert reply.values(b"server") == reply.values(b"alt-svc") == []

    run(main())


def test_a_translated_provider_gets_the_headers_its_rules_keep() -> None:
    async def main() -> None:
        rules: Json = {"dialect": "openai-chat", "request_headers": {"keep": ["cf-access-client-id"]}}
        rules["request_headers"]["drop"] = ["baggage"]
        async with Upstream(answers(400, b"{}")) as a, serving({"providers": {"a": provider(a, **rules)}}) as gateway:
            await ask(gateway, asked(), **{"cf-access-client-id": "id", "baggage": "b", "traceparent": "t"})
            turn = a.seen[0]
            assert (turn.values(b"cf-access-client-id"), turn.values(b"traceparent")) == ([b"id"], [b"t"])
            assert turn.values(b"baggage") == []

    run(main())


def test_providers_with_the_same_tls_settings_share_one_context() -> None:
    async def main() -> None:
        config: Json = {"providers": {name: provider(f"https://{name}.invalid", list_models="none") for name in "abc"}}
        config["fetch"] = {"enabled": True, "hosts": ["*"]}
        async with serving(config) as gateway:
            upstreams = gateway.app.gateway.upstreams.values()
            contexts = {id(upstream.pool._ssl_context) for upstream in upstreams}
            assert len(contexts) == 1
            fetcher = gateway.app.gateway.fetcher
            assert fetcher is not None
            assert {id(fetcher._context)} == contexts

    run(main())


# Pages of other origins

CHANGES: list[tuple[str, str, Json | bytes, str]] = [
    ("POST", "/v1/files", b"--x", "multipart/form-data; boundary=x"),
    ("POST", "/v1/messages/batches/b1/cancel", b"", ""),
    ("POST", "/v1/messages/batches/b1/cancel", b"a=b", "application/x-www-form-urlencoded"),
    ("DELETE", "/v1/files/f1", b"", ""),
    ("DELETE", "/v1/messages/batches/b1", b"", ""),
]
FOREIGN = [
    {"origin": "https://evil.test"},
    {"origin": "null"},
    {"origin": "https://evil.test", "sec_fetch_site": "cross-site"},
    {"origin": "https://a.gateway.test", "sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site"},
    {"origin": "https://evil.test", "authorization": "Basic eDp5"},
]
OWN = [
    {},
    {"sec_fetch_site": "none"},
    {"origin": "http://gateway.test"},
    {"origin": "http://gateway.test", "sec_fetch_site": "same-origin"},
    {"origin": "https://app.test", "sec_fetch_site": "cross-site"},
    {"origin": "https://evil.test", "anthropic_version": "2023-06-01"},
    {"origin": "file://", "x_api_key": "any"},
    {"origin": "app://local", "authorization": "Bearer any"},
]


@pytest.mark.parametrize(("method", "path", "body", "content_type"), CHANGES)
def test_a_page_changes_nothing_without_a_preflight(
    method: str, path: str, body: Json | bytes, content_type: str
) -> None:
    async def main() -> None:
        async with Upstream(*[answers(200, b"{}")] * len(OWN)) as a:
            config = providers(a) | {"server": {"cors": {"origins": ["https://app.test"]}}}
            async with serving(config) as gateway:
                for headers in FOREIGN:
                    reply = await ask(gateway, body, path, method=method, content_type=content_type, **headers)
                    assert reply.error == (403, "permission_error", "origin_blocked"), headers
                assert a.seen == []
                for headers in OWN:
                    reply = await ask(gateway, body, path, method=method, content_type=content_type, **headers)
                    assert reply.status == 200, headers

    run(main())


def test_a_page_sends_no_message_without_a_preflight() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            for headers in FOREIGN:
                for content_type in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
                    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/complete"):
                        reply = await ask(gateway, asked(), path, content_type=content_type, **headers)
                        assert reply.status == 415
            assert a.seen == []

    run(main())
