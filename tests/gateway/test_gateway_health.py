"""How failures are held against providers, keys and kinds of call, and what an operator reads of it in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.gateway.provider import MESSAGE, MODEL, Nowhere, Play, Upstream, answers, error_body, streams
from tests.gateway.support import ask, asked, provider, providers, run, serving
from tests.gateway.test_gateway_retry import FALLBACK, SOON, TWO_KEYS, failing, good, served, streamed

COUNT = "/v1/messages/count_tokens"
ACCOUNT_MESSAGES = [
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade.",
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    "This organization has been disabled.",
    "insufficient_quota: the plan of this account has no tokens left",
]


@pytest.fixture
def health(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines that the log has about health, as they come."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    log = logging.getLogger("asbru.health")
    keep = Keep()
    with caplog.at_level(logging.DEBUG, "asbru.health"):
        log.addHandler(keep)
        yield lines
        log.removeHandler(keep)


def about(message: str) -> bytes:
    return error_body("invalid_request_error", message)


# Kinds of call


def count_fails(status: int) -> Play:
    return answers(status, error_body(message="no counting here"), SOON)


def test_counts_that_fail_hold_nothing_against_messages() -> None:
    async def main() -> None:
        breaker = {"breaker": {"failures": 1, "pause_s": 60}, "max_retries": 0}
        async with Upstream(count_fails(500), answers()) as a, serving(providers(a, **breaker)) as gateway:
            first = await ask(gateway, asked(), COUNT)
            assert (first.status, first.value(b"x-asbru-estimate")) == (200, "true")
            second = await ask(gateway, asked(), COUNT)
            assert (second.status, second.value(b"x-asbru-estimate")) == (200, "true")
            assert len(a.seen) == 1, "the breaker for counts is open"
            assert (await ask(gateway, asked())).body == MESSAGE

    run(main())


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (405, 1), (501, 1), (503, 2)])
def test_a_count_that_the_provider_cannot_give_is_estimated(status: int, tries: int) -> None:
    async def main() -> None:
        async with Upstream(*[count_fails(status)] * tries) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(), COUNT)
        assert (reply.status, reply.value(b"x-asbru-estimate")) == (200, "true")
        assert reply.json["input_tokens"] > 0
        assert reply.attempts == [f"a/{MODEL} {status}"] * tries

    run(main())


@pytest.mark.parametrize(
    ("status", "message"), [(400, "max_tokens: wrong"), (404, f"model: {MODEL}"), (429, "slow down")]
)
def test_a_count_that_is_refused_for_its_request_is_not_estimated(status: int, message: str) -> None:
    async def main() -> None:
        async with Upstream(answers(status, error_body(message=message))) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(), COUNT)
        assert (reply.status, reply.value(b"x-asbru-estimate")) == (status, None)

    run(main())


# Errors about the account


@streamed
@pytest.mark.parametrize("message", ACCOUNT_MESSAGES)
@pytest.mark.parametrize("status", [400, 403, 429])
def test_an_error_about_the_account_is_not_the_clients(
    message: str, status: int, stream: bool, health: list[str]
) -> None:
    async def main() -> None:
        refused = answers(status, about(message))
        async with Upstream(refused, *[good(stream)] * 3) as a:
            async with serving({"providers": {"a": provider(a, *TWO_KEYS)}}) as gateway:
                for _ in range(3):
                    assert served(await ask(gateway, asked(stream=stream)), stream)
            assert len({turn.key for turn in a.seen[1:]}) == 1, "the refused key is on cooldown"
            (first, *_) = gateway.records[0]["attempts"]
            assert (first["outcome"], first["error"]) == (str(status), message)
        (line,) = health
        assert line.startswith(f'WARNING provider a: key "{first["key"]}" rejected (402): {message[:20]}')
        assert line.endswith("; not used for 60 s")

    run(main())


def test_an_account_without_credit_falls_back_and_alone_is_the_gateways_own_error() -> None:
    async def main() -> None:
        refused = answers(400, about(ACCOUNT_MESSAGES[0]))
        async with Upstream(refused) as a, Upstream(answers()) as b, serving(providers(a, b)) as gateway:
            alone = await ask(gateway, asked())
            assert alone.error == (502, "api_error", "upstream_credentials")
            assert (await ask(gateway, asked(fallbacks=FALLBACK))).value(b"x-asbru-provider") == "b"

    run(main())


# Cooldowns


@streamed
def test_a_key_on_cooldown_is_skipped_while_another_candidate_follows(stream: bool, health: list[str]) -> None:
    async def main() -> None:
        limited = failing(429, (b"retry-after", b"300"))
        async with Upstream(limited) as a, Upstream(*[good(stream)] * 5) as b, serving(providers(a, b)) as gateway:
            for _ in range(5):
                assert served(await ask(gateway, asked(stream=stream, fallbacks=FALLBACK)), stream)
        assert (len(a.seen), len(b.seen)) == (1, 5)
        assert health == [
            'INFO provider a: key "a" is rate limited (429); not used for 300 s',
            f"WARNING provider a: no usable key for {MODEL}: all are on cooldown; the first is used again in 300 s",
        ]

    run(main())


@pytest.mark.parametrize("status", [403, 429])
def test_an_answer_about_one_model_keeps_the_key_for_the_others(status: int) -> None:
    async def main() -> None:
        refused = answers(status, error_body(message=f"your key may not use {MODEL} now"), (b"retry-after", b"300"))
        async with Upstream(refused, answers()) as a, Upstream(answers(), answers()) as b:
            async with serving(providers(a, b)) as gateway:
                for model, by in ((MODEL, "b"), ("claude-other", "a"), (MODEL, "b")):
                    reply = await ask(gateway, asked(model=model, fallbacks=FALLBACK))
                    assert reply.value(b"x-asbru-provider") == by
            assert [turn.model for turn in a.seen] == [MODEL, "claude-other"]

    run(main())


# The log


def test_a_revoked_key_is_one_line_and_never_the_key(health: list[str]) -> None:
    async def main() -> None:
        text = "invalid x-api-key\\nsk-ant-api03-abcdefghijklmnop is not known " + "x" * 900
        async with Upstream(answers(401, error_body("authentication_error", text)), *[answers()] * 3) as a:
            async with serving({"providers": {"a": provider(a, *TWO_KEYS)}}) as gateway:
                for _ in range(3):
                    assert (await ask(gateway, asked())).status == 200
            error = gateway.records[0]["attempts"][0]["error"]
        assert error.startswith("invalid x-api-key [redacted] is not known")
        assert len(error) <= 300
        (line,) = health
        assert line == f'WARNING provider a: key "{a.seen[0].key[3:]}" rejected (401): {error}; not used for 60 s'

    run(main())


def test_a_dead_primary_behind_a_fallback_is_told_once_and_so_is_its_breaker(health: list[str]) -> None:
    async def main() -> None:
        with Nowhere() as a:
            async with Upstream(*[answers()] * 6) as b:
                settings = {"breaker": {"failures": 3, "pause_s": 60}, "max_retries": 0}
                async with serving(providers(a, b, **settings)) as gateway:
                    for _ in range(6):
                        assert (await ask(gateway, asked(fallbacks=FALLBACK))).status == 200
        failed, opened = health
        assert failed.startswith("WARNING provider a: attempt failed: connect: ")
        assert opened == (
            f"WARNING provider a: circuit breaker opened for {MODEL} (messages): last failure connect; next try in 60 s"
        )

    run(main())


def test_a_breaker_that_closes_says_for_how_long_it_was_open(health: list[str]) -> None:
    async def main() -> None:
        settings = {"breaker": {"failures": 1, "pause_s": 0.01}, "max_retries": 0}
        async with Upstream(failing(500), answers()) as a, serving(providers(a, **settings)) as gateway:
            assert (await ask(gateway, asked())).status == 500
            while (await ask(gateway, asked())).status == 503:
                pass
        assert f"WARNING provider a: circuit breaker closed for {MODEL} (messages): serving again after 0 s" in health

    run(main())


def test_an_invalid_response_is_told_with_its_reason(health: list[str]) -> None:
    async def main() -> None:
        async with Upstream(answers(200, b'{"type":"surprise"}')) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked())).status == 502
        assert health == ["WARNING provider a: attempt failed: protocol: the answer is not a Message"]
        assert gateway.records[0]["attempts"][0]["error"] == "the answer is not a Message"

    run(main())


def test_an_error_of_the_clients_is_in_no_log_and_no_record(health: list[str]) -> None:
    async def main() -> None:
        async with Upstream(failing(400)) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked())).status == 400
        assert health == []
        assert gateway.records[0]["attempts"][0].get("error") is None

    run(main())


def test_no_candidate_names_providers_causes_and_the_next_try() -> None:
    async def main() -> None:
        settings = {"breaker": {"failures": 1, "pause_s": 30}, "max_retries": 0}
        async with Upstream(failing(500)) as a, serving(providers(a, **settings)) as gateway:
            assert (await ask(gateway, asked())).status == 500
            reply = await ask(gateway, asked())
        assert reply.error == (503, "overloaded_error", "no_candidate")
        assert reply.json["error"]["message"] == "a is temporarily unavailable (circuit open, next try in 30 s)"

    run(main())


def test_a_stream_may_be_refused_for_the_account_before_its_content() -> None:
    async def main() -> None:
        refused = streams(b"event: error\ndata: " + about(ACCOUNT_MESSAGES[0]) + b"\n\n")
        async with Upstream(refused) as a, Upstream(good(True)) as b, serving(providers(a, b)) as gateway:
            assert served(await ask(gateway, asked(stream=True, fallbacks=FALLBACK)), True)

    run(main())
