"""Microsoft Entra's tokens: an application's secret, a workload's token, a managed identity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from asbru.config import Entra
from asbru.secrets import Secret
from asbru.upstream.azure import EntraTokens
from asbru.upstream.credentials import CredentialError
from asbru.upstream.http1 import TlsContexts
from asbru.upstream.renew import Fetched
from tests.upstream.issuer import Issuer

SCOPE = "https://cognitiveservices.azure.com/.default"
GRANTED = b'{"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ.token"}'


def fetch(settings: Entra, environ: Mapping[str, str] | None = None) -> Fetched[str]:
    return asyncio.run(EntraTokens(settings, environ or {}, TlsContexts()).fetch())


def application(issuer: Issuer, **fields: object) -> Entra:
    given = {"tenant_id": "t-1", "client_id": "c-1", "authority": f"{issuer.url}/", "scope": SCOPE, **fields}
    return Entra(**given)  # type: ignore[arg-type]  # the test's own fields


def test_an_application_with_a_secret() -> None:
    with Issuer(lambda asked: (200, GRANTED)) as issuer:
        token = fetch(application(issuer, client_secret=Secret("s3cr&t")))
    assert token == Fetched("eyJ.token", 2999.0, 3599.0)
    (asked,) = issuer.seen
    assert (asked.method, asked.path) == ("POST", "/t-1/oauth2/v2.0/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form == {
        "grant_type": "client_credentials",
        "client_id": "c-1",
        "client_secret": "s3cr&t",
        "scope": SCOPE,
    }


def test_a_workload_with_a_token_that_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with Issuer(lambda asked: (200, GRANTED)) as issuer:
        settings = application(issuer, federated_token_file=str(file))
        for content in ("first\n", "second\n"):
            file.write_text(content)
            fetch(settings)
    assert [asked.form["client_assertion"] for asked in issuer.seen] == ["first", "second"]
    assert issuer.seen[0].form["client_assertion_type"].endswith("jwt-bearer")
    assert "client_secret" not in issuer.seen[0].form


def test_a_workload_without_its_token(tmp_path: Path) -> None:
    with Issuer(lambda asked: (200, GRANTED)) as issuer, pytest.raises(CredentialError, match="FileNotFoundError"):
        fetch(application(issuer, federated_token_file=str(tmp_path / "none")))
    assert issuer.seen == []


@pytest.mark.parametrize("client_id", [None, "c-1"])
def test_a_managed_identity(client_id: str | None) -> None:
    says = b'{"access_token": "eyJ.machine", "expires_in": "86400", "resource": "x"}'
    with Issuer(lambda asked: (200, says)) as issuer:
        environ = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": issuer.url, "HTTP_PROXY": "http://127.0.0.1:1"}
        token = fetch(Entra(client_id=client_id, scope=SCOPE), environ)
    assert token == Fetched("eyJ.machine", 85_800.0, 86_400.0)
    (asked,) = issuer.seen
    assert asked.headers["metadata"] == "true"
    url = urlsplit(asked.path)
    assert url.path == "/metadata/identity/oauth2/token"
    expected = {"api-version": ["2018-02-01"], "resource": ["https://cognitiveservices.azure.com"]}
    assert parse_qs(url.query) == expected | ({"client_id": [client_id]} if client_id else {})


@pytest.mark.parametrize("says", [b"", b', "expires_in": 0', b', "expires_in": "0"'])
def test_a_token_that_does_not_say_how_long_it_lasts_serves_and_is_soon_replaced(says: bytes) -> None:
    with Issuer(lambda asked: (200, b'{"access_token": "t"%b}' % says)) as issuer:
        token = fetch(application(issuer, client_secret=Secret("x")))
    assert token == Fetched("t", 60.0, None)


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (401, b'{"error": "invalid_client", "error_description": "hunter2"}', "status 401, invalid_client"),
        (200, b'{"token_type": "Bearer"}', "status 200, no token"),
        (500, b"<html>hunter2</html>", "the answer with status 500 makes no sense"),
        (200, b'{"access_token": "t", "expires_in": "soon"}', "the answer with status 200 makes no sense"),
    ],
)
def test_the_issuer_refuses(status: int, answer: bytes, says: str) -> None:
    with Issuer(lambda asked: (status, answer)) as issuer, pytest.raises(CredentialError) as caught:
        fetch(application(issuer, client_secret=Secret("hunter2")))
    assert str(caught.value) == f"Microsoft Entra: {says}"


def test_the_issuer_is_away() -> None:
    with Issuer(lambda asked: (200, GRANTED)) as issuer:
        settings = application(issuer, client_secret=Secret("hunter2"))
    with pytest.raises(CredentialError, match=r"^Microsoft Entra: ") as caught:
        fetch(settings)
    assert "hunter2" not in str(caught.value)
