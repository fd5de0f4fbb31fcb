"""Reasoning that another provider signed: left out for the provider that refuses it, and named as a loss."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import Json, Upstream, answers, error_body
from tests.gateway.support import ask, asked, providers, run, serving
from tests.gateway.test_gateway_retry import FALLBACK, failing, good, served, streamed

THINKING: Json = {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVkIGVsc2V3aGVyZQ=="}
TEXT: Json = {"type": "text", "text": "Hi"}
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}
INVALID = answers(
    400, error_body("invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block")
)


def conversation(*turns: Json | list[Json]) -> list[Json]:
    roles = ("user", "assistant")
    return [{"role": roles[index % 2], "content": content} for index, content in enumerate(turns)]


@streamed
def test_a_refused_signature_is_left_out_and_asked_once_more(stream: bool) -> None:
    messages = conversation([TEXT], [THINKING, TEXT], [TEXT])

    async def main() -> None:
        async with Upstream(INVALID, good(stream)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(stream=stream, messages=messages))
        assert served(reply, stream)
        assert reply.value(b"x-asbru-loss") == "dropped: messages"
        assert json.loads(a.seen[1].body)["messages"] == conversation([TEXT], [TEXT], [TEXT])
        assert a.seen[0].key == a.seen[1].key
        (record,) = gateway.records
        assert record["losses"] == ["dropped: thinking.foreign at messages"]

    run(main())


@streamed
def test_what_the_primary_signed_does_not_make_its_fallback_useless(stream: bool) -> None:
    messages = conversation([TEXT], [THINKING, TEXT], [TEXT])

    async def main() -> None:
        async with Upstream(failing(404)) as a, Upstream(INVALID, good(stream)) as b:
            async with serving(providers(a, b)) as gateway:
                reply = await ask(gateway, asked(stream=stream, messages=messages, fallbacks=FALLBACK))
            assert served(reply, stream)
            assert json.loads(a.seen[0].body)["messages"] == messages

    run(main())


def test_a_tool_loop_goes_on_without_its_thinking() -> None:
    messages = conversation([TEXT], [THINKING, CALL], [RESULT])
    thinking = {"type": "enabled", "budget_tokens": 2000}

    async def main() -> None:
        async with Upstream(INVALID, answers()) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(messages=messages, thinking=thinking))
        assert reply.status == 200
        sent = json.loads(a.seen[1].body)
        assert sent["messages"][1]["content"] == [CALL]
        assert sent["thinking"] == {"type": "disabled"}

    run(main())


@pytest.mark.parametrize("content", [[TEXT], "Hi"])
def test_a_refusal_that_leaving_out_cannot_mend_is_the_clients(content: object) -> None:
    async def main() -> None:
        async with Upstream(INVALID) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(messages=[{"role": "user", "content": content}]))
        assert reply.status == 400
        assert reply.value(b"x-asbru-loss") is None

    run(main())


def test_under_strict_nothing_is_left_out() -> None:
    messages = conversation([TEXT], [THINKING, TEXT], [TEXT])

    async def main() -> None:
        async with Upstream(INVALID) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(messages=messages), x_asbru_strict="true")
        assert reply.status == 400
        assert "Invalid `signature`" in reply.json["error"]["message"]

    run(main())
