"""`x-asbru-dry-run`, `x-bf-async` and `x-asbru-strict` on every route: honoured or refused, never ignored."""

from __future__ import annotations

import pytest

from asbru.server import routes
from tests.gateway.provider import MODEL, Json, Upstream, answers
from tests.gateway.support import Client, ask, asked, providers, request, run, serving

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
