"""Images and PDFs by URL on their way to a target that fetches none: the gateway does, where the operator says so."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tests.gateway.provider import MESSAGE, Json, Turn, Upstream, answers
from tests.gateway.support import Client, Reply, ask, asked, provider, run, serving
from tests.upstream.rawserver import Line, RawServer

MODEL = "moonshot-test"
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PDF = b"%PDF-1.7 text"
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Seen."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
).encode()


def chat(up: Upstream, **settings: object) -> Json:
    """A provider that takes images and PDFs, but fetches neither."""
    more = {"dialect": "openai-chat", "credential": "authorization", "list_models": "none"}
    return {**provider(up), **more, "quirks": {"image_url": False, "files": True}, **settings}


def config(fetch: Json | None = None, **made: Json) -> Json:
    usual = {"enabled": True, "hosts": ["127.0.0.1:*"], "allow_http": True, "allow_private": True}
    return {
        "providers": made,
        "routing": {"default_provider": next(iter(made))},
        "fetch": {**usual, **(fetch or {})},
    }


def linked(kind: str, url: str) -> Json:
    return {"type": kind, "source": {"type": "url", "url": url}}


def having(*blocks: Json, **fields: object) -> Json:
    content = [{"type": "text", "text": "What is this?"}, *blocks]
    return asked(MODEL, messages=[{"role": "user", "content": content}], **fields)


class Files:
    """Serves an image and a PDF; counts who asks."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, line: Line) -> None:
        path = (await line.request_head()).split(b" ")[1]
        self.asked.append(path)
        kind, body = (b"application/pdf", PDF) if path.endswith(b".pdf") else (b"image/png", PNG)
        if path == b"/gone":
            await line.say(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
        else:
            await line.say(
                b"HTTP/1.1 200 X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body)), body
            )
        await line.gone()


def url(server: RawServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}/{path}"


def parts(turn: Turn) -> list[Json]:
    found: list[Json] = json.loads(turn.body)["messages"][-1]["content"]
    return found


def data(type: str, body: bytes) -> str:
    return f"data:{type};base64,{base64.b64encode(body).decode()}"


def message_of(reply: Reply) -> str:
    assert reply.error[:2] == (400, "invalid_request_error"), reply.body
    message: str = reply.json["error"]["message"]
    return message


def test_what_the_target_cannot_fetch_goes_on_as_bytes_and_is_named() -> None:
    async def main() -> None:
        files = Files()
        async with (
            RawServer(files) as server,
            Upstream(answers(200, ANSWER)) as up,
            serving(config(a=chat(up))) as gateway,
        ):
            image = linked("image", url(server, "a.png"))
            reply = await ask(gateway, having(image, linked("document", url(server, "d.pdf")), image))
            assert (reply.status, reply.json["content"]) == (200, [{"type": "text", "text": "Seen."}])
            assert reply.value(b"x-asbru-loss") == "emulated: messages.0.content.1, messages.0.content.2"
            await server.scripts_done()
        pixels = {"type": "image_url", "image_url": {"url": data("image/png", PNG)}}
        pdf = {"type": "file", "file": {"filename": "document.pdf", "file_data": data("application/pdf", PDF)}}
        assert parts(up.seen[0])[1:] == [pixels, pdf, pixels]
        assert sorted(files.asked) == [b"/a.png", b"/d.pdf"]  # the same URL once

    run(main())


def test_a_retry_and_another_candidate_do_not_fetch_again() -> None:
    async def main() -> None:
        files = Files()
        busy = answers(529, b'{"error":{"message":"busy","type":"server_error"}}')
        async with (
            RawServer(files) as server,
            Upstream(busy, busy) as up,
            Upstream(answers(200, ANSWER)) as other,
            serving(config(a=chat(up, max_retries=1), b=chat(other))) as gateway,
        ):
            body = having(linked("image", url(server, "a.png")), fallbacks=[f"b/{MODEL}"])
            reply = await ask(gateway, body)
            assert reply.status == 200
            assert [attempt.split()[1] for attempt in reply.attempts] == ["529", "529", "200"]
            sent = [parts(turn)[1]["image_url"]["url"] for turn in (*up.seen, *other.seen)]
            assert sent == [data("image/png", PNG)] * 3
            assert files.asked == [b"/a.png"]

    run(main())


def test_what_led_to_nothing_is_a_400_that_names_its_place_and_the_next_candidate_may_do_better() -> None:
    async def main() -> None:
        files = Files()
        async with (
            RawServer(files) as server,
            Upstream() as up,
            Upstream(answers(200, MESSAGE)) as claude,
            serving(config(a=chat(up), claude=provider(claude))) as gateway,
        ):
            gone, forbidden = linked("image", url(server, "gone")), linked("document", "https://other.example/d.pdf")
            assert message_of(await ask(gateway, having(gone))) == (
                "messages.0.content.1.image.source.url: could not be fetched: the status was 404"
            )
            assert message_of(await ask(gateway, having(forbidden))) == (
                "messages.0.content.1.document.source.url: the operator does not allow fetching from this host"
            )
            reply = await ask(gateway, having(gone, fallbacks=["claude/claude-test-1"]))
            assert (reply.status, reply.body) == (200, MESSAGE)
            assert json.loads(claude.seen[0].body)["messages"][0]["content"][1] == gone  # as it came
            assert not up.seen

    run(main())


def test_nothing_is_fetched_for_what_is_refused_anyway_or_only_planned() -> None:
    async def main() -> None:
        async with (
            RawServer(unexpected) as server,
            Upstream() as up,
            serving(config(a=chat(up), strict=chat(up, strict=True))) as gateway,
        ):
            image = linked("image", url(server, "a.png"))
            for headers, model in (({"x_asbru_strict": "true"}, MODEL), ({}, f"strict/{MODEL}")):
                reply = await ask(gateway, {**having(image), "model": model}, **headers)
                assert "without loss: emulated: messages.0.content.1" in message_of(reply)
            by_id = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
            assert "messages.0.content.2: " in message_of(await ask(gateway, having(image, by_id)))
            plan = await ask(gateway, having(image), x_asbru_dry_run="true")
            (loss,) = plan.json["candidates"][0]["losses"]
            assert (loss["verdict"], loss["field"], loss["note"]) == ("emulated", "image.url", "fetched by the gateway")
            assert server.accepted == 0
            assert not up.seen

    run(main())


async def unexpected(line: Line) -> None:
    raise AssertionError("something was fetched")


@pytest.mark.parametrize("fetch", [{"enabled": False}, {"allow_private": False}, {"allow_http": False}])
def test_nothing_is_fetched_that_the_operator_does_not_allow(fetch: Json) -> None:
    says = {
        "enabled": "messages.0.content.1: Images by URL are not supported for this model; send them as base64",
        "allow_private": "messages.0.content.1.image.source.url: could not be fetched: "
        "its host could not be reached at an address that is allowed",
        "allow_http": "messages.0.content.1.image.source.url: must begin with https://",
    }

    async def main() -> None:
        async with RawServer(unexpected) as server, Upstream() as up, serving(config(fetch, a=chat(up))) as gateway:
            reply = await ask(gateway, having(linked("image", url(server, "a.png"))))
            assert message_of(reply) == says[next(iter(fetch))]
            assert server.accepted == 0

    run(main())


def test_a_client_that_leaves_ends_the_fetching() -> None:
    async def main() -> None:
        asked_for, gone = asyncio.Event(), asyncio.Event()

        async def waits(line: Line) -> None:
            await line.request_head()
            asked_for.set()
            await line.gone()
            gone.set()

        async with RawServer(waits) as server, Upstream() as up:
            async with serving(config(a=chat(up))) as gateway:
                client = await Client.open(gateway)
                await client.send(having(linked("image", url(server, "a.png")), stream=True))
                await asked_for.wait()
                client.cut()
                await gone.wait()
            assert [record["status"] for record in gateway.records] == [499]
            assert not up.seen

    run(main())


def test_what_is_relayed_is_the_providers_to_fetch() -> None:
    async def main() -> None:
        async with (
            RawServer(unexpected) as server,
            Upstream(answers(200, MESSAGE)) as up,
            serving(config(claude=provider(up))) as gateway,
        ):
            image = linked("image", url(server, "a.png"))
            assert (await ask(gateway, having(image))).status == 200
            assert json.loads(up.seen[0].body)["messages"][0]["content"][1] == image

    run(main())
