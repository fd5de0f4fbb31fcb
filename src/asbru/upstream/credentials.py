"""How a provider's requests are authorised, for each of its keys.

A key that is sent as it is needs no more than a header line, made once: bytes. Everything else is a `Credential`, which
must be `ready` before it is asked for the lines of a request. Refreshing happens behind it (``renew.py``), never in a
request's way but for the very first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from asbru import config
from asbru.redaction import NOTHING, Redactor
from asbru.secrets import Secret
from asbru.upstream.dial import TlsContexts
from asbru.upstream.renew import CredentialError, Renewed

__all__ = ["Bearer", "Credential", "CredentialError", "credential_line", "of_key"]

OAUTH_PREFIX = "sk-ant-oat"  # Claude OAuth tokens are sent as bearer tokens, never as x-api-key
OAUTH_BETA = "oauth-2025-04-20"
"""Without it the Messages API refuses such a token."""


class Credential(Protocol):
    """What signs requests, or sends a token that runs out."""

    async def ready(self) -> None:
        """Have what `lines` needs; raises `CredentialError`. Waits for nothing but the first fetch."""
        ...

    def lines(self, method: bytes, host: bytes, target: bytes, body: bytes) -> bytes:
        """The header lines of one request, as it will be sent."""
        ...

    def redactor(self, lines: bytes) -> Redactor:
        """Finds what `lines` said in the upstream's answer to that request."""
        ...

    async def close(self) -> None:
        """Stop refreshing."""
        ...


def credential_line(secret: Secret | None, header: str = "x-api-key") -> bytes:
    """One key as a header line; nothing for none."""
    if secret is None:
        return b""
    value = secret.reveal()
    if header == "authorization" or value.startswith(OAUTH_PREFIX):
        return f"authorization: Bearer {value}\r\n".encode("latin-1")
    return f"{header}: {value}\r\n".encode("latin-1")


class Bearer:
    """A token that runs out, in the usual header."""

    __slots__ = ("_line", "_redactor", "_renewed", "_token")

    def __init__(self, renewed: Renewed[str]) -> None:
        self._renewed = renewed
        self._token: str | None = None
        self._line = b""
        self._redactor = NOTHING

    async def ready(self) -> None:
        token = await self._renewed.ready()
        if token is not self._token:
            if not (token.isascii() and token.isprintable()):
                raise CredentialError("the token holds a character that cannot stand in a header")
            self._token, self._line = token, f"authorization: Bearer {token}\r\n".encode("latin-1")
            self._redactor = Redactor((token,))

    def lines(self, method: bytes, host: bytes, target: bytes, body: bytes) -> bytes:
        return self._line

    def redactor(self, lines: bytes) -> Redactor:
        return self._redactor

    async def close(self) -> None:
        await self._renewed.close()


def of_key(
    provider: str,
    settings: config.Provider,
    key: config.ProviderKey,
    environ: Mapping[str, str],
    contexts: TlsContexts,
) -> bytes | Credential:
    """How requests with one configured key are authorised."""
    name = f"{provider}, {key.name}"
    if key.aws is not None:
        from asbru.upstream.aws import AwsCredential

        return AwsCredential(name, key.aws, settings.region or "")
    if key.google is not None:
        from asbru.upstream.google import GoogleTokens

        return Bearer(Renewed(name, GoogleTokens(key.google).fetch))
    if key.entra is not None:
        from asbru.upstream.azure import EntraTokens

        return Bearer(Renewed(name, EntraTokens(key.entra, environ, contexts).fetch))
    return credential_line(key.value, settings.credential or "x-api-key")
