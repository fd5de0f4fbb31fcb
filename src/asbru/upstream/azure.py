"""Microsoft Entra ID: access tokens by OAuth's client credentials, or from a machine's managed identity.

A token is one small HTTP request, made with our own client: no package is needed. An application proves itself with
its secret, or with a token that its platform writes into a file (workload identity federation).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from asbru.config import Entra
from asbru.upstream.http1 import Limits, Origin, Pool, TlsContexts, UpstreamError, proxy_for
from asbru.upstream.renew import CredentialError, Fetched

DEFAULT_AUTHORITY = "https://login.microsoftonline.com"
IDENTITY_HOST = "http://169.254.169.254"
_IDENTITY_PATH = "/metadata/identity/oauth2/token"
REFRESH_AHEAD_S = 600.0
UNSAID_REFRESH_S = 60.0
"""When to fetch again where the answer does not say how long its token lasts."""
MAX_TOKEN_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 16
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIMITS = Limits(max_connections=1, connect_s=10.0, first_byte_s=30.0, idle_s=30.0, keep_alive_s=1.0)


class _Token(msgspec.Struct):
    """Both kinds of answers; the managed identity's has numbers as texts."""

    access_token: str | None = None
    expires_in: int | str = 0
    error: str | None = None


class _Ask(NamedTuple):
    """A request for a token."""

    url: str
    body: bytes
    fields: bytes


class EntraTokens:
    """Fetches access tokens."""

    __slots__ = ("_contexts", "_environ", "_identity_host", "_settings")

    def __init__(self, settings: Entra, environ: Mapping[str, str], contexts: TlsContexts) -> None:
        self._settings = settings
        self._environ = environ
        self._contexts = contexts
        self._identity_host = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", IDENTITY_HOST).rstrip("/")

    async def fetch(self) -> Fetched[str]:
        """A token, fresh; raises `CredentialError`."""
        ask = await self._ask()
        url = urlsplit(ask.url)
        secure = url.scheme == "https"
        origin = Origin("https" if secure else "http", url.hostname or "", url.port or (443 if secure else 80))
        local = ask.url.startswith(self._identity_host)
        proxy = None if local else proxy_for(origin, None, self._environ)
        pool = Pool(origin, _LIMITS, ssl_context=self._contexts.of() if secure else None, proxy=proxy)
        target = url.path + (f"?{url.query}" if url.query else "")
        method = b"POST" if ask.body else b"GET"
        head = b"%b %b HTTP/1.1\r\nhost: %b\r\naccept: application/json\r\n%b" % (
            method,
            target.encode("ascii"),
            url.netloc.encode("ascii"),
            ask.fields,
        )
        head += b"content-length: %d\r\n\r\n" % len(ask.body) if ask.body else b"\r\n"
        try:
            response = await pool.request(head, ask.body or None, method=method)
            answer = await response.read_all(MAX_TOKEN_BYTES)
        except UpstreamError as error:
            raise CredentialError(f"Microsoft Entra: {error.message}") from None
        finally:
            await pool.close()
        return _token(response.status, answer)

    async def _ask(self) -> _Ask:
        settings = self._settings
        scope = settings.scope or ""
        if settings.client_secret is None and settings.federated_token_file is None:
            query = {"api-version": "2018-02-01", "resource": scope.removesuffix("/.default")}
            if settings.client_id is not None:
                query["client_id"] = settings.client_id
            return _Ask(f"{self._identity_host}{_IDENTITY_PATH}?{urlencode(query)}", b"", b"metadata: true\r\n")
        form = {"grant_type": "client_credentials", "client_id": settings.client_id or "", "scope": scope}
        if settings.client_secret is not None:
            form["client_secret"] = settings.client_secret.reveal()
        else:
            assert settings.federated_token_file is not None
            form["client_assertion_type"] = _ASSERTION
            form["client_assertion"] = await asyncio.to_thread(_file, settings.federated_token_file)
        authority = (settings.authority or DEFAULT_AUTHORITY).rstrip("/")
        url = f"{authority}/{quote(settings.tenant_id or '', safe='')}/oauth2/v2.0/token"
        return _Ask(url, urlencode(form).encode("ascii"), b"content-type: application/x-www-form-urlencoded\r\n")


def _file(name: str) -> str:
    """The platform's token: read anew each time, since it is replaced."""
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise CredentialError(f"Microsoft Entra: the federated token cannot be read: {type(error).__name__}") from None


def _token(status: int, body: bytes) -> Fetched[str]:
    try:
        answer = msgspec.json.decode(body, type=_Token)
        expires_s = float(answer.expires_in)
    except (msgspec.DecodeError, ValueError):
        raise CredentialError(f"Microsoft Entra: the answer with status {status} makes no sense") from None
    if status != 200 or not answer.access_token:
        raise CredentialError(f"Microsoft Entra: status {status}, {answer.error or 'no token'}")
    if not expires_s > 0:
        return Fetched(answer.access_token, UNSAID_REFRESH_S)
    return Fetched(answer.access_token, max(0.0, expires_s - REFRESH_AHEAD_S), expires_s)
