"""A virtual key with a list of models is held to it wherever a request names a model, not only in ``model``."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import MODEL, Json, Upstream, answers, error_body, streams
from tests.gateway.support import Reply, ask, asked, provider, providers, run, serving

LISTED = "sk-bf-" + "l" * 43
UNLISTED = "sk-bf-" + "u" * 43
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "m-big"}
BATCH = "/v1/messages/batches"


def guarded(*upstreams: Upstream, **more: object) -> Json:
    """Providers `a`, `b`, …; one virtual key with a list of models for `a` and none for `b`, and one without lists."""
    granted = [{"name": "a", "models": ["m-*", "listed"]}, {"name": "b"}]
    keys = [
        {"name": "listed", "value": LISTED, "files_and_batches": True, "providers": granted[: len(upstreams)]},
        {"name": "unlisted", "value": UNLISTED, "files_and_batches": True},
    ]
    aliases = {"smart": ["a/m-1", "b/big"], "sly": ["a/big"], "elsewhere": ["b/big"], "listed": ["a/big"]}
    config = providers(*upstreams)
    config["providers"].setdefault("b", provider("http://127.0.0.1:9", list_models="none"))
    return {**config, "virtual_keys": keys, "models": aliases, **more}


def assert_blocked(reply: Reply, where: str, name: str) -> None:
    assert reply.error == (403, "permission_error", "model_blocked")
    message = reply.json["error"]["message"]
    assert message.startswith(f"{where}: ")
    assert repr(name) in message


def added(**definition: object) -> list[Json]:
    tool = {"type": "tool_definition", "definition": definition}
    return [
        {"role": "user", "content": "hi"},
        {"role": "system", "content": [{"type": "tool_addition", "tool": tool}]},
    ]


BLOCKED: list[tuple[Json, str, str]] = [
    ({"fallbacks": [{"model": "m-2"}, {"model": "big"}]}, "fallbacks.1.model", "big"),
    ({"fallbacks": "default"}, "fallbacks", "default"),
    ({"fallbacks": ["m-2", {"model": "m-2"}, "big"]}, "fallbacks.2", "big"),
    ({"tools": [{"name": "x"}, {**ADVISOR, "model": "big"}]}, "tools.1.model", "big"),
    ({"tools": [{**ADVISOR, "model": "a/big"}]}, "tools.0.model", "big"),
    ({"tools": [{**ADVISOR, "model": "big[1m]"}]}, "tools.0.model", "big"),
    ({"tools": [{**ADVISOR, "model": "b/m-1"}]}, "tools.0.model", "b/m-1"),
    ({"tools": [{**ADVISOR, "model": "sly"}]}, "tools.0.model", "big"),
    ({"tools": [{**ADVISOR, "model": "elsewhere"}]}, "tools.0.model", "elsewhere"),
    ({"tools": [{**ADVISOR, "model": "a/"}]}, "tools.0.model", "a/"),
    ({"messages": added(**{**ADVISOR, "model": "big"})}, "messages.1.content.0.tool.definition.model", "big"),
    ({"context_management": {"edits": [{"type": "x", "model": "big"}]}}, "context_management.edits.0.model", "big"),
]


@pytest.mark.parametrize(("fields", "where", "name"), BLOCKED)
def test_a_model_that_the_key_may_not_use_is_blocked_wherever_it_is_named(fields: Json, where: str, name: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(guarded(a)) as gateway:
            for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/complete"):
                for stream in (False, True):
                    reply = await ask(gateway, asked("m-1", stream=stream, **fields), path, x_api_key=LISTED)
                    assert_blocked(reply, where, name)
            params = {"custom_id": "2", "params": asked("m-1", **fields)}
            first = {"custom_id": "1", "params": asked("m-1")}
            reply = await ask(gateway, {"requests": [first, params]}, BATCH, x_api_key=LISTED)
            assert_blocked(reply, f"requests.1.params.{where}", name)
            reply = await ask(gateway, asked("m-1", **fields), x_api_key=LISTED, x_asbru_dry_run="true")
            assert_blocked(reply, where, name)
            assert a.seen == []
        assert {record["error_kind"] for record in gateway.records} == {"model_blocked"}

    run(main())


@pytest.mark.parametrize(
    "raw",
    [
        '"tools":[{"model":"m-1","model":"big"}]',
        '"tools":[{"model":"big","model":"m-1"}]',
        '"fallbacks":[{"model":"m-1","\\u006dodel":"big"}]',
        '"tools":[{"model":{"id":"big"}}]',
    ],
)
def test_what_could_be_read_in_more_than_one_way_is_refused(raw: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(guarded(a)) as gateway:
            request = '{"model":"m-1","max_tokens":1,"messages":[],' + raw + "}"
            reply = await ask(gateway, request.encode(), x_api_key=LISTED)
            assert reply.error == (400, "invalid_request_error", None)
            assert raw[1:6] in reply.json["error"]["message"]
            batch = '{"requests":[{"custom_id":"1","params":' + request + "}]}"
            assert (await ask(gateway, batch.encode(), BATCH, x_api_key=LISTED)).error[0] == 400
            assert a.seen == []

    run(main())


@pytest.mark.parametrize("key", [UNLISTED, LISTED])
def test_a_body_whose_names_are_allowed_goes_on_as_it_came(key: str) -> None:
    fields = {
        "fallbacks": [{"model": "m-2", "max_tokens": 5}],
        "tools": [{"name": "x", "input_schema": {"properties": {"model": {"type": "string"}}}}, ADVISOR],
        "messages": added(**ADVISOR),
    }

    async def main() -> None:
        raw = json.dumps(asked("m-1", **fields), indent=1).encode()
        batch = json.dumps({"requests": [{"custom_id": "1", "params": asked("m-1", **fields)}]}, indent=1).encode()
        async with Upstream(answers(), streams(), answers(200, b"{}")) as a, serving(guarded(a)) as gateway:
            assert (await ask(gateway, raw, x_api_key=key)).status == 200
            assert (await ask(gateway, raw, x_api_key=key)).status == 200
            assert (await ask(gateway, batch, BATCH, x_api_key=key)).status == 200
        assert [turn.body for turn in a.seen] == [raw, raw, batch]

    run(main())


@pytest.mark.parametrize(("fields", "where", "name"), BLOCKED)
def test_callers_without_a_list_are_let_through_byte_for_byte(fields: Json, where: str, name: str) -> None:
    async def main() -> None:
        raw = json.dumps(asked("m-1", **fields), indent=1).encode()
        odd = b'{"model":"m-1","max_tokens":1,"messages":[],"tools":[{"model":"a","model":["b"]}]}'
        async with Upstream(*[answers()] * 4) as a:
            async with serving(guarded(a)) as gateway:
                for body in (raw, odd):
                    assert (await ask(gateway, body, x_api_key=UNLISTED)).status == 200
            async with serving({"providers": {"a": provider(a)}}) as gateway:
                for body in (raw, odd):
                    assert (await ask(gateway, body)).status == 200
        assert [turn.body for turn in a.seen] == [raw, odd] * 2

    run(main())


def test_names_go_upstream_as_the_table_resolves_them() -> None:
    tools = [{**ADVISOR, "model": name} for name in ("a/m-2", "smart", "m-1", "m-3", "listed", "a/m-2[1m]")]
    expected = ["m-2", "m-one", "m-one", "m-3", "listed", "m-2"]

    async def main() -> None:
        async with Upstream(answers(), answers(200, b"{}")) as a:
            config = guarded(a)
            config["providers"]["a"]["keys"][0]["aliases"] = {"m-1": "m-one"}
            params = asked("smart", tools=tools)
            async with serving(config) as gateway:
                assert (await ask(gateway, params, x_api_key=LISTED)).status == 200
                batch = {"requests": [{"custom_id": "1", "params": params}]}
                assert (await ask(gateway, batch, BATCH, x_api_key=LISTED)).status == 200
        single, batched = (json.loads(turn.body) for turn in a.seen)
        for body in (single, batched["requests"][0]["params"]):
            assert [tool["model"] for tool in body["tools"]] == expected
            assert body | {"tools": tools} == params | {"model": "m-one"}

    run(main())


def test_a_target_where_a_name_is_not_allowed_is_left_out() -> None:
    async def main() -> None:
        fails = answers(404, error_body("not_found_error"))
        async with Upstream(fails) as a, Upstream(answers(), answers()) as b, serving(guarded(a, b)) as gateway:
            # `b` has no list: there any name is the provider's business
            reply = await ask(gateway, asked("smart", tools=[{**ADVISOR, "model": "big"}]), x_api_key=LISTED)
            assert reply.attempts == ["b/big 200"]
            reply = await ask(gateway, asked("smart", tools=[{**ADVISOR, "model": "m-2"}]), x_api_key=LISTED)
            assert reply.attempts == ["a/m-1 404", "b/big 200"]

    run(main())


def test_a_callers_own_key_does_not_go_to_a_target_that_became_the_first() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers()) as b:
            config = guarded(a, b, auth={"allow_direct_keys": True})
            async with serving(config) as gateway:
                body = asked("smart", tools=[{**ADVISOR, "model": "big"}])
                assert (await ask(gateway, body, x_bf_vk=LISTED, x_api_key="sk-own")).status == 200
        assert [turn.key for turn in b.seen] == ["sk-b"]

    run(main())


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-responses", "gemini", "bedrock-converse"])
def test_translated_targets_ask_the_same_table(dialect: str) -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as t:
            there = provider(t) | {"dialect": dialect}
            config = guarded(a)
            config["providers"]["there"] = there
            config["virtual_keys"][0]["providers"].append({"name": "there", "models": ["t-*"]})
            async with serving(config) as gateway:
                for name, blocked in [("big", True), ("a/big", True), ("sly", True), ("m-1", False), ("t-2", False)]:
                    body = asked("there/t-1", fallbacks=[{"model": name}])
                    reply = await ask(gateway, body, x_api_key=LISTED, x_asbru_dry_run="true")
                    assert (reply.status == 403) is blocked, reply.body
                    if blocked:
                        assert reply.json["error"]["message"].startswith("fallbacks.0.model: ")

    run(main())


def test_a_large_body_is_searched_as_a_small_one() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(guarded(a)) as gateway:
            long = [{"role": "user", "content": "x" * 300_000}]
            reply = await ask(gateway, asked("m-1", messages=long, fallbacks="default"), x_api_key=LISTED)
            assert_blocked(reply, "fallbacks", "default")
            assert (await ask(gateway, asked("m-1", messages=long, tools=[ADVISOR]), x_api_key=LISTED)).status == 200

    run(main())


def test_a_list_that_allows_every_model_is_none() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            config = guarded(a)
            config["virtual_keys"][0]["providers"] = [{"name": "a", "models": ["*"]}]
            async with serving(config) as gateway:
                assert (await ask(gateway, asked(MODEL, fallbacks="default"), x_api_key=LISTED)).status == 200

    run(main())
