"""Batches and files through the gateway: links that lead back to it, streamed bodies, one key that finds them."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import (
    MODEL,
    Json,
    Play,
    Turn,
    Upstream,
    answers,
    error_body,
    head,
)
from tests.gateway.support import (
    Client,
    Torn,
    ask,
    asked,
    provider,
    providers,
    request,
    run,
    serving,
)
from tests.upstream.rawserver import until

BATCH = "/v1/messages/batches"
VIRTUAL_KEY = "sk-bf-" + "r" * 43
PREFIXES = ["", "/anthropic", "/litellm/anthropic", "/pydanticai", "/langchain/anthropic", "/cursor"]


def batch(id: str = "msgbatch_1", results_url: str | None = "https://theirs.example/v1/x/results") -> Json:
    return {"id": id, "type": "message_batch", "processing_status": "ended", "results_url": results_url, "x": 1.50}


def batch_of(*models: str) -> Json:
    return {
        "requests": [
            {"custom_id": f"r{number}", "params": asked(model, stream=False)} for number, model in enumerate(models)
        ]
    }


# Links


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", BATCH, batch_of(MODEL)),
        ("GET", f"{BATCH}/msgbatch_1", None),
        ("POST", f"{BATCH}/msgbatch_1/cancel", b""),
    ],
    ids=["create", "get", "cancel"],
)
def test_results_url_leads_to_the_gateway_by_the_way_that_was_used(
    prefix: str, method: str, path: str, body: Json | bytes | None
) -> None:
    async def main() -> None:
        raw = json.dumps(batch(), indent=2).encode()
        async with Upstream(answers(200, raw)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, body, prefix + path + "?beta=true", method=method, host="gate.test:81")
            url = f"http://gate.test:81{prefix}{BATCH}/msgbatch_1/results"
            assert reply.body == raw.replace(b"https://theirs.example/v1/x/results", url.encode())
            assert a.seen[0].target == f"{path}?beta=true".encode()

    run(main())


@pytest.mark.parametrize(
    ("server", "headers", "origin"),
    [
        ({}, {"x_forwarded_proto": "https", "host": "h.test"}, "https://h.test"),
        ({}, {"x_forwarded_proto": "HTTPS , http", "host": "h.test"}, "https://h.test"),
        ({}, {"x_forwarded_proto": "gopher", "host": "h.test"}, "http://h.test"),
        ({"public_url": "https://pub.test/llm/"}, {"host": "h.test"}, "https://pub.test/llm"),
    ],
)
def test_where_the_gateway_is_reached(server: Json, headers: dict[str, str], origin: str) -> None:
    async def main() -> None:
        async with (
            Upstream(answers(200, json.dumps(batch()).encode())) as a,
            serving(providers(a) | {"server": server}) as gateway,
        ):
            reply = await ask(gateway, None, f"/anthropic{BATCH}/msgbatch_1", **headers)
            assert reply.json["results_url"] == f"{origin}/anthropic{BATCH}/msgbatch_1/results"

    run(main())


def test_every_link_of_a_list_is_changed_and_nothing_else() -> None:
    async def main() -> None:
        listed = {"data": [batch("b1"), batch("b2", None), batch("b3")], "has_more": False, "first_id": "b1"}
        raw = json.dumps(listed, indent=1).encode()
        async with Upstream(answers(200, raw)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, f"{BATCH}?limit=3&before_id=x")
            assert a.seen[0].target == f"{BATCH}?limit=3&before_id=x".encode()
            urls = [entry["results_url"] for entry in reply.json["data"]]
            base = f"http://gateway.test{BATCH}"
            assert urls == [f"{base}/b1/results", None, f"{base}/b3/results"]
            theirs = b"https://theirs.example/v1/x/results"
            undone = reply.body.replace(f"{base}/b1/results".encode(), theirs)
            assert undone.replace(f"{base}/b3/results".encode(), theirs) == raw

    run(main())


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"not json", b'{"id": "\xff", "results_url": "x"}', b'{"data": [1]}'])
def test_what_is_no_batch_is_relayed_as_it_is(raw: bytes) -> None:
    async def main() -> None:
        async with Upstream(answers(200, raw)) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, None, f"{BATCH}/b1")).body == raw

    run(main())


# Batches under the policy


def test_a_batch_goes_where_its_models_go() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers(200, b"{}")) as b:
            config = providers(a, b) | {"models": {"fast": ["b/n-2"]}}
            async with serving(config) as gateway:
                reply = await ask(gateway, batch_of("b/n-1", "fast", "b/n-1"), BATCH)
                assert reply.value(b"x-asbru-provider") == "b"
                sent = json.loads(b.seen[0].body)
                assert [entry["params"]["model"] for entry in sent["requests"]] == ["n-1", "n-2", "n-1"]

    run(main())


def test_keys_aliases_rename_in_batches_too() -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}")) as a:
            config = {"providers": {"a": provider(a)}}
            config["providers"]["a"]["keys"][0]["aliases"] = {"latest": "m-2026"}
            async with serving(config) as gateway:
                await ask(gateway, batch_of("latest", MODEL), BATCH)
                sent = json.loads(a.seen[0].body)
                assert [entry["params"]["model"] for entry in sent["requests"]] == ["m-2026", MODEL]

    run(main())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (batch_of(MODEL, "b/n-1"), "of one provider"),
        ({"requests": []}, "at least 1 item"),
        ({"requests": [{"custom_id": "x", "params": {}}]}, "model"),
        ({}, "requests"),
        (b"{", "JSON"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(body: Json | bytes, says: str) -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b, serving(providers(a, b)) as gateway:
            reply = await ask(gateway, body, BATCH)
            assert reply.error == (400, "invalid_request_error", None)
            assert says in reply.json["error"]["message"]
            assert a.seen == b.seen == []

    run(main())


def test_a_batch_may_hold_only_models_that_the_virtual_key_may_use() -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}")) as a, Upstream() as b:
            granted = [{"name": "a", "models": ["m-*"]}]
            config = providers(a, b) | {
                "virtual_keys": [{"name": "t", "value": VIRTUAL_KEY, "providers": granted}],
                "models": {"sly": ["b/n-1"]},
            }
            async with serving(config) as gateway:
                refused = await ask(gateway, batch_of("m-1", "claude-x"), BATCH, x_api_key=VIRTUAL_KEY)
                assert refused.error == (403, "permission_error", "model_blocked")
                for model in ("b/m-1", "sly"):
                    refused = await ask(gateway, batch_of("m-1", model), BATCH, x_api_key=VIRTUAL_KEY)
                    assert refused.error == (403, "permission_error", "provider_blocked")
                assert a.seen == b.seen == []
                assert (await ask(gateway, batch_of("m-1", "m-2"), BATCH, x_api_key=VIRTUAL_KEY)).status == 200

    run(main())


@pytest.mark.parametrize("path", [f"{BATCH}/id_1", f"{BATCH}/id_1/results", "/v1/files/id_1", "/v1/files/id_1/content"])
def test_an_id_is_looked_for_at_every_provider_the_caller_may_use(path: str) -> None:
    async def main() -> None:
        missing = answers(404, error_body("not_found_error"))
        async with Upstream(missing) as a, Upstream(missing) as b, Upstream(answers(200, b"{}")) as c, Upstream() as d:
            granted = [{"name": name} for name in "abc"]
            keys = [{"name": "t", "value": VIRTUAL_KEY, "providers": granted}]
            async with serving(providers(a, b, c, d) | {"virtual_keys": keys}) as gateway:
                reply = await ask(gateway, None, path, x_bf_vk=VIRTUAL_KEY)
                assert (reply.status, reply.body) == (200, b"{}")
                assert reply.attempts == ["a 404", "b 404", "c 200"]
            assert [turn.target for turn in c.seen] == [path.encode()]

    run(main())


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        (529, (529, "overloaded_error", None)),
        (429, (429, "overloaded_error", None)),
        (401, (502, "api_error", "upstream_credentials")),
    ],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_what_one_provider_does_not_know_another_that_was_not_heard_may_have(
    failing: int, told: tuple[int, str, str | None], is_first: bool
) -> None:
    async def main() -> None:
        missing, fails = answers(404, error_body("not_found_error")), answers(failing, error_body())
        plays = (fails, missing) if is_first else (missing, fails)
        async with (
            Upstream(plays[0]) as a,
            Upstream(plays[1]) as b,
            serving(providers(a, b, max_retries=0)) as gateway,
        ):
            assert (await ask(gateway, None, f"{BATCH}/id_1")).error == told

    run(main())


def test_what_one_provider_does_not_know_one_that_rests_may_have() -> None:
    async def main() -> None:
        fails, missing = answers(500, error_body("api_error")), answers(404, error_body("not_found_error"))
        async with (
            Upstream(fails) as a,
            Upstream(missing, missing) as b,
            serving(providers(a, b, max_retries=0, breaker={"failures": 1})) as gateway,
        ):
            assert (await ask(gateway, None, f"{BATCH}/id_1")).status == 500
            reply = await ask(gateway, None, f"{BATCH}/id_1")
            assert reply.error == (503, "overloaded_error", "no_candidate")
            assert reply.value(b"retry-after") is not None

    run(main())


def test_what_all_refuse_is_told_as_the_first_said_it() -> None:
    async def main() -> None:
        missing, refused = answers(404, error_body("not_found_error")), answers(405, error_body())
        async with Upstream(missing) as a, Upstream(refused) as b, serving(providers(a, b)) as gateway:
            assert (await ask(gateway, None, f"{BATCH}/id_1")).error == (404, "not_found_error", None)

    run(main())


def test_a_key_that_rests_is_still_the_one_that_finds_what_lives_there() -> None:
    async def main() -> None:
        limited = answers(429, error_body("rate_limit_error"))
        missing = answers(404, error_body("not_found_error"))
        async with Upstream(limited, missing, answers(200, b"{}")) as a:
            async with serving({"providers": {"a": provider(a, "sk-one", "sk-two")}}) as gateway:
                reply = await ask(gateway, None, f"{BATCH}/id_1")
                assert reply.error == (429, "rate_limit_error", None)  # not the 404 of the other key's workspace
                assert (await ask(gateway, None, f"{BATCH}/id_1")).status == 200
            assert [turn.key for turn in a.seen] == ["sk-one", "sk-two", "sk-one"]

    run(main())


def test_a_batch_is_sent_with_a_key_that_may_serve_all_of_it() -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}"), answers(200, b"{}")) as a:
            config = {"providers": {"a": provider(a, "sk-zero", "sk-one", "sk-two", "sk-three")}}
            keys = config["providers"]["a"]["keys"]
            keys[0] |= {"weight": 0}
            keys[1] |= {"models": ["m-1", "m-4"]}
            keys[2] |= {"exclude": ["m-3", "m-4"], "aliases": {"m-1": "m-2026"}}
            keys[3] |= {"exclude": ["m-3", "m-4"]}
            async with serving(config) as gateway:
                assert (await ask(gateway, batch_of("m-1", "m-2"), BATCH)).status == 200
                assert a.seen[0].key == "sk-two"
                sent = json.loads(a.seen[0].body)["requests"]
                assert [entry["params"]["model"] for entry in sent] == ["m-2026", "m-2"]
                refused = await ask(gateway, batch_of("m-1", "m-2", "m-4"), BATCH)
                assert refused.error == (403, "permission_error", "model_blocked")
                assert "'m-4'" in refused.json["error"]["message"]
                refused = await ask(gateway, batch_of("m-1", "m-2"), BATCH, x_bf_api_key="one")
                assert refused.error == (403, "permission_error", "model_blocked")
                assert (await ask(gateway, batch_of("m-1", "m-4"), BATCH)).status == 200
                assert a.seen[1].key == "sk-one"

    run(main())


@pytest.mark.parametrize(("path", "length"), [("/v1/files/f", None), ("/v1/files/f/content", "99")])
def test_a_head_request_is_not_told_a_length_that_nobody_knows(path: str, length: str | None) -> None:
    async def head_only(turn: Turn) -> None:
        await turn.say(head(200, [(b"content-type", b"application/json"), (b"content-length", b"99")]))

    async def main() -> None:
        async with Upstream(head_only) as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.send(None, path, method="HEAD")
            reply = await client.reply()
            assert (reply.status, reply.value(b"content-length"), a.seen[0].method) == (200, length, b"HEAD")

    run(main())


def test_a_list_is_the_default_providers() -> None:
    async def main() -> None:
        async with Upstream(answers(404, error_body())) as a, Upstream() as b, serving(providers(a, b)) as gateway:
            assert (await ask(gateway, None, "/v1/files?limit=2")).status == 404
            assert a.seen[0].target == b"/v1/files?limit=2"

    run(main())


@pytest.mark.parametrize("status", [200, 404])
def test_no_header_speaks_of_a_model_where_there_is_none(status: int) -> None:
    async def main() -> None:
        async with Upstream(answers(status, b"{}")) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, "/v1/files")
            assert reply.attempts == [f"a {status}"]
            assert reply.value(b"x-asbru-provider") == reply.value(b"x-bifrost-provider") == "a"
            assert reply.values(b"x-asbru-model") == reply.values(b"x-bifrost-resolved-model") == []

    run(main())


def test_what_lives_at_a_key_is_always_asked_with_it_and_another_can_be_named() -> None:
    async def main() -> None:
        plays: list[Play] = [answers(200, b"{}")] * 12
        async with Upstream(*plays) as a, serving({"providers": {"a": provider(a, "sk-one", "sk-two")}}) as gateway:
            await ask(gateway, batch_of(MODEL), BATCH)
            await ask(gateway, b"--x", "/v1/files", content_type="multipart/form-data; boundary=x")
            for path in (BATCH, f"{BATCH}/1", f"{BATCH}/1/results", "/v1/files", "/v1/files/1", "/v1/files/1/content"):
                await ask(gateway, None, path, x_bf_session_id=path)
            assert {turn.key for turn in a.seen} == {"sk-one"}
            a.seen.clear()
            await ask(gateway, None, f"{BATCH}/1", x_bf_api_key="two")
            await ask(gateway, batch_of(MODEL), BATCH, x_bf_api_key="two")
            await ask(gateway, None, f"{BATCH}/1", method="DELETE", x_bf_api_key="two")
            await ask(gateway, b"", f"{BATCH}/1/cancel", x_bf_api_key="two")
            assert {turn.key for turn in a.seen} == {"sk-two"}
            assert [turn.method for turn in a.seen] == [b"GET", b"POST", b"DELETE", b"POST"]

    run(main())


# Bodies that are streamed


def upload_head(**headers: str) -> bytes:
    return request(None, "/v1/files", method="POST", content_type="multipart/form-data; boundary=x", **headers)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_is_streamed_through_as_it_arrives(chunked: bool) -> None:
    async def main() -> None:
        size = 3_000_000
        piece = b"p" * 50_000
        framing = {"transfer_encoding": "chunked"} if chunked else {"content_length": str(size)}
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(upload_head(**framing))
            turn = await a.raw_turn()  # it begins before anything of the body is there
            assert turn.values(b"content-type") == [b"multipart/form-data; boundary=x"]
            assert turn.values(b"content-length") == ([] if chunked else [b"%d" % size])
            for _ in range(size // len(piece)):
                await client.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await client.write(b"0\r\n\r\n" if chunked else b"")
            await turn.read()
            assert turn.body == piece * (size // len(piece))
            await turn.answer(200, b'{"id": "file_1"}')
            assert (await client.reply()).body == b'{"id": "file_1"}'

    run(main())


def test_a_file_waits_for_an_upstream_that_does_not_take_it() -> None:
    async def main() -> None:
        size = 40_000_000
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(upload_head(content_length=str(size)))
            turn = await a.raw_turn()
            turn.line.deaf()
            client.writer.write(b"p" * size)
            (connection,) = gateway.app.service._shared.connections
            # The gateway stops reading, so that what the client has not sent stays with the client.
            await until(lambda: connection.reading.paused)
            assert client.writer.transport.get_write_buffer_size() > 0
            turn.line.hear()
            await turn.read()
            assert len(turn.body) == size
            await turn.answer(200, b"{}")
            assert (await client.reply()).status == 200

    run(main())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_too_large_is_refused_and_its_upload_cut(chunked: bool) -> None:
    async def main() -> None:
        config_server = {"server": {"max_file_bytes": 100_000}}
        async with (
            Upstream() as a,
            serving(providers(a) | config_server) as gateway,
            await Client.open(gateway) as client,
        ):
            if chunked:
                await client.write(upload_head(transfer_encoding="chunked"))
                turn = await a.raw_turn()
                await client.write(b"%x\r\n%b\r\n" % (100_001, b"p" * 100_001))
                reply = await client.reply()
                await turn.gone()
            else:
                await client.write(upload_head(content_length="100001"))
                reply = await client.reply()
            assert reply.error == (413, "request_too_large", None)

    run(main())


def test_an_upload_is_tried_once() -> None:
    async def main() -> None:
        async with Upstream(answers(529, error_body())) as a, Upstream() as b, serving(providers(a, b)) as gateway:
            reply = await ask(gateway, b"--x", "/v1/files", content_type="multipart/form-data; boundary=x")
            assert (reply.status, reply.body, len(a.seen), b.seen) == (529, error_body(), 1, [])

    run(main())


def test_an_upload_that_is_refused_early_gets_its_answer() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.write(upload_head(content_length="1000000") + b"--x")
            turn = await a.raw_turn()
            await turn.answer(400, error_body("invalid_request_error"))
            reply = await client.reply()
            assert (reply.status, reply.body) == (400, error_body("invalid_request_error"))

    run(main())


def test_a_compressed_upload_is_refused() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, b"\x1f\x8b", "/v1/files", content_type="x/y", content_encoding="gzip")
            assert reply.error == (415, "invalid_request_error", None)
            assert a.seen == []

    run(main())


@pytest.mark.parametrize("path", ["/v1/files/file_1/content", f"{BATCH}/msgbatch_1/results"])
def test_content_is_streamed_back_as_it_comes(path: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.send(None, path)
            turn = await a.turn()
            await turn.begin(b"application/x-jsonl", (b"content-disposition", b"attachment"))
            reply = await client.head()
            assert reply.value(b"content-type") == "application/x-jsonl"
            assert reply.value(b"content-disposition") == "attachment"
            for piece in (b"one\n", b"two\n"):
                await turn.chunk(piece)
                await reply.until(piece)
            big = bytes(range(256)) * 8000
            await turn.chunk(big)
            await turn.end()
            assert (await reply.rest()).body == b"one\ntwo\n" + big

    run(main())


def test_content_of_a_known_length_keeps_it() -> None:
    async def main() -> None:
        body = b"\x00\xff" * 1000
        play = answers(200, body, (b"content-type", b"image/png"))
        async with Upstream(play) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, "/v1/files/f/content")
            assert (reply.value(b"content-length"), reply.body) == ("2000", body)

    run(main())


def test_content_that_breaks_off_is_cut_off_for_the_client_too() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.send(None, "/v1/files/f/content")
                turn = await a.turn()
                await turn.begin(b"application/octet-stream")
                await turn.chunk(b"half")
                reply = await client.head()
                await reply.until(b"half")
                turn.reset()
                with pytest.raises(Torn):
                    await reply.rest()
            assert gateway.records[0]["error_kind"] == "upstream_invalid"

    run(main())
