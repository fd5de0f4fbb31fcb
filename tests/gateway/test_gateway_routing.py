"""Which provider and key a request gets: sessions, pins, message threads, weights, aliases; and the dry run."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import (
    EVENTS,
    MESSAGE,
    MODEL,
    START,
    Json,
    Play,
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
    run,
    serving,
)

KEYS = ("sk-one", "sk-two", "sk-three")
VIRTUAL_KEY = "sk-bf-" + "w" * 43
streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def pool(upstream: Upstream, **more: object) -> Json:
    return {"providers": {"a": provider(upstream, *KEYS, max_retries=0)}, **more}


# Sessions and pins


@pytest.mark.parametrize("header", ["x_bf_session_id", "x_claude_code_session_id"])
def test_a_conversation_stays_with_its_key(header: str) -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 60) as a, serving(pool(a)) as gateway:
            homes: dict[str, set[str]] = {}
            for number in range(60):
                session = f"session-{number % 15}"
                await ask(gateway, asked(), **{header: session})
                homes.setdefault(session, set()).add(a.seen[-1].key)
            assert all(len(keys) == 1 for keys in homes.values())
            assert {key for keys in homes.values() for key in keys} == set(KEYS)

    run(main())


def test_the_sessions_own_header_wins_over_claude_codes() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 12) as a, serving(pool(a)) as gateway:
            for number in range(12):
                await ask(gateway, asked(), x_bf_session_id="s", x_claude_code_session_id=str(number))
            assert len({turn.key for turn in a.seen}) == 1
            # One goes upstream as everything of Claude Code's does, the other is said to the gateway.
            assert a.seen[3].values(b"x-claude-code-session-id") == [b"3"]
            assert a.seen[3].values(b"x-bf-session-id") == []

    run(main())


def test_a_conversation_whose_key_is_limited_moves_and_comes_back() -> None:
    async def main() -> None:
        limited = answers(429, error_body("rate_limit_error"), (b"retry-after", b"1"))
        async with Upstream(answers(), limited, *[answers()] * 2) as a, serving(pool(a)) as gateway:
            for _ in range(3):
                assert (await ask(gateway, asked(), x_bf_session_id="s")).status == 200
            home, again, away, later = (turn.key for turn in a.seen)
            assert home == again != away == later

    run(main())


def test_without_a_session_keys_are_used_by_their_weight() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 120) as a:
            config = pool(a)
            for key, weight in zip(config["providers"]["a"]["keys"], (10, 1, 0), strict=True):
                key["weight"] = weight
            async with serving(config) as gateway:
                for _ in range(120):
                    await ask(gateway, asked())
                used = [turn.key for turn in a.seen]
                assert used.count("sk-one") > used.count("sk-two")
                assert "sk-three" not in used

    run(main())


def test_a_model_whose_keys_all_have_no_weight_is_served_by_them() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 2) as a:
            config = pool(a)
            for key, (weight, models) in zip(
                config["providers"]["a"]["keys"], ((1, ["m-*"]), (0, ["n-*"]), (0, ["n-*"])), strict=True
            ):
                key |= {"weight": weight, "models": models}
            async with serving(config) as gateway:
                for model in ("n-1", "m-1"):
                    assert (await ask(gateway, asked(model))).status == 200
                assert a.seen[0].key in ("sk-two", "sk-three")
                assert a.seen[1].key == "sk-one"

    run(main())


@pytest.mark.parametrize("header", ["x_bf_api_key", "x_bf_api_key_id"])
def test_a_stored_key_can_be_pinned_by_name_or_id_even_one_without_weight(header: str) -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 6) as a:
            config = pool(a)
            config["providers"]["a"]["keys"][1]["weight"] = 0
            async with serving(config) as gateway:
                key = gateway.app.gateway.table.providers["a"].keys[1]
                for pin in (key.name, key.id) * 3:
                    assert (await ask(gateway, asked(), **{header: pin})).status == 200
                assert {turn.key for turn in a.seen} == {"sk-two"}

    run(main())


def test_a_pinned_key_has_no_other_beside_it() -> None:
    async def main() -> None:
        async with Upstream(answers(429, error_body("rate_limit_error"))) as a, Upstream() as b:
            config = pool(a)
            config["providers"]["b"] = provider(b, "sk-b")
            async with serving(config) as gateway:
                body = asked(f"a/{MODEL}", fallbacks=[f"b/{MODEL}"])
                assert (await ask(gateway, body, x_bf_api_key="one")).status == 429
                assert b.seen == []

    run(main())


# Message threads


def threaded(kind: str = "new", previous: str | None = None, **more: object) -> Json:
    thread: Json = {"type": kind} if previous is None else {"type": kind, "previous_message_id": previous}
    return {**asked(), "thread": thread, **more}


def message_of(id: str, stream: bool) -> Play:
    if not stream:
        return answers(200, MESSAGE.replace(b"msg_test1", id.encode()))
    return streams(START.replace(b"msg_test1", id.encode()), *EVENTS[2:])


@streamed
def test_a_thread_is_continued_with_the_key_that_began_it(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(*[message_of(f"msg_{number}", stream) for number in range(20)]) as a,
            serving(pool(a)) as gateway,
        ):
            for _ in range(10):
                assert (await ask(gateway, threaded(stream=stream))).status == 200
            for number in range(10):
                body = threaded("continue", f"msg_{number}", stream=stream, fallbacks=["a/other"])
                assert (await ask(gateway, body)).status == 200
            begun = [turn.key for turn in a.seen[:10]]
            assert [turn.key for turn in a.seen[10:]] == begun
            assert len(set(begun)) > 1
            assert json.loads(a.seen[10].body)["thread"] == {"type": "continue", "previous_message_id": "msg_0"}

    run(main())


def unsupported(reply_json: Json) -> bool:
    error = reply_json["error"]
    return bool(
        error["type"] == "invalid_request_error" and error["details"] == {"error_code": "thread_unsupported_request"}
    )


@streamed
def test_a_thread_that_nobody_remembers_cannot_be_continued(stream: bool) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(pool(a)) as gateway:
            reply = await ask(gateway, threaded("continue", "msg_unknown", stream=stream))
            assert reply.status == 400
            assert unsupported(reply.json)
            assert a.seen == []

    run(main())


def test_with_a_single_key_there_is_nothing_to_remember() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, threaded("continue", "msg_unknown"))).status == 200

    run(main())


def test_a_thread_at_the_fallback_is_continued_there() -> None:
    async def main() -> None:
        failing = answers(404, error_body("not_found_error"))
        async with (
            Upstream(failing) as a,
            Upstream(message_of("msg_b", False), answers()) as b,
            serving(providers(a, b)) as gateway,
        ):
            fallbacks = [f"b/{MODEL}"]
            assert (await ask(gateway, threaded(fallbacks=fallbacks))).status == 200
            reply = await ask(gateway, threaded("continue", "msg_b", fallbacks=fallbacks))
            assert reply.attempts == [f"b/{MODEL} 200"]
            # Without the fallback its place is out of reach.
            assert unsupported((await ask(gateway, threaded("continue", "msg_b"))).json)

    run(main())


def test_a_thread_can_be_continued_as_soon_as_its_message_is_known() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(pool(a)) as gateway, await Client.open(gateway) as client:
            await client.send(threaded(stream=True))
            turn = await a.turn()
            await turn.begin()
            await turn.chunk(*EVENTS)
            await (await client.head()).until(EVENTS[-1])
            client.cut()  # a client may leave once it has its message_stop
            await turn.gone()
            await gateway.quiet()
            async with await Client.open(gateway) as second:
                await second.send(threaded("continue", "msg_test1"))
                following: Turn = await a.turn()
                assert following.key == turn.key
                await following.answer()
                assert (await second.reply()).status == 200

    run(main())


@streamed
def test_an_upstream_that_knows_no_threads_is_relayed_as_it_came(stream: bool) -> None:
    async def main() -> None:
        theirs = error_body()[:-2] + b',"details":{"error_code":"thread_unsupported_request"}}}'
        async with Upstream(answers(400, theirs)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, threaded(stream=stream))
            assert (reply.status, reply.body) == (400, theirs)

    run(main())


# Names


def test_an_alias_is_its_candidates_in_order() -> None:
    async def main() -> None:
        failing = answers(404, error_body("not_found_error"))
        async with Upstream(failing) as a, Upstream(answers()) as b:
            config = providers(a, b) | {"models": {"fast": ["a/m-1", "b/m-2"], "odd/name": ["b/m-3"]}}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked("fast"))
                assert reply.attempts == ["a/m-1 404", "b/m-2 200"]
                assert (a.seen[0].model, b.seen[0].model) == ("m-1", "m-2")
                b.plays.append(answers())
                assert (await ask(gateway, asked("odd/name"))).attempts == ["b/m-3 200"]

    run(main())


def test_a_name_is_split_only_before_a_configured_provider() -> None:
    async def main() -> None:
        async with Upstream(answers(), answers(), answers()) as a, serving(providers(a)) as gateway:
            for name in ("meta-llama/Llama-3", "a/meta-llama/Llama-3", "a/a/x"):
                await ask(gateway, asked(name))
            assert [turn.model for turn in a.seen] == ["meta-llama/Llama-3", "meta-llama/Llama-3", "a/x"]

    run(main())


def test_a_fallback_without_a_provider_is_the_primarys() -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            Upstream(answers(404, error_body()), answers()) as b,
            serving(providers(a, b)) as gateway,
        ):
            reply = await ask(gateway, asked("b/m-1", fallbacks=["m-2"]))
            assert reply.attempts == ["b/m-1 404", "b/m-2 200"]

    run(main())


def test_a_keys_alias_renames_for_that_key_alone() -> None:
    async def main() -> None:
        async with Upstream(*[answers()] * 2) as a:
            config = pool(a)
            config["providers"]["a"]["keys"][0]["aliases"] = {"latest": "m-2026"}
            async with serving(config) as gateway:
                for name, model in (("one", "m-2026"), ("two", "latest")):
                    reply = await ask(gateway, asked("latest"), x_bf_api_key=name)
                    assert a.seen[-1].model == model
                    assert reply.attempts == [f"a/{model} 200"]

    run(main())


def test_a_virtual_keys_providers_share_its_requests_and_stand_in_for_each_other() -> None:
    async def main() -> None:
        missing = answers(404, error_body("not_found_error"))
        async with Upstream(*[missing] * 40) as a, Upstream(*[answers()] * 40) as b:
            granted = [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]
            keys = [{"name": "t", "value": VIRTUAL_KEY, "providers": granted}]
            async with serving(providers(a, b) | {"virtual_keys": keys}) as gateway:
                for _ in range(40):
                    assert (await ask(gateway, asked(), x_bf_vk=VIRTUAL_KEY)).status == 200
                assert 15 < len(a.seen) < 40  # three in four, and each of those goes on to the other
                assert len(b.seen) == 40
            a.plays.clear()

    run(main())


# The dry run


def test_a_dry_run_tells_the_plan_and_calls_nobody() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b:
            config = providers(a, b) | {
                "virtual_keys": [{"name": "team", "value": VIRTUAL_KEY}],
                "prices": {f"a/{MODEL}": {"input": 1_000_000, "output": 1_000_000}},
            }
            async with serving(config) as gateway:
                body = asked(stream=True, fallbacks=["b/n-1"])
                reply = await ask(gateway, body, x_api_key=VIRTUAL_KEY, x_asbru_dry_run="true")
                assert (reply.status, reply.value(b"content-type")) == (200, "application/json")
                plan = reply.json
                assert (plan["type"], plan["model"], plan["stream"]) == ("dry_run", MODEL, True)
                assert plan["principal"] == {"kind": "virtual_key", "name": "team"}
                first, second = plan["candidates"]
                assert (first["provider"], first["model"], first["role"]) == ("a", MODEL, "primary")
                assert (second["provider"], second["model"], second["role"]) == ("b", "n-1", "fallback")
                assert first["keys"] == [{"name": "a", "model": MODEL, "state": "ready"}]
                size = len(json.dumps(body))
                assert first["cost_usd"] == {"min": size // 4, "max": size + 64}
                assert second["cost_usd"] is None
                refused = await ask(gateway, asked("nobody/x" * 200), x_api_key=VIRTUAL_KEY, x_asbru_dry_run="true")
                assert refused.status == 400
                assert a.seen == b.seen == []
            assert "attempts" not in gateway.records[0] or gateway.records[0]["attempts"] == []

    run(main())


def test_a_dry_run_tells_what_rests_and_what_is_open() -> None:
    async def main() -> None:
        limited = answers(429, error_body("rate_limit_error"), (b"retry-after", b"100"))
        async with Upstream(limited, answers(500, error_body())) as a:
            breaker = {"failures": 1, "pause_s": 30}
            config = {"providers": {"a": provider(a, *KEYS[:2], max_retries=0, breaker=breaker)}}
            async with serving(config) as gateway:
                assert (await ask(gateway, asked())).status == 500
                (candidate,) = (await ask(gateway, asked(), x_asbru_dry_run="true")).json["candidates"]
                states = {key["name"]: key["state"] for key in candidate["keys"]}
                assert sorted(states.values()) == ["cooling", "ready"]
                assert states[a.seen[0].key.removeprefix("sk-")] == "cooling"
                assert candidate["breaker"].startswith("open")

    run(main())


# Decorated names

VIRTUAL_KEY = "sk-bf-" + "d" * 43


@pytest.mark.parametrize("name", [f"{MODEL}[1m]", f"a/{MODEL}[1M]", "fast[1m]"])
def test_a_decorated_name_is_routed_by_its_base_name_and_says_what_it_means(name: str) -> None:
    async def main() -> None:
        async with Upstream(answers(), answers()) as a:
            config = {**providers(a), "models": {"fast": [f"a/{MODEL}"]}}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(model=name), anthropic_beta="one-1,two-2")
                assert (reply.status, reply.value(b"x-asbru-model")) == (200, MODEL)
                assert (await ask(gateway, asked(model=MODEL))).status == 200
            first, second = a.seen
            assert first.model == MODEL
            assert first.values(b"anthropic-beta") == [b"one-1,two-2,context-1m-2025-08-07"]
            assert second.values(b"anthropic-beta") == []

    run(main())


def test_a_beta_that_the_client_sends_itself_is_not_repeated() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            await ask(gateway, asked(model=f"{MODEL}[1m]"), anthropic_beta="context-1m-2025-08-07")
        assert a.seen[0].values(b"anthropic-beta") == [b"context-1m-2025-08-07"]

    run(main())


def test_a_decorated_name_is_allowed_by_its_base_name() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            key = {"name": "k", "value": VIRTUAL_KEY, "providers": [{"name": "a", "models": [MODEL]}]}
            async with serving({**providers(a), "virtual_keys": [key]}) as gateway:
                reply = await ask(gateway, asked(model=f"a/{MODEL}[1m]"), x_bf_vk=VIRTUAL_KEY)
                assert reply.status == 200
                other = await ask(gateway, asked(model="a/claude-other[1m]"), x_bf_vk=VIRTUAL_KEY)
                assert other.error == (403, "permission_error", "model_blocked")

    run(main())


def test_an_alias_with_such_a_name_is_that_alias() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            config = {**providers(a), "models": {"big[1m]": ["a/claude-other"]}}
            async with serving(config) as gateway:
                assert (await ask(gateway, asked(model="big[1m]"))).status == 200
            assert a.seen[0].model == "claude-other"

    run(main())


# Where files are


def test_a_message_that_names_a_file_goes_to_the_key_that_files_are_kept_at() -> None:
    file = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    messages = [{"role": "user", "content": [file]}]

    async def main() -> None:
        async with Upstream(*[answers()] * 9) as a:
            keys = [{"name": f"k{number}", "value": f"sk-{number}", "weight": 1} for number in range(4)]
            config = providers(a)
            config["providers"]["a"]["keys"] = keys
            async with serving(config) as gateway:
                for number in range(8):
                    await ask(gateway, asked(messages=messages), x_bf_session_id=f"session-{number}")
                await ask(gateway, None, "/v1/files/file_1")
        assert len({turn.key for turn in a.seen}) == 1

    run(main())


def test_a_name_beyond_ascii_can_be_read_in_headers() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(model="modèle"))
        assert reply.attempts == ["a/mod%C3%A8le 200"]

    run(main())
