"""Google Cloud: access tokens from a service account's key, or from Application Default Credentials.

google-auth is imported when the first token is fetched, and works in a thread. Its requests go through the small
transport here, on the standard library's HTTP client, so that it needs no further package.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Protocol

from asbru.config import Google
from asbru.upstream.renew import CredentialError, Fetched

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
REFRESH_AHEAD_S = 600.0
# The metadata server hands out the same token until five minutes before its end.
RETRY_S = 60.0
MAX_TOKEN_BYTES = 1 << 20
_TIMEOUT_S = 30.0


class Credentials(Protocol):
    """What we need of google-auth's, whose own types say less."""

    token: str | None
    expiry: datetime | None
    """In UTC, without saying so."""

    def refresh(self, request: Callable[..., object]) -> None: ...


class GoogleTokens:
    """Fetches access tokens."""

    __slots__ = ("_credentials", "_settings")

    def __init__(self, settings: Google) -> None:
        self._settings = settings
        self._credentials: Credentials | None = None

    async def fetch(self) -> Fetched[str]:
        """A token, fresh; raises `CredentialError`."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Fetched[str]:
        from google.auth.exceptions import GoogleAuthError

        logging.getLogger("google.auth").setLevel(logging.INFO)  # below that it shows headers
        try:
            if self._credentials is None:
                self._credentials = self._load()
            self._credentials.refresh(_transport)
        except (GoogleAuthError, OSError) as error:
            # The second argument of google-auth's errors is the response, which nobody needs to see.
            raise CredentialError(f"Google Cloud: {error.args[0] if error.args else type(error).__name__}") from None
        except (ValueError, TypeError, KeyError) as error:  # what its parsing raises for an answer or file it dislikes
            raise CredentialError(f"Google Cloud: no sense can be made of it ({type(error).__name__})") from None
        token, expiry = self._credentials.token, self._credentials.expiry
        if not token:
            raise CredentialError("Google Cloud: the answer holds no token")
        if expiry is None:
            return Fetched(token, RETRY_S)
        left_s = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        return Fetched(token, max(RETRY_S, left_s - REFRESH_AHEAD_S), left_s)

    def _load(self) -> Credentials:
        file = self._settings.service_account_file
        found: Credentials
        if file is not None:
            maker = import_module("google.oauth2.service_account").Credentials
            found = maker.from_service_account_file(file, scopes=SCOPES)
        else:
            found, _ = import_module("google.auth").default(scopes=SCOPES, request=_transport)
        return found


class _Response:
    """What google-auth reads of an answer."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


def _transport(
    url: str,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: object,
) -> _Response:
    """One request of google-auth's; honours the proxies of the environment, never follows anything but http(s)."""
    failure: type[Exception] = import_module("google.auth.exceptions").TransportError
    if not url.startswith(("https://", "http://")):
        raise failure("not an http URL")
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}), method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout or _TIMEOUT_S) as answer:  # noqa: S310
            return _Response(answer.status, dict(answer.headers), answer.read(MAX_TOKEN_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return _Response(error.code, dict(error.headers), error.read(MAX_TOKEN_BYTES))
    except (OSError, ValueError) as error:
        raise failure(str(error)) from error
