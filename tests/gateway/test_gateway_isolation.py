"""Files and batches of one virtual key are not another's: the routes and the messages that read them are closed."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import MESSAGE, Json, Upstream, answers, error_body
from tests.gateway.support import Reply, Running, ask, asked, provider, providers, run, serving

ONE, TWO = ("sk-bf-" + name * 43 for name in "ot")
MASTER = "operators-token-of-some-length"
BATCH: Json = {"requests": [{"custom_id": "x", "params": asked()}]}
ROUTES: list[tuple[str, str, Json | bytes | None]] = [
    ("POST", "/v1/messages/batches", BATCH),
    ("GET", "/v1/messages/batches", None),
    ("GET", "/v1/messages/batches/b1", None),
    ("DELETE", "/v1/messages/batches/b1", None),
    ("POST", "/v1/messages/batches/b1/cancel", b""),
    ("GET", "/v1/messages/batches/b1/results", None),
    ("POST", "/anthropic/v1/files", b"--x"),
    ("GET", "/v1/files", None),
    ("GET", "/v1/files/f1", None),
    ("DELETE", "/v1/files/f1", None),
    ("GET", "/v1/files/f1/content", None),
]
BLOCKED = (403, "permission_error", "files_and_batches_blocked")
SOURCE = {"type": "document", "source": {"type": "file", "file_id": "file_of_another"}}
NAMES_FILE = asked(messages=[{"role": "user", "content": [SOURCE]}])
ESCAPED = b'{"model":"a/m","max_tokens":9,"messages":[{"role":"user","content":[{"source":{"file\\u005Fid":"f"}}]}]}'
TOOL = asked(tools=[{"name": "t", "input_schema": {"type": "object", "properties": {"file_id": {}}}}])


def shared(*upstreams: Upstream, one: Json | None = None, **auth: object) -> Json:
    """Two virtual keys that may use everything, the first with these options."""
    keys = [{"name": "one", "value": ONE, **(one or {})}, {"name": "two", "value": TWO}]
    return providers(*upstreams) | {"virtual_keys": keys, "auth": {"master_key": MASTER, **auth}}


async def call(gateway: Running, route: tuple[str, str, Json | bytes | None], **headers: str) -> Reply:
    method, path, body = route
    content_type = "multipart/form-data; boundary=x" if path.endswith("files") else "application/json"
    return await ask(gateway, body, path, method=method, content_type=content_type if body else "", **headers)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_two_keys_at_one_provider_have_no_files_and_batches(route: tuple[str, str, Json | bytes | None]) -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}")) as a, serving(shared(a)) as gateway:
            for key in (ONE, TWO):
                for more in ({}, {"x_bf_api_key": "a"}):
                    reply = await call(gateway, route, x_api_key=key, **more)
                    assert reply.error == BLOCKED
                    assert "files_and_batches" in reply.json["error"]["message"]
            assert a.seen == []
            assert (await call(gateway, route, x_api_key=MASTER)).status == 200
        assert [record["error_kind"] for record in gateway.records if "error_kind" in record][:1] == [BLOCKED[2]]

    run(main())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/cursor/v1/messages/chat"])
@pytest.mark.parametrize("body", [NAMES_FILE, ESCAPED], ids=["plain", "escaped"])
def test_a_message_that_names_a_file_reads_it_too(path: str, body: Json | bytes) -> None:
    async def main() -> None:
        async with Upstream(answers(), answers()) as a, serving(shared(a)) as gateway:
            assert (await ask(gateway, body, path, x_api_key=ONE)).error == BLOCKED
            assert (await ask(gateway, body, path, x_api_key=TWO, x_bf_api_key="a")).error == BLOCKED
            assert (await ask(gateway, body, path, x_api_key=TWO, x_asbru_dry_run="true")).error == BLOCKED
            assert a.seen == []
            assert (await ask(gateway, TOOL, "/v1/messages", x_api_key=ONE)).status == 200
            assert (await ask(gateway, body, "/v1/messages", x_api_key=MASTER)).status == 200

    run(main())


def test_the_operator_opens_them_for_a_key() -> None:
    async def main() -> None:
        opened = {"files_and_batches": True}
        async with Upstream(answers(200, b"{}"), answers()) as a, serving(shared(a, one=opened)) as gateway:
            assert (await ask(gateway, None, "/v1/files", x_api_key=ONE)).status == 200
            assert (await ask(gateway, NAMES_FILE, x_api_key=ONE)).status == 200
            assert (await ask(gateway, None, "/v1/files", x_api_key=TWO)).error == BLOCKED

    run(main())


def test_keys_at_providers_of_their_own_have_them() -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}")) as a, Upstream(answers(200, b"{}")) as b:
            config = shared(a, b)
            for key, name in zip(config["virtual_keys"], "ab", strict=True):
                key["providers"] = [{"name": name}]
            async with serving(config) as gateway:
                for key in (ONE, TWO):
                    assert (await ask(gateway, None, "/v1/files", x_api_key=key)).status == 200

    run(main())


def test_the_callers_own_key_has_a_workspace_of_its_own() -> None:
    """It goes to the first provider alone, and nothing is looked for at the next one, whose key is the gateway's."""

    async def main() -> None:
        missing = answers(404, error_body("not_found_error"))
        async with Upstream(missing, answers(), answers(400, error_body()), missing) as a, Upstream() as b:
            async with serving(shared(a, b, allow_direct_keys=True)) as gateway:
                both = {"x_bf_vk": ONE, "x_api_key": "sk-ant-mine"}
                assert (await ask(gateway, None, "/v1/files/f1", **both)).status == 404
                assert (await ask(gateway, NAMES_FILE, **both)).status == 200
                assert (await ask(gateway, NAMES_FILE | {"fallbacks": ["b/m"]}, **both)).status == 400
                assert (await ask(gateway, BATCH, "/v1/messages/batches", **both)).status == 404
                pinned = await ask(gateway, None, "/v1/files/f1", x_bf_api_key="b", **both)
                assert pinned.error == BLOCKED
            assert {turn.key for turn in a.seen} == {"sk-ant-mine"}
            assert b.seen == []

    run(main())


def test_any_text_is_no_workspace_where_keys_are_not_checked() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = shared(a, allow_direct_keys=True)
            config["providers"]["a"] = {"dialect": "anthropic", "base_url": a.url}
            async with serving(config) as gateway:
                both = {"x_bf_vk": ONE, "x_api_key": "any-text"}
                assert (await ask(gateway, None, "/v1/files/f1", **both)).error == BLOCKED
                assert (await ask(gateway, NAMES_FILE, **both)).error == BLOCKED
                assert (await ask(gateway, BATCH, "/v1/messages/batches", **both)).error == BLOCKED

    run(main())


def test_callers_without_a_key_do_not_find_those_of_virtual_keys() -> None:
    async def main() -> None:
        async with Upstream(answers(200, b"{}")) as a:
            config = shared(a, required=False, allow_direct_keys=True)
            async with serving(config) as gateway:
                assert (await ask(gateway, None, "/v1/files")).error == BLOCKED
                assert (await ask(gateway, NAMES_FILE)).error == BLOCKED
                assert (await ask(gateway, None, "/v1/files", x_api_key="sk-ant-mine")).status == 200
                assert a.seen[0].key == "sk-ant-mine"

    run(main())


def test_a_thread_is_continued_by_who_began_it_alone() -> None:
    """Only the last turn is sent, so that whoever continues a thread reads the rest of it."""

    async def main() -> None:
        message = answers(200, MESSAGE)
        id = json.loads(MESSAGE)["id"]
        begins = asked(thread={"type": "new"})
        goes_on = asked(thread={"type": "continue", "previous_message_id": id})
        async with Upstream(*[message] * 5) as a:
            config = shared(a, one={"files_and_batches": None})
            async with serving(config) as gateway:
                unknown = await ask(gateway, goes_on, x_api_key=ONE)  # after a restart it might be anybody's
                assert (await ask(gateway, begins, x_api_key=ONE)).status == 200
                other = await ask(gateway, goes_on, x_api_key=TWO)
                for refused in (unknown, other):
                    assert refused.error == (400, "invalid_request_error", None)
                    assert refused.json["error"]["details"] == {"error_code": "thread_unsupported_request"}
                assert len(a.seen) == 1
                assert (await ask(gateway, goes_on, x_api_key=ONE)).status == 200
                assert (await ask(gateway, goes_on, x_api_key=MASTER)).status == 200
            a.plays.clear()

    run(main())


# Batches over several providers


@pytest.mark.parametrize("session", ["", *(f"s{number}" for number in range(8))])
def test_a_batch_goes_to_one_provider_that_can_serve_all_of_it(session: str) -> None:
    async def main() -> None:
        many = [answers(200, b"{}")] * 20
        async with Upstream(*many) as a, Upstream(*many) as b, Upstream() as c:
            granted = [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}, {"name": "c", "weight": 50}]
            config = providers(a, b, c) | {"virtual_keys": [{"name": "one", "value": ONE, "providers": granted}]}
            config["providers"]["c"] = provider(c, dialect="openai-chat")
            config["providers"]["b"]["keys"][0]["models"] = ["m-1*", "m-2*"]
            params = [asked(model) for model in ("m-1", "m-2")]
            both = {"requests": [{"custom_id": str(at), "params": each} for at, each in enumerate(params)]}
            more = {"requests": [*both["requests"], {"custom_id": "x", "params": asked("m-3")}]}
            async with serving(config) as gateway:
                for _ in range(10):
                    for body in (both, more):
                        reply = await ask(gateway, body, "/v1/messages/batches", x_api_key=ONE, x_bf_session_id=session)
                        assert reply.status == 200, reply.json
                        if body is more:
                            assert reply.value(b"x-asbru-provider") == "a"
            assert (len(a.seen) + len(b.seen), c.seen) == (20, [])
            a.plays.clear()
            b.plays.clear()

    run(main())


def test_a_batch_goes_where_one_key_may_serve_all_of_it() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers(200, b"{}")) as b:
            config = providers(a, b) | {"models": {"fast": ["a/m-1", "b/m-1"], "slow": ["a/m-2", "b/m-2"]}}
            config["providers"]["a"] = provider(a, "sk-1", "sk-2")
            for key, model in zip(config["providers"]["a"]["keys"], ("m-1", "m-2"), strict=True):
                key["models"] = [model]
            async with serving(config) as gateway:
                params = [asked(model) for model in ("fast", "slow")]
                body = {"requests": [{"custom_id": str(at), "params": each} for at, each in enumerate(params)]}
                reply = await ask(gateway, body, "/v1/messages/batches")
                assert (reply.status, reply.value(b"x-asbru-provider")) == (200, "b")
                assert b'"m-2"' in b.seen[0].body

    run(main())
