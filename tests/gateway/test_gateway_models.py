"""`/v1/models`: answered from memory with names that a request may use; what is not in memory is asked upstream."""

from __future__ import annotations

import asyncio
import json

import pytest

from asbru.models import page
from tests.gateway.provider import (
    MODEL,
    Json,
    Turn,
    Upstream,
    answers,
    error_body,
    model_info,
)
from tests.gateway.support import (
    Client,
    Running,
    ask,
    asked,
    providers,
    run,
    serving,
)
from tests.upstream.rawserver import until

VIRTUAL_KEY = "sk-bf-" + "m" * 43


async def ids(gateway: Running, query: str = "", **headers: str) -> list[str]:
    reply = await ask(gateway, None, f"/v1/models{query}", **headers)
    assert reply.status == 200
    assert reply.value(b"content-type") == "application/json"
    return [entry["id"] for entry in reply.json["data"]]


def test_the_list_has_bare_ids_of_the_default_provider_full_ones_of_others_and_aliases() -> None:
    async def main() -> None:
        async with Upstream(models=["m-1", "m-2"]) as a, Upstream(models=["m-2", "n-1"]) as b:
            config = providers(a, b) | {"models": {"fast": ["b/n-1", "a/m-1"], "m-9": ["a/m-2"]}}
            config["providers"]["b"]["models"] = ["hidden-1"]
            async with serving(config) as gateway:
                await gateway.listed("m-1", "n-1")
                shown = await ids(gateway)
                assert shown == ["fast", "m-9", "m-1", "m-2", "b/m-2", "b/n-1", "b/hidden-1"]
                for name in shown:
                    one = await ask(gateway, None, f"/v1/models/{name.replace('/', '%2F')}")
                    assert (one.status, one.json["id"], one.json["type"]) == (200, name, "model")
                    assert {"display_name", "created_at", "lifecycle"} <= one.json.keys()
                    also = await ask(gateway, None, f"/v1/models/{name}")
                    assert also.body == one.body
            assert a.seen == b.seen == []

    run(main())


def test_entries_are_what_the_provider_said() -> None:
    async def main() -> None:
        info = json.dumps(model_info("m-1", future={"x": [1.50]}), indent=3)
        async with Upstream() as a:
            a.models = b'{"data": [%b], "has_more": false}' % info.encode()
            async with serving(providers(a)) as gateway:
                await gateway.listed("m-1")
                assert info.encode() in (await ask(gateway, None, "/v1/models")).body
                assert (await ask(gateway, None, "/v1/models/m-1")).body == info.encode()
                named = await ask(gateway, None, "/v1/models/a/m-1")
                assert named.body == info.replace('"m-1"', '"a/m-1"', 1).encode()

    run(main())


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ("", [f"m-{n:02}" for n in range(20)], True),
        ("?limit=1000", [f"m-{n:02}" for n in range(25)], False),
        ("?limit=25", [f"m-{n:02}" for n in range(25)], False),
        ("?limit=24", [f"m-{n:02}" for n in range(24)], True),
        ("?limit=3&after_id=m-20", ["m-21", "m-22", "m-23"], True),
        ("?limit=4&after_id=m-20", ["m-21", "m-22", "m-23", "m-24"], False),
        ("?after_id=m-24", [], False),
        ("?limit=2&before_id=m-05", ["m-03", "m-04"], True),
        ("?limit=5&before_id=m-05", ["m-00", "m-01", "m-02", "m-03", "m-04"], False),
        ("?before_id=m-00", [], False),
    ],
)
def test_pages(query: str, expected: list[str], more: bool) -> None:
    async def main() -> None:
        async with Upstream(models=[f"m-{n:02}" for n in range(25)]) as a, serving(providers(a)) as gateway:
            await gateway.listed("m-24")
            page = (await ask(gateway, None, f"/v1/models{query}")).json
            assert [entry["id"] for entry in page["data"]] == expected
            assert page["has_more"] is more
            ends = (expected[0], expected[-1]) if expected else (None, None)
            assert (page["first_id"], page["last_id"]) == ends

    run(main())


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after_id=nobody", "before_id=nobody"]
)
def test_a_page_that_cannot_be_is_refused_by_the_fields_name(query: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, f"/v1/models?{query}")
            assert reply.error == (400, "invalid_request_error", None)
            assert reply.json["error"]["message"].startswith(query.split("=")[0] + ": ")

    run(main())


def test_a_visible_name_that_no_list_has_is_shown_by_its_name() -> None:
    shown = json.loads(page(["m-7"], lambda _: None, b""))
    assert [(entry["id"], entry["type"]) for entry in shown["data"]] == [("m-7", "model")]
    assert (shown["first_id"], shown["last_id"]) == ("m-7", "m-7")


def test_a_virtual_key_sees_what_it_may_use() -> None:
    async def main() -> None:
        async with Upstream(models=["m-1", "m-2"]) as a, Upstream(models=["n-1"]) as b:
            granted = [{"name": "a", "models": ["m-2", "m-7"]}]
            config = providers(a, b) | {
                "virtual_keys": [{"name": "team", "value": VIRTUAL_KEY, "providers": granted}],
                "models": {"one": ["a/m-1"], "two": ["a/m-2"], "other": ["b/n-1"]},
            }
            config["providers"]["a"]["models"] = ["m-7"]
            async with serving(config) as gateway:
                await gateway.listed("m-1", "n-1")
                assert await ids(gateway, x_api_key=VIRTUAL_KEY) == ["two", "m-2", "m-7"]
                refused = await ask(gateway, None, "/v1/models/m-1", x_api_key=VIRTUAL_KEY)
                assert refused.error == (403, "permission_error", "model_blocked")
                refused = await ask(gateway, None, "/v1/models/b/n-1", x_api_key=VIRTUAL_KEY)
                assert refused.error == (403, "permission_error", "provider_blocked")
                assert (await ask(gateway, None, "/v1/models")).error[0] == 401

    run(main())


def test_a_model_that_is_not_in_memory_is_asked_for() -> None:
    async def main() -> None:
        body = json.dumps(model_info("new-1")).encode()
        missing = error_body("not_found_error", "no such model")
        async with Upstream(answers(200, body), answers(404, missing)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, None, "/v1/models/new-1", anthropic_version="2026-10-21")
            assert (reply.status, reply.body) == (200, body)
            assert (a.seen[0].method, a.seen[0].target) == (b"GET", b"/v1/models/new-1")
            assert a.seen[0].values(b"anthropic-version") == [b"2026-10-21"]
            assert a.seen[0].key == "sk-a"
            reply = await ask(gateway, None, "/v1/models/a/odd%2Fname")
            assert (reply.status, reply.body) == (404, missing)
            assert a.seen[1].target == b"/v1/models/odd%2Fname"

    run(main())


def test_a_model_is_asked_for_in_a_version_when_the_client_names_none() -> None:
    """As the list, which comes from memory, needs none."""

    async def main() -> None:
        async with Upstream(answers(404, error_body("not_found_error", "no"))) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, None, "/v1/models/nope")).status == 404
            assert a.seen[0].values(b"anthropic-version") == [b"2023-06-01"]

    run(main())


def test_an_unknown_model_of_the_sandbox_is_not_found() -> None:
    async def main() -> None:
        async with serving({"providers": {"sandbox": {}}}) as gateway:
            reply = await ask(gateway, None, "/v1/models/nope")
            assert (reply.status, reply.json["type"]) == (404, "error")
            assert reply.json["error"] == {"type": "not_found_error", "message": "model: nope"}
            listed = (await ask(gateway, None, "/v1/models/claude-sandbox")).json
            assert listed["created_at"] == "2026-01-01T00:00:00Z"

    run(main())


def test_a_model_that_is_told_as_a_stream_of_events_is_nonsense() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.send(None, "/v1/models/new-1")
            turn = await a.turn()
            await turn.begin()
            assert (await client.reply()).error == (502, "api_error", None)
            await turn.gone()  # its stream, which has not ended, is not waited for

    run(main())


def test_a_listed_model_is_found_without_its_providers_name() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers(), models=["n-1"]) as b, serving(providers(a, b)) as gateway:
            await gateway.listed("n-1")
            assert (await ask(gateway, asked("n-1"))).value(b"x-asbru-provider") == "b"

    run(main())


# Lists in several pages, and providers that have none


def test_a_providers_list_is_read_to_its_last_page() -> None:
    async def main() -> None:
        class Paged(Upstream):
            async def _one(self, turn: Turn) -> None:
                page = {"data": [model_info("m-1")], "has_more": True, "last_id": "m-1"}
                if b"after_id=m-1" in turn.target:
                    page = {"data": [model_info("m-2")], "has_more": False, "last_id": "m-2"}
                await turn.answer(200, json.dumps(page).encode())

        async with Paged() as a, serving(providers(a)) as gateway:
            await gateway.listed("m-1", "m-2")
            assert await ids(gateway) == ["m-1", "m-2"]

    run(main())


NO_LISTS: list[Json | bytes] = [
    b"not json",
    b'{"data": [{"id": "\xff"}]}',
    b'{"data": [{"id": "m", "id": "n"}]}',
    b"[" * 100_000,
    b'{"data": [{"name": "no id"}]}',
    b'{"data": 7}',
]


@pytest.mark.parametrize("body", NO_LISTS, ids=range(len(NO_LISTS)))
def test_a_provider_without_a_usable_list_serves_all_the_same(body: bytes) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            a.models = body
            async with serving(providers(a)) as gateway:
                await until(lambda: a.listed == 1)
                await gateway.quiet()
                assert await ids(gateway) == []
                assert (await ask(gateway, asked(MODEL))).status == 200
                keeping = [task for task in asyncio.all_tasks() if "_keep" in repr(task)]
                assert len(keeping) == 1  # it will ask again

    run(main())
