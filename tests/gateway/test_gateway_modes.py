"""`x-asbru-dry-run`, `x-bf-async` and `x-asbru-strict` on every route: honoured or refused, never ignored."""

from __future__ import annotations

import pytest

from asbru.server import routes
from tests.gateway.provider import MODEL, Json, Upstream, answers
from tests.gateway.support import Client, Running, ask, asked, provider, providers, request, run, serving

BATCH: Json = {"requests": [{"custom_id": "r", "params": asked()}]}
DRY = [("POST", "/v1/messages"), ("POST", "/v1/messages/chat"), ("POST", "/v1/messages/count_tokens")]
DRY.append(("POST", "/v1/complete"))
OTHERS = [
    ("GET", "/v1/messages/batches"),
    ("POST", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches/b"),
    ("DELETE", "/v1/messages/batches/b"),
    ("POST", "/v1/messages/batches/b/cancel"),
    ("GET", "/v1/messages/batches/b/results"),
    ("GET", "/v1/models"),
    ("GET", f"/v1/models/{MODEL}"),
    ("GET", "/v1/files"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files/f"),
    ("DELETE", "/v1/files/f"),
    ("GET", "/v1/files/f/content"),
    ("GET", "/"),
    ("GET", "/api/hello"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
]


def body_for(method: str, path: str) -> Json | bytes | None:
    if method != "POST":
        return None
    return BATCH if path.endswith("batches") else b"bytes" if path.endswith(("files", "cancel")) else asked()


def test_every_route_is_listed_here() -> None:
    listed = {routes.match(method, path.encode()).route.name for method, path in DRY + OTHERS}
    table = {route.name for route in vars(routes).values() if isinstance(route, routes.Route)}
    fixed = {match.route.name for match in routes._FIXED.values()}
    assert listed == table | fixed


@pytest.mark.parametrize(("method", "path"), DRY + OTHERS)
def test_a_mode_is_honoured_or_refused_and_nobody_is_called(method: str, path: str) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway:
            body = body_for(method, path)
            for value in ("true", "TRUE", "1"):
                reply = await ask(gateway, body, path, method=method, x_asbru_dry_run=value)
                if (method, path) in DRY:
                    assert (reply.status, reply.json["type"]) == (200, "dry_run")
                else:
                    assert reply.error == (400, "invalid_request_error", None)
                    assert reply.json["error"]["message"].startswith("x-asbru-dry-run: ")
            for name, value in (("x_bf_async", "1"), ("x_bf_async", "True"), ("x_bf_async_id", "job_1")):
                reply = await ask(gateway, body, path, method=method, **{name: value})
                assert reply.error == (400, "invalid_request_error", None)
                assert reply.json["error"]["message"].startswith(name.replace("_", "-") + ": ")
            for name in ("x_asbru_dry_run", "x_bf_async", "x_asbru_strict"):
                for value in ("yes", "on", "2", "true, true", "tru", "null"):
                    reply = await ask(gateway, body, path, method=method, **{name: value})
                    assert reply.error == (400, "invalid_request_error", None)
                    assert reply.json["error"]["message"].startswith(name.replace("_", "-") + ": ")
            assert a.seen == []

    run(main())


@pytest.mark.parametrize("value", ["false", "FALSE", "0"])
def test_a_mode_that_is_off_changes_nothing(value: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            off = {"x_asbru_dry_run": value, "x_bf_async": value, "x_asbru_strict": value}
            assert (await ask(gateway, asked(), **off)).status == 200
            assert (await ask(gateway, None, "/health", **off)).status == 200
            assert b"x-asbru" not in a.seen[0].head

    run(main())


@pytest.mark.parametrize("values", [(b"", b""), (b"false", b"true"), (b"true", b"false"), (b"true", b"true")])
def test_a_mode_that_is_empty_or_repeated_is_refused(values: tuple[bytes, bytes]) -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            lines = b"".join(b"x-asbru-dry-run: %b\r\n" % value for value in values if value or values[0] == b"")
            sent = request(asked(), "/v1/messages").replace(b"\r\n", b"\r\n" + lines, 1)
            await client.write(sent)
            reply = await client.reply()
            assert reply.error == (400, "invalid_request_error", None)
            assert "x-asbru-dry-run" in reply.json["error"]["message"]
            assert a.seen == []

    run(main())


# Dry runs say what would happen

LOSSY: Json = {"inference_geo": "eu"}


async def dry(gateway: Running, body: Json, path: str = "/v1/messages", **headers: str) -> list[Json]:
    reply = await ask(gateway, body, path, x_asbru_dry_run="true", **headers)
    assert reply.status == 200, reply.json
    candidates: list[Json] = reply.json["candidates"]
    return candidates


@pytest.mark.parametrize("strict", [{"x_asbru_strict": "true"}, {}], ids=["header", "provider"])
def test_a_dry_run_is_as_strict_as_the_request(strict: dict[str, str]) -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b:
            config = providers(a, b)
            config["providers"]["a"] = provider(a, dialect="openai-chat", strict=not strict)
            async with serving(config) as gateway:
                body = asked("a/m", fallbacks=["b/m"], **LOSSY)
                first, second = await dry(gateway, body, **strict)
                assert first["losses"] == []
                real = await ask(gateway, asked("a/m", **LOSSY), **strict)
                assert (real.status, real.json["error"]["message"]) == (400, first["refused"])
                assert second["losses"] is None and "refused" not in second
                assert a.seen == b.seen == []

    run(main())


def test_a_dry_run_of_a_count_is_about_the_count() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b, Upstream() as c:
            config = providers(a, b, c)
            config["providers"]["b"] = provider(b, dialect="openai-responses")
            config["providers"]["c"] = provider(c, dialect="openai-chat")
            config["prices"] = {f"{name}/m": {"input": 1_000, "output": 1_000} for name in "abc"}
            async with serving(config) as gateway:
                path = "/v1/messages/count_tokens"
                for name, losses in (("a", None), ("b", [])):
                    # what only a message would lose is not lost by a count
                    (candidate,) = await dry(gateway, asked(f"{name}/m", temperature=0.5), path)
                    assert (candidate["losses"], candidate["cost_usd"]) == (losses, {"min": 0, "max": 0})
                    assert "estimated" not in candidate and candidate["keys"]
                estimated = asked("c/m", fallbacks=["a/m"], container="x")
                (candidate,) = await dry(gateway, estimated, path, x_asbru_strict="true")
                assert (candidate["estimated"], candidate["keys"], candidate["losses"]) == (True, [], None)
                assert "refused" not in candidate
                real = await ask(gateway, estimated, path, x_asbru_strict="true")
                assert (real.status, real.value(b"x-asbru-estimate")) == (200, "true")
                later = await dry(gateway, asked("a/m", fallbacks=["c/m"]), path)
                assert "refused" in later[1]
                assert a.seen == b.seen == c.seen == []

    run(main())


def test_a_dry_run_of_a_completion_says_who_has_none() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b:
            config = providers(a, b)
            config["providers"]["b"] = provider(b, dialect="openai-chat")
            async with serving(config) as gateway:
                first, second = await dry(gateway, asked("a/m", fallbacks=["b/m"], prompt="x"), "/v1/complete")
                assert "refused" not in first and "no legacy text completions" in second["refused"]

    run(main())


def test_a_dry_run_shows_the_keys_and_the_model_of_the_pool_that_would_serve() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config: Json = {"providers": {"a": provider(a, "sk-one", "sk-off", dialect="openai-chat")}}
            one, off = config["providers"]["a"]["keys"]
            one["aliases"] = {"m": "blind"}
            off["weight"] = 0
            config["providers"]["a"]["model_facts"] = {"blind": {"images": False}}
            async with serving(config) as gateway:
                pixel = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
                body = asked("m", messages=[{"role": "user", "content": [pixel]}])
                (candidate,) = await dry(gateway, body)
                assert [key["name"] for key in candidate["keys"]] == ["one"]
                assert (await ask(gateway, body)).json["error"]["message"] == candidate["refused"]
                (candidate,) = await dry(gateway, body, x_bf_api_key="off")
                assert [key["name"] for key in candidate["keys"]] == ["off"]
                assert "refused" not in candidate

    run(main())
