"""Who may do what, on every route: each family of them obeys the same policy, and each refusal is its row of §7."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from tests.gateway.provider import (
    MODEL,
    Json,
    Upstream,
    answers,
    error_body,
)
from tests.gateway.support import (
    Reply,
    Running,
    ask,
    asked,
    provider,
    providers,
    run,
    serving,
)

GOOD, OFF, OLD = (f"sk-bf-{name}{'k' * 40}" for name in ("good", "off", "old"))
NARROW = "sk-bf-narrow" + "k" * 40
MASTER = "operators-token-of-some-length"
VERSION = {"anthropic_version": "2023-06-01"}


class Route(NamedTuple):
    """One of a family, with a body that it takes."""

    method: str
    path: str
    body: Json | bytes | None = None
    content_type: str = "application/json"


BATCH: Json = {"requests": [{"custom_id": "x", "params": asked()}]}
ROUTES = [
    Route("POST", "/v1/messages", asked()),
    Route("POST", "/v1/messages?beta=true", asked(stream=True)),
    Route("POST", "/v1/messages/count_tokens", asked()),
    Route("POST", "/v1/complete", asked()),
    Route("POST", "/v1/messages/batches", BATCH),
    Route("GET", "/v1/messages/batches"),
    Route("GET", "/v1/messages/batches/b1"),
    Route("DELETE", "/v1/messages/batches/b1"),
    Route("POST", "/v1/messages/batches/b1/cancel", b""),
    Route("GET", "/v1/messages/batches/b1/results"),
    Route("POST", "/v1/files", b"--x", "multipart/form-data; boundary=x"),
    Route("GET", "/v1/files"),
    Route("GET", "/v1/files/f1"),
    Route("DELETE", "/v1/files/f1"),
    Route("GET", "/v1/files/f1/content"),
    Route("GET", "/v1/models"),
    Route("GET", f"/v1/models/{MODEL}"),
]
routes = pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.path}" for route in ROUTES])
PREFIXES = ["", "/anthropic", "/litellm/anthropic", "/litellm", "/pydanticai/anthropic"]
PREFIXES += ["/pydanticai", "/langchain/anthropic", "/langchain", "/cursor"]


def guarded(*upstreams: Upstream, **more: object) -> Json:
    """Providers behind virtual keys of every kind, and the operator's token."""
    keys: list[Json] = [
        {"name": "good", "value": GOOD, "files_and_batches": True},
        {"name": "off", "value": OFF, "active": False},
        {"name": "old", "value": OLD, "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "narrow", "value": NARROW, "providers": [{"name": "ab"[len(upstreams) - 1], "models": ["n-*"]}]},
    ]
    keys[-1]["files_and_batches"] = True
    return providers(*upstreams) | {"virtual_keys": keys, "auth": {"master_key": MASTER, **more}}


async def call(gateway: Running, route: Route, prefix: str = "", **headers: str) -> Reply:
    content_type = route.content_type if route.body is not None else ""
    return await ask(
        gateway, route.body, prefix + route.path, method=route.method, content_type=content_type, **headers
    )


def assert_refused(reply: Reply, status: int, type: str, reason: str | None) -> None:
    """The refusal is exact, and complete."""
    assert reply.error == (status, type, reason)
    assert reply.value(b"content-type") == "application/json"
    assert reply.value(b"request-id") == reply.value(b"x-asbru-request-id") == reply.json["request_id"]
    assert reply.value(b"x-asbru-provider") is None
    assert (reply.value(b"retry-after") is not None) == (status in (429, 503))


# Who


@routes
def test_nobody_gets_in_without_a_key_that_is_known_and_good(route: Route) -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(guarded(a)) as gateway:
                for headers, reason, status in (
                    ({}, "virtual_key_required", 401),
                    ({"x_api_key": "sk-ant-somebodys"}, "virtual_key_required", 401),
                    ({"authorization": "Bearer sk-ant-oat-1"}, "virtual_key_required", 401),
                    ({"authorization": "Basic " + GOOD}, "virtual_key_not_found", 401),
                    ({"authorization": GOOD}, "virtual_key_not_found", 401),
                    ({"x_api_key": f'"{GOOD}"'}, "virtual_key_not_found", 401),
                    ({"x_api_key": f'"{MASTER}"', "x_bf_vk": GOOD}, "virtual_key_not_found", 401),
                    ({"x_api_key": GOOD[:-1]}, "virtual_key_not_found", 401),
                    ({"x_bf_vk": "anything"}, "virtual_key_not_found", 401),
                    ({"x_bf_vk": MASTER}, "virtual_key_not_found", 401),
                    ({"x_api_key": GOOD.upper()}, "virtual_key_not_found", 401),
                    ({"x_api_key": OFF}, "virtual_key_blocked", 403),
                    ({"x_api_key": OLD}, "virtual_key_blocked", 403),
                ):
                    type = "authentication_error" if status == 401 else "permission_error"
                    assert_refused(await call(gateway, route, **headers), status, type, reason)
                two = await call(gateway, route, x_api_key=GOOD, x_bf_vk=NARROW)
                assert_refused(two, 400, "invalid_request_error", None)
                assert a.seen == []
            assert all("provider" not in record for record in gateway.records)

    run(main())


@routes
def test_a_good_key_and_the_operators_token_get_in(route: Route) -> None:
    async def main() -> None:
        body = json.dumps({"type": "message", "content": [], "usage": {"output_tokens": 0}}).encode()
        async with Upstream(*[answers(200, body)] * 3, models=[MODEL]) as a:
            async with serving(guarded(a)) as gateway:
                await gateway.listed(MODEL)
                for credential in (GOOD, MASTER):
                    assert (await call(gateway, route, x_api_key=credential)).status == 200
                assert (await call(gateway, route, x_api_key=GOOD, x_bf_vk=GOOD)).status == 200
            assert [record["principal"] for record in gateway.records] == ["good", "operator", "good"]
            a.plays.clear()  # lists of models take none

    run(main())


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_is_guarded_alike(prefix: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(guarded(a)) as gateway:
            for route in ROUTES:
                assert (await call(gateway, route, prefix)).error == (
                    401,
                    "authentication_error",
                    "virtual_key_required",
                )
            assert (await call(gateway, ROUTES[0], prefix, x_api_key=GOOD)).status == 200
            assert a.seen[0].target == b"/v1/messages"

    run(main())


@pytest.mark.parametrize("header", ["x_bf_vk", "authorization", "x_api_key", "api_key", "x_goog_api_key"])
def test_a_key_may_come_in_any_of_the_usual_headers(header: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(guarded(a)) as gateway:
            value = f"bearer {GOOD}" if header == "authorization" else GOOD
            assert (await ask(gateway, asked(), **{header: value})).status == 200
            assert GOOD.encode() not in a.seen[0].head
            assert a.seen[0].key == "sk-a"

    run(main())


def test_a_direct_key_where_others_are_required_may_spend_nothing_of_the_gateways() -> None:
    async def main() -> None:
        missing = answers(404, error_body("not_found_error"))
        async with Upstream(missing) as a, Upstream() as b:
            async with serving(guarded(a, b, allow_direct_keys=True)) as gateway:
                reply = await ask(gateway, asked(fallbacks=[f"b/{MODEL}"]), x_api_key="sk-ant-mine")
                assert (reply.status, reply.body) == (404, error_body("not_found_error"))
                assert (a.seen[0].key, b.seen) == ("sk-ant-mine", [])
            assert [record["principal"] for record in gateway.records] == ["direct"]

    run(main())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/complete", "/v1/messages/batches"])
def test_a_direct_key_alone_may_not_use_a_provider_that_checks_no_key(path: str) -> None:
    """The sandbox takes any key, and so do local servers, whatever is configured as theirs."""

    async def main() -> None:
        async with Upstream() as a, Upstream() as local, Upstream() as bare:
            config = guarded(a, allow_direct_keys=True)
            config["providers"] |= {
                "sandbox": {},
                "second": {"like": "sandbox", "base_url": local.url, "keys": [{"value": "some"}]},
                "vllm": {"base_url": local.url, "keys": [{"value": "EMPTY"}]},
                "ollama": {"base_url": local.url},
                "bare": {"dialect": "anthropic", "base_url": bare.url, "keys": []},
            }
            free = ("sandbox", "second", "vllm", "ollama", "bare")
            config["models"] = {f"via-{name}": [f"{name}/m-1"] for name in free}
            async with serving(config) as gateway:
                mine = {"x_api_key": "any-text"}
                for name in free:
                    for model in (f"{name}/m-1", f"via-{name}"):
                        body = asked(model)
                        if path.endswith("batches"):
                            body = {"requests": [{"custom_id": "x", "params": body}]}
                        for more in ({}, {"x_bf_api_key": "some"}, {"x_asbru_dry_run": "true"}):
                            if more and "dry" in next(iter(more)) and path.endswith("batches"):
                                continue
                            reply = await ask(gateway, body, path, **mine, **more)
                            assert_refused(reply, 401, "authentication_error", "virtual_key_required")
                        assert (await ask(gateway, None, f"/v1/models/{model}", **mine)).status == 401
                shown = (await ask(gateway, None, "/v1/models?limit=1000", **mine)).json["data"]
                assert not [model["id"] for model in shown if model["id"].startswith((*free, "via-"))]
                for credential in (GOOD, MASTER):
                    with_one = await ask(gateway, asked("sandbox/claude-sandbox"), x_api_key=credential, **VERSION)
                    assert with_one.status == 200
            assert local.seen == bare.seen == []

    run(main())


def test_a_direct_key_may_use_any_provider_of_an_open_gateway() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a) | {"auth": {"allow_direct_keys": True}}
            config["providers"]["sandbox"] = {}
            async with serving(config) as gateway:
                assert (
                    await ask(gateway, asked("sandbox/claude-sandbox"), x_api_key="any-text", **VERSION)
                ).status == 200

    run(main())


def test_a_direct_key_with_a_virtual_one_is_used_under_the_virtual_ones_policy() -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            Upstream(answers()) as b,
            serving(guarded(a, b, allow_direct_keys=True)) as gateway,
        ):
            headers = {"x_bf_vk": NARROW, "x_api_key": "sk-ant-mine"}
            assert (await ask(gateway, asked("n-1"), **headers)).status == 200
            assert b.seen[0].key == "sk-ant-mine"
            refused = await ask(gateway, asked("b/other"), **headers)
            assert_refused(refused, 403, "permission_error", "model_blocked")

    run(main())


def test_a_direct_key_stays_with_the_first_candidate_when_a_fallback_has_taken_its_place() -> None:
    """A pinned key and a thread leave out the first candidate: what is first then is still the fallback."""

    async def main() -> None:
        async with (
            Upstream(answers(400, error_body())) as a,
            Upstream(answers(), answers(), answers(404, error_body())) as b,
            serving({**providers(a, b), "auth": {"allow_direct_keys": True}}) as gateway,
        ):
            gateway.app.gateway.affinity.put("msg_there", "b", MODEL, "b")
            mine = {"x_api_key": "sk-ant-mine"}
            body = asked(fallbacks=[f"b/{MODEL}"])
            thread = {"type": "continue", "previous_message_id": "msg_there"}
            assert (await ask(gateway, {**body, "thread": thread}, **mine)).status == 200
            pinned = "b"
            assert (await ask(gateway, body, x_bf_api_key=pinned, **mine)).status == 200
            plan = await ask(gateway, body, x_bf_api_key=pinned, x_asbru_dry_run="true", **mine)
            assert [key["name"] for key in plan.json["candidates"][0]["keys"]] == ["b"]
            await ask(gateway, None, "/v1/files/f1", x_bf_api_key=pinned, **mine)
            assert [turn.key for turn in b.seen] == ["sk-b"] * 3
            assert (await ask(gateway, body, **mine)).status == 400
            assert [turn.key for turn in a.seen] == ["sk-ant-mine"]

    run(main())


def test_on_an_open_gateway_other_keys_are_as_if_they_were_not_there() -> None:
    async def main() -> None:
        async with Upstream(answers(), answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked(), x_api_key="sk-ant-mine")).status == 200
            assert (await ask(gateway, asked())).status == 200
            assert {turn.key for turn in a.seen} == {"sk-a"}
            unknown = await ask(gateway, asked(), x_api_key=GOOD)
            assert_refused(unknown, 401, "authentication_error", "virtual_key_not_found")

    run(main())


def test_what_monitors_and_clients_warm_up_with_needs_no_key() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(guarded(a)) as gateway:
            for path in ("/health", "/health/live", "/health/ready"):
                assert (await ask(gateway, None, path)).json == {"status": "ok"}
            assert (await ask(gateway, None, "/", method="HEAD")).status == 200
            assert (await ask(gateway, None, "/api/hello", method="HEAD")).status == 200

    run(main())


# What


def test_models_and_providers_that_a_key_does_not_have_are_refused() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers(), answers()) as b, serving(guarded(a, b)) as gateway:
            for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/complete"):
                model = await ask(gateway, asked("b/claude-1"), path, x_api_key=NARROW)
                assert_refused(model, 403, "permission_error", "model_blocked")
                for name in ("a/n-1", "claude-1"):
                    other = await ask(gateway, asked(name), path, x_api_key=NARROW)
                    assert_refused(other, 403, "permission_error", "provider_blocked")
            for name in ("b/n-1", "n-1"):
                assert (await ask(gateway, asked(name), x_api_key=NARROW)).value(b"x-asbru-provider") == "b"
            assert a.seen == []

    run(main())


def test_fallbacks_that_a_key_does_not_have_are_left_out() -> None:
    async def main() -> None:
        failing = answers(404, b'{"type":"error","error":{"type":"not_found_error","message":"x"}}')
        async with Upstream() as a, Upstream(failing, answers()) as b, serving(guarded(a, b)) as gateway:
            fallbacks = ["a/n-1", "b/claude-1", "n-3"]
            reply = await ask(gateway, asked("b/n-1", fallbacks=fallbacks), x_api_key=NARROW)
            assert reply.attempts == ["b/n-1 404", "b/n-3 200"]
            assert a.seen == []

    run(main())


def test_resources_live_only_at_the_providers_that_a_key_has() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(*[answers(200, b"{}")] * 10) as b, serving(guarded(a, b)) as gateway:
            for route in ROUTES[5:15]:
                assert (await call(gateway, route, x_api_key=NARROW)).status == 200
            assert a.seen == []
            b.plays.clear()

    run(main())


def test_a_stored_key_that_may_not_serve_a_model_is_not_used_for_it() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 6) as a:
            config = {"providers": {"a": provider(a, "sk-one", "sk-two")}}
            config["providers"]["a"]["keys"][0] |= {"models": ["m-*"], "exclude": ["m-secret*"]}
            config["providers"]["a"]["keys"][1] |= {"models": ["n-*"]}
            async with serving(config) as gateway:
                for model in ("m-1", "n-1") * 3:
                    await ask(gateway, asked(model))
                assert {(turn.model, turn.key) for turn in a.seen} == {("m-1", "sk-one"), ("n-1", "sk-two")}
                for model in ("m-secret-1", "other"):
                    assert_refused(await ask(gateway, asked(model)), 403, "permission_error", "model_blocked")

    run(main())


@pytest.mark.parametrize("required", [True, False])
def test_a_wrapped_gateway_credential_goes_to_no_provider(required: bool) -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = guarded(a, allow_direct_keys=True, required=required)
            async with serving(config) as gateway:
                for wrapped in (
                    f"Bearer {GOOD}",
                    f"Bearer Bearer {MASTER}",
                    f"'{MASTER}'",
                    f"key={GOOD}",
                    f"\xa0{GOOD}",
                ):
                    for header in ("x_api_key", "api_key", "x_goog_api_key", "authorization"):
                        if header == "authorization" and wrapped == f"Bearer {GOOD}":
                            continue
                        for beside in ({}, {"x_bf_vk": GOOD}):
                            reply = await ask(gateway, asked(), **{header: wrapped}, **beside)
                            assert_refused(reply, 401, "authentication_error", "virtual_key_not_found")
                            assert header.replace("_", "-") in reply.json["error"]["message"]
                query = await ask(gateway, asked(), f"/v1/messages?beta=true&key={GOOD}", x_bf_vk=GOOD)
                assert_refused(query, 401, "authentication_error", "virtual_key_not_found")
                assert a.seen == []

    run(main())


def test_a_virtual_key_in_any_other_header_is_not_forwarded() -> None:
    async def main() -> None:
        async with Upstream(answers(), answers()) as a, serving(guarded(a)) as gateway:
            others = {"x-my-key": f"Bearer {GOOD}", "baggage": GOOD.upper(), "x-bf-eh-x-other": GOOD, "x-own": "1"}
            assert (await ask(gateway, asked(), x_bf_vk=GOOD, **others)).status == 200
            assert b"sk-bf-" not in a.seen[0].head.lower()
            assert a.seen[0].values(b"x-own") == [b"1"]
            a.plays.clear()

    run(main())


OWN_FORMS = [
    ("anthropic", "sk-ant-oat01-mine", "authorization"),
    ("anthropic", "sk-ant-api03-mine", "x_api_key"),
    ("openai", "sk-proj-mine", "authorization"),
    ("groq", "gsk_mine", "x_api_key"),
]


@pytest.mark.parametrize(("vendor", "own", "header"), OWN_FORMS)
def test_a_key_whose_form_names_its_vendor_is_used_there_alone(vendor: str, own: str, header: str) -> None:
    async def main() -> None:
        async with Upstream(*[answers(400, error_body())] * 4) as a:
            made = {
                name: provider(a, f"sk-stored-{name}", dialect=dialect, list_models="none")
                for name, dialect in {
                    "anthropic": "anthropic",
                    "openai": "openai-chat",
                    "groq": "openai-chat",
                    "own": "gemini",  # a name that nobody knows, which speaks no such vendor's dialect
                }.items()
            }
            keys = [{"name": "team", "value": GOOD}]
            config: Json = {"providers": made, "virtual_keys": keys, "auth": {"allow_direct_keys": True}}
            sent = {header: f"Bearer {own}" if header == "authorization" else own}
            async with serving(config) as gateway:
                for name in made:
                    reply = await ask(gateway, asked(f"{name}/m"), x_bf_vk=GOOD, **sent)
                    assert reply.status == 400
                    used = b" ".join(value for _, value in a.seen[-1].headers)
                    assert (own.encode() in used) == (name == vendor)
                    assert (b"sk-stored-" + name.encode() in used) == (name != vendor)
                    if name != vendor:  # alone it may not spend what is the gateway's
                        alone = await ask(gateway, asked(f"{name}/m"), **sent)
                        assert_refused(alone, 401, "authentication_error", "virtual_key_required")
                assert len(a.seen) == 4

    run(main())


def test_a_key_of_no_form_is_used_anywhere() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            made = {"a": provider(a, base_url=a.url, list_models="none")}
            async with serving({"providers": made, "auth": {"allow_direct_keys": True}}) as gateway:
                assert (await ask(gateway, asked(), x_api_key="my-own")).status == 200
                assert a.seen[0].key == "my-own"

    run(main())


def test_the_master_key_reaches_no_provider_in_any_header() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(guarded(a)) as gateway:
            headers = {"x_bf_vk": GOOD, "x_note": f"key {MASTER}!", "x_bf_eh_note": MASTER, "x_other": "stays"}
            assert (await ask(gateway, asked(), **headers)).status == 200
        assert MASTER.encode() not in a.seen[0].head
        assert a.seen[0].values(b"x-other") == [b"stays"]

    run(main())
