"""Where AWS keys come from: configured, the environment, profiles, container roles, roles to assume."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asbru.config import Aws, Provider, ProviderKey
from asbru.secrets import Secret
from asbru.upstream.aws import AwsCredential, needs_botocore
from asbru.upstream.credentials import CredentialError, of_key
from asbru.upstream.http1 import TlsContexts
from tests.upstream.issuer import Issuer

LATER = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
STS_ANSWER = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-token</SessionToken>
<Expiration>{LATER}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What botocore would find on this machine does not count."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def lines(settings: Aws) -> str:
    """The header lines of a request that is signed with these."""

    async def main() -> str:
        credential = AwsCredential("bedrock, key-1", settings, "eu-west-1")
        try:
            await credential.ready()
            return credential.lines(b"POST", b"h", b"/model/m/converse", b"{}").decode()
        finally:
            await credential.close()

    return asyncio.run(main())


def error(settings: Aws) -> str:
    with pytest.raises(CredentialError) as caught:
        lines(settings)
    return str(caught.value)


def test_configured_keys_need_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Aws(access_key_id=Secret("AKIAONE"), secret_access_key=Secret("s"), service="bedrock-mantle")
    assert not needs_botocore(settings)
    signed = lines(settings)
    assert "Credential=AKIAONE/" in signed
    assert "/eu-west-1/bedrock-mantle/aws4_request" in signed
    assert "x-amz-security-token" not in signed


def test_temporary_keys_are_sent_with_their_token() -> None:
    settings = Aws(access_key_id=Secret("ASIA"), secret_access_key=Secret("s"), session_token=Secret("a-token"))
    assert "x-amz-security-token: a-token\r\n" in lines(settings)


def test_a_profile(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n"
        "[prod]\naws_access_key_id = AKIAPROD\naws_secret_access_key = s\n"
    )
    assert "Credential=AKIAPROD/" in lines(Aws(profile="prod"))
    assert "Credential=AKIADEFAULT/" in lines(Aws())
    assert "no-such" in error(Aws(profile="no-such"))


def test_a_profile_that_runs_a_program(tmp_path: Path) -> None:
    made = {
        "Version": 1,
        "AccessKeyId": "ASIAPROCESS",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": LATER,
    }
    (tmp_path / "made.json").write_text(json.dumps(made))
    (tmp_path / "config").write_text(f"[profile made]\ncredential_process = cat {tmp_path}/made.json\n")
    signed = lines(Aws(profile="made"))
    assert "Credential=ASIAPROCESS/" in signed
    assert "x-amz-security-token: t\r\n" in signed


def test_a_container_role(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"AccessKeyId": "ASIATASK", "SecretAccessKey": "s", "Token": "task-token", "Expiration": LATER}
    with Issuer(lambda asked: (200, json.dumps(answer).encode())) as issuer:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{issuer.url}/role")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-pod's")
        signed = lines(Aws())
    assert "Credential=ASIATASK/" in signed
    assert "x-amz-security-token: task-token\r\n" in signed
    assert [asked.headers["authorization"] for asked in issuer.seen] == ["the-pod's"]


def test_a_role_is_assumed_with_the_keys_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with Issuer(lambda asked: (200, STS_ANSWER), "text/xml") as issuer:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", issuer.url)
        role = "arn:aws:iam::123456789012:role/llm"
        settings = Aws(
            access_key_id=Secret("AKIABASE"), secret_access_key=Secret("s"), role_arn=role, external_id="ours"
        )
        assert needs_botocore(settings)
        signed = lines(settings)
    assert "Credential=ASIAROLE/" in signed
    assert "x-amz-security-token: role-token\r\n" in signed
    (asked,) = issuer.seen
    assert {"Action": "AssumeRole", "RoleArn": role, "ExternalId": "ours"}.items() <= asked.form.items()
    assert "Credential=AKIABASE/" in asked.headers["authorization"]
    assert "/eu-west-1/sts/aws4_request" in asked.headers["authorization"]


def test_a_refused_role_is_an_error_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
    with Issuer(lambda asked: (403, refusal), "text/xml") as issuer:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", issuer.url)
        says = error(
            Aws(access_key_id=Secret("AKIABASE"), secret_access_key=Secret("hunter2"), role_arn="arn:aws:iam::1:role/r")
        )
    assert "AccessDenied" in says
    assert "hunter2" not in says


def test_no_keys_anywhere() -> None:
    assert error(Aws()) == "AWS: there are no credentials in the environment, a profile or a role"


def test_keys_that_cannot_stand_in_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "to\r\nken: x", "Expiration": LATER}
    with Issuer(lambda asked: (200, json.dumps(answer).encode())) as issuer:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{issuer.url}/role")
        assert "cannot stand in a header" in error(Aws())


def test_a_configured_key_becomes_a_signer() -> None:
    key = ProviderKey(name="main", aws=Aws(access_key_id=Secret("AKIA"), secret_access_key=Secret("s")))
    credential = of_key("bedrock", Provider(region="us-east-1"), key, {}, TlsContexts())
    assert isinstance(credential, AwsCredential)
    assert b"/us-east-1/bedrock/aws4_request" in credential.lines(b"GET", b"h", b"/", b"")
