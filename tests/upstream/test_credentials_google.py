"""Google Cloud's tokens: from a service account's key, from the metadata server, and what can go wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from asbru.config import Google, Provider, ProviderKey
from asbru.upstream.credentials import Bearer, CredentialError, of_key
from asbru.upstream.google import RETRY_S, GoogleTokens
from asbru.upstream.http1 import TlsContexts
from asbru.upstream.renew import Fetched
from tests.upstream.issuer import Asked, Issuer


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What google-auth would find on this machine does not count."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(folder: Path, issuer: Issuer, private_key: str) -> str:
    file = folder / "account.json"
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": private_key,
        "client_email": "gateway@p.iam.gserviceaccount.com",
        "token_uri": f"{issuer.url}/token",
    }
    file.write_text(json.dumps(account))
    return str(file)


def fetch(settings: Google) -> Fetched[str]:
    return asyncio.run(GoogleTokens(settings).fetch())


def granted(asked: Asked) -> tuple[int, bytes]:
    return 200, b'{"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"}'


@pytest.mark.parametrize("named", [True, False])
def test_a_service_account(tmp_path: Path, private_key: str, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Issuer(granted) as issuer:
        file = service_account(tmp_path, issuer, private_key)
        if not named:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
        token = fetch(Google(service_account_file=file if named else None))
    assert token.value == "ya29.token"
    assert token.refresh_s is not None
    assert token.expires_s is not None
    assert 2900 < token.refresh_s < 3000
    assert 3500 < token.expires_s <= 3600
    (asked,) = issuer.seen
    assert (asked.method, asked.path) == ("POST", "/token")
    assert asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert asked.form["assertion"].count(".") == 2


def test_the_metadata_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(asked: Asked) -> tuple[int, bytes]:
        if asked.path.startswith("/computeMetadata/v1/instance/service-accounts/default/token"):
            return 200, b'{"access_token": "from-metadata", "expires_in": 240, "token_type": "Bearer"}'
        if "service-accounts" in asked.path:
            return 200, b'{"email": "default@p.iam.gserviceaccount.com", "scopes": [], "aliases": []}'
        return 200, b"p"

    with Issuer(says) as issuer:
        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setenv("GCE_METADATA_HOST", issuer.host)
        monkeypatch.setenv("GCE_METADATA_IP", issuer.host)
        token = fetch(Google())
    assert token.value == "from-metadata"
    assert token.refresh_s == RETRY_S  # it hands out the same one until the last minutes
    assert all(asked.headers["metadata-flavor"] == "Google" for asked in issuer.seen)


def test_nothing_is_found() -> None:
    with pytest.raises(CredentialError, match=r"^Google Cloud: Your default credentials were not found"):
        fetch(Google())


@pytest.mark.parametrize(
    "says", [(400, b'{"error": "invalid_grant", "error_description": "no such account"}'), (200, b"not JSON")]
)
def test_the_issuer_refuses(tmp_path: Path, private_key: str, says: tuple[int, bytes]) -> None:
    with Issuer(lambda asked: says) as issuer, pytest.raises(CredentialError, match=r"^Google Cloud: ") as caught:
        fetch(Google(service_account_file=service_account(tmp_path, issuer, private_key)))
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_file_that_is_no_account(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text('{"type": "service_account", "private_key": "hunter2"}')
    with pytest.raises(CredentialError) as caught:
        fetch(Google(service_account_file=str(file)))
    assert "hunter2" not in str(caught.value)


def test_a_token_goes_into_the_usual_header(tmp_path: Path, private_key: str) -> None:
    async def main(key: ProviderKey) -> bytes:
        credential = of_key("vertex", Provider(), key, {}, TlsContexts())
        assert isinstance(credential, Bearer)
        try:
            await credential.ready()
            return credential.lines(b"POST", b"h", b"/", b"")
        finally:
            await credential.close()

    with Issuer(granted) as issuer:
        file = service_account(tmp_path, issuer, private_key)
        line = asyncio.run(main(ProviderKey(name="main", google=Google(service_account_file=file))))
    assert line == b"authorization: Bearer ya29.token\r\n"


def test_a_token_that_cannot_stand_in_a_header(tmp_path: Path, private_key: str) -> None:
    async def main(key: ProviderKey) -> None:
        credential = of_key("vertex", Provider(), key, {}, TlsContexts())
        assert isinstance(credential, Bearer)
        try:
            await credential.ready()
        finally:
            await credential.close()

    with Issuer(lambda asked: (200, b'{"access_token": "a\\r\\nb: c", "expires_in": 3600}')) as issuer:
        key = ProviderKey(
            name="main", google=Google(service_account_file=service_account(tmp_path, issuer, private_key))
        )
        with pytest.raises(CredentialError, match="cannot stand in a header"):
            asyncio.run(main(key))
