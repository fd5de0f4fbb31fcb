"""AWS: signatures (SigV4), and where the keys that sign come from.

`sign` is pure: keys, request and time in, header lines out. Keys that are configured or stand in the environment need
nothing else; everything else that AWS SDKs know of (profiles, SSO, roles to assume, container and instance roles) is
found by botocore, which is imported when the first request asks for it, and is asked in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote

from asbru.config import Aws
from asbru.redaction import NOTHING, Redactor
from asbru.upstream.renew import CredentialError, Fetched, Renewed

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.session import Session

# botocore renews what has less than 15 minutes left when it is asked, and hands out nothing with less than 10.
ASK_EVERY_S = 240.0

_ALGORITHM = "AWS4-HMAC-SHA256"


class Keys(NamedTuple):
    """An access key; with a token when it is temporary."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Keys(***)"


def sign(
    keys: Keys, region: str, service: str, method: bytes, host: bytes, target: bytes, body: bytes, now_unix_s: float
) -> bytes:
    """The header lines that sign a request; ``target`` is its path and query as they are sent.

    AWS's rules: the path is encoded once more, whatever it holds; queries are sorted; host and ``x-amz-*`` are signed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_unix_s))
    day = stamp[:8]
    path, _, query = target.decode("ascii").partition("?")
    signed = {"host": host.decode("ascii"), "x-amz-date": stamp}
    if keys.session_token is not None:
        signed["x-amz-security-token"] = keys.session_token
    names = ";".join(signed)
    canonical = "\n".join(
        (
            method.decode("ascii"),
            quote(path or "/", safe="/-_.~"),
            _canonical_query(query),
            *(f"{name}:{value}" for name, value in signed.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode('ascii')).hexdigest()}"
    key = _signing_key(keys.secret_access_key, day, region, service)
    signature = hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()
    token = "" if keys.session_token is None else f"x-amz-security-token: {keys.session_token}\r\n"
    return (
        f"x-amz-date: {stamp}\r\n{token}"
        f"authorization: {_ALGORITHM} Credential={keys.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}\r\n"
    ).encode("ascii")


def _canonical_query(query: str) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True))
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The same for a whole day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode("ascii"), hashlib.sha256).digest()
    return key


class AwsCredential:
    """Signs a provider's requests."""

    __slots__ = ("_keys", "_redactor", "_redacts", "_region", "_renewed", "_service")

    def __init__(self, name: str, settings: Aws, region: str) -> None:
        self._region = region
        self._service = settings.service or "bedrock"
        self._keys = None if needs_botocore(settings) else _given(settings)
        self._redactor = NOTHING
        self._redacts: Keys | None = None
        self._renewed: Renewed[Keys] | None = None
        if self._keys is None:
            self._renewed = Renewed(name, _Finder(settings, region).fetch)

    async def ready(self) -> None:
        """Have keys; raises `CredentialError`."""
        if self._renewed is not None:
            self._keys = await self._renewed.ready()

    def lines(self, method: bytes, host: bytes, target: bytes, body: bytes) -> bytes:
        """The header lines that sign this request; after `ready`."""
        assert self._keys is not None
        return sign(self._keys, self._region, self._service, method, host, target, body, time.time())

    def redactor(self, lines: bytes) -> Redactor:
        """Finds the keys that are in use now, and the signature in these lines."""
        if self._keys is not self._redacts:
            self._redacts = self._keys
            self._redactor = Redactor([each for each in self._keys or () if each is not None])
        return self._redactor.also(lines.rpartition(b"Signature=")[2].decode("ascii").strip())

    async def close(self) -> None:
        if self._renewed is not None:
            await self._renewed.close()


def needs_botocore(settings: Aws) -> bool:
    """Whether keys have to be found or made, and are not simply there."""
    return settings.access_key_id is None or settings.role_arn is not None


def _given(settings: Aws) -> Keys:
    assert settings.access_key_id is not None
    assert settings.secret_access_key is not None
    token = settings.session_token
    return Keys(
        settings.access_key_id.reveal(), settings.secret_access_key.reveal(), None if token is None else token.reveal()
    )


class _Finder:
    """Asks botocore for keys."""

    def __init__(self, settings: Aws, region: str) -> None:
        self._settings = settings
        self._region = region
        self._credentials: Credentials | None = None

    async def fetch(self) -> Fetched[Keys]:
        return Fetched(await asyncio.to_thread(self._find), ASK_EVERY_S)

    def _find(self) -> Keys:
        from botocore.exceptions import BotoCoreError, ClientError

        logging.getLogger("botocore").setLevel(logging.INFO)  # below that it shows what it sends and gets
        try:
            if self._credentials is None:
                self._credentials = self._resolve()
            found = self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise CredentialError(f"AWS: {error}") from None
        keys = Keys(found.access_key, found.secret_key, found.token)
        if not all(value.isascii() and value.isprintable() for value in keys if value):
            raise CredentialError("AWS: the credentials hold a character that cannot stand in a header")
        return keys

    def _resolve(self) -> Credentials:
        from botocore.session import Session

        settings = self._settings
        session = Session(profile=settings.profile)
        session.set_config_variable("region", self._region)
        if settings.access_key_id is not None:
            session.set_credentials(*_given(settings))
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialError("AWS: there are no credentials in the environment, a profile or a role")
        return credentials if settings.role_arn is None else _assumed(session, credentials, settings, settings.role_arn)


def _assumed(session: Session, credentials: Credentials, settings: Aws, role_arn: str) -> Credentials:
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    extra = {"RoleSessionName": "asbru"}
    if settings.external_id is not None:
        extra["ExternalId"] = settings.external_id
    fetcher = AssumeRoleCredentialFetcher(session.create_client, credentials, role_arn, extra_args=extra)
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
