"""A configured provider, ready to be called: its pool, and everything of a request's head that can be made at start.

What it may be asked for and by whom is policy's; this only knows how to reach it.

Base URLs. Operators write them with or without the version that is usual for the dialect (``/v1``). For the client's
own dialect, whose targets begin with the version, it is taken off the base URL. For all others a base URL's path is
meant as it stands, and the version is added only where there is no path; codecs give targets with it or without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asbru import __version__, config
from asbru.dialects import registry
from asbru.dialects.codec import Codec, Envelope, Model, Quirks
from asbru.edge_headers import FieldRules
from asbru.policy.keys import Key
from asbru.redaction import NOTHING, Redactor
from asbru.secrets import Secret
from asbru.upstream.catalog import known_providers
from asbru.upstream.credentials import OAUTH_BETA, OAUTH_PREFIX, Credential, credential_line, of_key
from asbru.upstream.http1 import Limits, Origin, Pool, TlsContexts, proxy_for

if TYPE_CHECKING:
    from asbru.upstream.capabilities import Capabilities

__all__ = ["Upstream", "user_agent"]

OWN_DIALECT = "anthropic"
_VERSIONS = {"openai-chat": b"/v1", "openai-responses": b"/v1", "gemini": b"/v1beta"}


class Upstream:
    """One provider's connections and the constant parts of its request heads."""

    __slots__ = (
        "_authority",
        "_capabilities",
        "_constant",
        "_host",
        "_prefix",
        "_redactors",
        "_version",
        "base_url",
        "betas",
        "codec",
        "credentials",
        "dialect",
        "name",
        "pool",
        "request_rules",
        "response_rules",
        "settings",
        "signs",
    )

    def __init__(
        self,
        name: str,
        settings: config.Provider,
        keys: Iterable[Key],
        stream: config.Stream,
        environ: Mapping[str, str],
        contexts: TlsContexts,
    ) -> None:
        assert settings.base_url is not None  # load() gives known providers theirs and refuses others without
        url = urlsplit(settings.base_url)
        secure = url.scheme == "https"
        host = url.hostname or ""
        origin = Origin("https" if secure else "http", host, url.port or (443 if secure else 80))
        tls = settings.tls
        self.name = name
        self.base_url = settings.base_url
        self.settings = settings
        self.dialect = settings.dialect or OWN_DIALECT
        self.codec: Codec | Envelope | None = None
        if settings.envelope is not None:
            self.codec = registry.envelope(f"{self.dialect}+{settings.envelope}")
        elif self.dialect != OWN_DIALECT:
            self.codec = registry.codec(self.dialect)
        """What the provider speaks, or how it wraps the client's own dialect; None where that is relayed."""
        self._capabilities: Capabilities | None = None
        configured = {key.name: key for key in settings.keys}
        self.credentials: dict[str, bytes | Credential] = {
            key.name: of_key(name, settings, configured[key.name], environ, contexts)
            if key.name in configured
            else credential_line(key.secret, settings.credential or "x-api-key")
            for key in keys
        }
        """Key name -> its header line, or what makes one for each request."""
        placeholders = {known.key for known in known_providers().values()}
        self._redactors = {
            key.name: Redactor([key.secret.reveal()])
            for key in keys
            if key.secret is not None and key.secret.reveal() not in placeholders
        }
        """Key name -> what finds it in answers, for keys that are sent as they are and are secret."""
        oauth = (key.name for key in keys if key.secret is not None and key.secret.reveal().startswith(OAUTH_PREFIX))
        self.betas: dict[str, tuple[str, ...]] = dict.fromkeys(oauth, (OAUTH_BETA,)) if self.codec is None else {}
        """Key name -> the values of ``anthropic-beta`` without which it is refused."""
        self.signs = any(not isinstance(each, bytes) for each in self.credentials.values())
        """Some key needs `ready`."""
        proxy = proxy_for(origin, None if settings.proxy is None else settings.proxy.reveal(), environ)
        self.pool = Pool(
            origin,
            Limits(
                max_connections=settings.max_connections,
                max_waiters=settings.max_waiters,
                wait_s=settings.wait_s,
                connect_s=settings.timeouts.connect_s,
                first_byte_s=settings.timeouts.first_byte_s,
                idle_s=min(settings.timeouts.idle_s, stream.idle_s),
            ),
            ssl_context=contexts.of(tls.ca_file, tls.client_cert_file, tls.client_key_file) if secure else None,
            proxy=proxy,
        )
        self.request_rules = _rules(settings.request_headers)
        """Which of a client's headers it gets, where that is not the default."""
        self.response_rules = _rules(settings.response_headers)
        path = url.path.rstrip("/").encode("ascii")
        version = _VERSIONS.get(self.dialect, b"")
        own = self.dialect == OWN_DIALECT
        self._prefix = path.removesuffix(b"/v1") if own else path or version
        self._version = version
        self._host = url.netloc.encode("idna")
        self._constant = b" HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n" % self._host
        self._authority = b""
        """What precedes the path in a request's target: empty but for a proxy that reads the requests."""
        if proxy is not None and not secure:
            self._authority = b"http://" + self._host
            self._constant += proxy.credential_line

    @property
    def relays(self) -> bool:
        """Whether it speaks the client's own dialect, with what may go with it: threads, batches, files.

        What signs is a cloud that speaks it: it has none of those, and an upload cannot be signed.
        """
        return self.codec is None and not self.signs

    def facts(self, model: str) -> Model:
        """What is known of a model here."""
        return self._known().of(model).facts

    def quirks(self, model: str) -> Quirks:
        """Where the provider differs from its dialect's reference, for this model."""
        return self._known().of(model).quirks

    def models(self) -> tuple[str, ...]:
        """The models that are known to be there, for a provider that cannot be asked."""
        return self._known().listed()

    def _known(self) -> Capabilities:
        if self._capabilities is None:
            from asbru.upstream.capabilities import Capabilities  # a relay does not need it

            self._capabilities = Capabilities(self.settings.like or self.name, self.settings)
        return self._capabilities

    def target(self, below: bytes) -> bytes:
        """Path and query as they are sent, of a target below the base URL."""
        return self._prefix + below.removeprefix(self._version)

    def authorization(self, key: str, method: bytes, below: bytes, body: bytes) -> bytes:
        """The header lines that authorise a request with one of the provider's keys; after `ready`."""
        credential = self.credentials[key]
        if isinstance(credential, bytes):
            return credential
        return credential.lines(method, self._host, self.target(below), body)

    def redactor(self, key: str, lines: bytes) -> Redactor:
        """Finds what `authorization` said, ``lines``, in the answer to that request."""
        credential = self.credentials[key]
        return self._redactors.get(key, NOTHING) if isinstance(credential, bytes) else credential.redactor(lines)

    async def ready(self, key: str) -> None:
        """Have what a key needs to authorise requests; raises `CredentialError`."""
        credential = self.credentials[key]
        if not isinstance(credential, bytes):
            await credential.ready()

    def direct_line(self, secret: Secret | None, header: str) -> bytes:
        """The caller's own key: as it came to a provider of the same habits, otherwise as the provider expects it."""
        usual = self.settings.credential or "x-api-key"
        return credential_line(secret, header if usual == "x-api-key" else usual)

    def head(self, method: bytes, below: bytes, credential: bytes, forwarded: bytes, length: int | None) -> bytes:
        """A complete request head; ``length`` None means a chunked body, a negative one no body at all.

        ``below`` is path and query below the base URL; ``credential`` and ``forwarded`` are header lines ended with
        CRLF.
        """
        if length is None:
            framing = b"transfer-encoding: chunked\r\n\r\n"
        elif length < 0:
            framing = b"\r\n"
        else:
            framing = b"content-length: %d\r\n\r\n" % length
        target = below.removeprefix(self._version)
        parts = (method, b" ", self._authority, self._prefix, target, self._constant, credential, forwarded, framing)
        return b"".join(parts)

    async def close(self) -> None:
        """Close every connection, stop refreshing credentials."""
        await self.pool.close()
        moving = [each for each in self.credentials.values() if not isinstance(each, bytes)]
        await asyncio.gather(*(each.close() for each in moving))


def _rules(settings: config.HeaderRules) -> FieldRules | None:
    return FieldRules(settings.drop, settings.keep) if settings.drop or settings.keep else None


def user_agent() -> bytes:
    """What the gateway calls itself in requests of its own."""
    return f"user-agent: asbru/{__version__}\r\n".encode("ascii")
