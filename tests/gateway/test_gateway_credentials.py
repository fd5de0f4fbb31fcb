"""Requests that are signed, and tokens that run out, through a running gateway."""

from __future__ import annotations

import json
from calendar import timegm
from threading import Event
from time import strptime

import pytest

from asbru.upstream.aws import Keys, sign
from tests.gateway.provider import MESSAGE, MODEL, Json, Turn, Upstream, answers, error_body
from tests.gateway.support import ask, asked, provider, run, serving
from tests.upstream.issuer import Asked, Issuer

AWS: Json = {"aws": {"access_key_id": "AKIATEST", "secret_access_key": "the-secret", "service": "bedrock-mantle"}}
NO_LIST: Json = {"list_models": "none"}
GRANTED = b'{"access_token": "eyJ.token", "expires_in": 3599}'
CLIENTS_OWN = {"x-api-key": "sk-the-clients-own"}


def signing(up: Upstream, *keys: Json, **settings: object) -> Json:
    """A configuration of one provider with these keys."""
    return {"providers": {"a": {**provider(up), "keys": list(keys), **NO_LIST, **settings}}}


def entra(name: str, issuer: Issuer) -> Json:
    identity = {
        "tenant_id": "t",
        "client_id": "c",
        "client_secret": "hunter2",
        "authority": issuer.url,
        "scope": "x/.default",
    }
    return {"name": name, "entra": identity}


def assert_signed(turn: Turn) -> None:
    """The request's own lines sign just what arrived."""
    (stamp,) = turn.values(b"x-amz-date")
    (authorization,) = turn.values(b"authorization")
    (host,) = turn.values(b"host")
    now = timegm(strptime(stamp.decode(), "%Y%m%dT%H%M%SZ"))
    keys = Keys("AKIATEST", "the-secret")
    expected = sign(keys, "eu-west-1", "bedrock-mantle", turn.method, host, turn.target, turn.body, now)
    assert authorization in expected
    assert turn.values(b"x-api-key") == []


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true"])
def test_what_is_signed_is_what_arrives(path: str) -> None:
    async def main() -> None:
        async with Upstream(answers()) as up:
            config = signing(up, AWS, region="eu-west-1", base_url=f"{up.url}/anthropic")
            async with serving(config) as gateway:
                # Its own model's name, and fallbacks that are the gateway's: the body is not the client's any more.
                reply = await ask(gateway, asked("a/" + MODEL, fallbacks=["a/x"]), path, **CLIENTS_OWN)
                assert reply.body == MESSAGE
            (turn,) = up.seen
            assert turn.target == b"/anthropic" + path.encode()
            assert turn.model == MODEL
            assert_signed(turn)

    run(main())


@pytest.mark.parametrize(
    ("betas", "sent"), [({}, b"oauth-2025-04-20"), ({"anthropic-beta": "a-1,b-2"}, b"a-1,b-2,oauth-2025-04-20")]
)
def test_a_stored_oauth_token_goes_with_its_beta(betas: dict[str, str], sent: bytes) -> None:
    async def main() -> None:
        async with Upstream(answers(), answers(), answers()) as up:
            keys = [{"name": "oauth", "value": "sk-ant-oat01-stored"}, {"name": "plain", "value": "sk-ant-api03-x"}]
            async with serving(signing(up, *keys)) as gateway:
                for headers in (betas, {**betas, "anthropic-beta": sent.decode()}):
                    assert (await ask(gateway, asked(), x_bf_api_key="oauth", **headers)).status == 200
                assert (await ask(gateway, asked(), x_bf_api_key="plain", **betas)).status == 200
            for turn in up.seen[:2]:
                assert turn.values(b"authorization") == [b"Bearer sk-ant-oat01-stored"]
                assert turn.values(b"anthropic-beta") == [sent]
            assert up.seen[2].values(b"anthropic-beta") == [value.encode() for value in betas.values()]

    run(main())


def test_a_token_is_fetched_once_for_all_and_sent() -> None:
    async def main() -> None:
        async with Upstream(answers(), answers(), answers()) as up:
            async with serving(signing(up, entra("main", issuer))) as gateway:
                for _ in range(3):
                    assert (await ask(gateway, asked(), **CLIENTS_OWN)).status == 200
            assert [turn.values(b"authorization") for turn in up.seen] == [[b"Bearer eyJ.token"]] * 3
            assert all(turn.values(b"x-api-key") == [] for turn in up.seen)

    with Issuer(lambda asked: (200, GRANTED)) as issuer:
        run(main())
    assert len(issuer.seen) == 1


def test_without_a_credential_nobody_is_called_and_the_client_is_not_told_to_log_in() -> None:
    async def main() -> None:
        async with Upstream() as up:
            async with serving(signing(up, entra("main", issuer))) as gateway:
                reply = await ask(gateway, asked())
                assert reply.status == 502
                assert reply.value(b"x-asbru-reason") == "upstream_credentials"
                assert reply.json["error"]["message"] == "a: no credential can be had for it now"
                assert b"hunter2" not in reply.body
                assert (reply.value(b"x-asbru-attempts") or "").startswith("a/claude-test-1 no_credential ")
            assert up.seen == []

    with Issuer(lambda asked: (401, b'{"error": "invalid_client", "error_description": "hunter2"}')) as issuer:
        run(main())


def test_another_key_takes_over_for_one_that_cannot_be_had() -> None:
    async def main() -> None:
        async with Upstream(answers()) as up:
            config = signing(up, entra("main", issuer), {"name": "spare", "value": "sk-spare", "weight": 0.000001})
            async with serving(config) as gateway:
                reply = await ask(gateway, asked())
                assert reply.status == 200
                assert (reply.value(b"x-asbru-attempts") or "").count("no_credential") == 1
            assert [turn.key for turn in up.seen] == ["sk-spare"]

    with Issuer(lambda asked: (500, b"")) as issuer:
        run(main())


def test_another_candidate_takes_over() -> None:
    async def main() -> None:
        async with Upstream() as up, Upstream(answers()) as other:
            config = signing(up, entra("main", issuer))
            config["providers"]["b"] = provider(other, "sk-b")
            async with serving(config) as gateway:
                assert (await ask(gateway, asked("a/" + MODEL, fallbacks=["b/" + MODEL]))).status == 200
            assert (len(up.seen), len(other.seen)) == (0, 1)

    with Issuer(lambda asked: (500, b"")) as issuer:
        run(main())


def test_a_refused_token_is_the_gateways_trouble() -> None:
    async def main() -> None:
        refuses = answers(403, error_body("permission_error"))
        async with Upstream(refuses) as up, serving(signing(up, entra("main", issuer))) as gateway:
            reply = await ask(gateway, asked())
            assert (reply.status, reply.value(b"x-asbru-reason")) == (502, "upstream_credentials")

    with Issuer(lambda asked: (200, GRANTED)) as issuer:
        run(main())


def test_a_cloud_that_speaks_the_own_dialect_has_no_files_and_no_batches() -> None:
    async def main() -> None:
        async with Upstream() as up:
            async with serving(signing(up, AWS, region="eu-west-1")) as gateway:
                assert (await ask(gateway, None, "/v1/files")).status == 404
                body = json.dumps({"requests": [{"custom_id": "1", "params": asked()}]}).encode()
                reply = await ask(gateway, body, "/v1/messages/batches")
                assert reply.status == 400
            assert up.seen == []

    run(main())


def test_a_credential_is_awaited_no_longer_than_the_request_may_take() -> None:
    async def main() -> None:
        async with Upstream() as up:
            async with serving(signing(up, entra("main", issuer), timeouts={"deadline_s": 0.05})) as gateway:
                reply = await ask(gateway, asked())
                assert reply.error == (504, "timeout_error", None)
                assert reply.attempts == [f"a/{MODEL} deadline"]
                silence.set()
            assert up.seen == []

    def says(asked: Asked) -> tuple[int, bytes]:
        silence.wait()
        return 200, GRANTED

    silence = Event()
    with Issuer(says) as issuer:
        try:
            run(main())
        finally:
            silence.set()
