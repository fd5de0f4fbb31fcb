"""A configured provider, ready to be called: its pool, and everything of a request's head that can be made at start.

What it may be asked for and by whom is policy's; this only knows how to reach it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from asbru import __version__, config
from asbru.dialects.codec import Codec, Model, Quirks
from asbru.policy.keys import Key
from asbru.secrets import Secret
from asbru.upstream.http1 import Limits, Origin, Pool, proxy_for, tls_context

_OAUTH_PREFIX = "sk-ant-oat"  # Claude OAuth tokens are sent as bearer tokens, never as x-api-key


def credential_line(secret: Secret | None, header: str = "x-api-key") -> bytes:
    """One credential as a header line for an Anthropic-dialect provider; nothing for none."""
    if secret is None:
        return b""
    value = secret.reveal()
    if header == "authorization" or value.startswith(_OAUTH_PREFIX):
        return f"authorization: Bearer {value}\r\n".encode("latin-1")
    return f"x-api-key: {value}\r\n".encode("latin-1")


class Upstream:
    """One provider's connections and the constant parts of its request heads."""

    __slots__ = ("_constant", "_prefix", "base_url", "codec", "credentials", "name", "pool", "quirks", "settings")

    def __init__(
        self,
        name: str,
        settings: config.Provider,
        keys: Iterable[Key],
        stream: config.Stream,
        environ: Mapping[str, str],
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
        self.codec: Codec | None = None
        """The translation to what the provider speaks; None for the client's own dialect, which is relayed."""
        self.quirks = Quirks()
        self.credentials = {key.name: credential_line(key.secret) for key in keys}
        """Key name -> its header line."""
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
            ssl_context=tls_context(tls.ca_file, tls.client_cert_file, tls.client_key_file) if secure else None,
            proxy=proxy_for(origin, settings.proxy.reveal() if settings.proxy else None, environ),
        )
        # Paths given to head() begin with /v1; operators write the base URL with or without it.
        self._prefix = url.path.rstrip("/").removesuffix("/v1").encode("ascii")
        self._constant = b" HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n" % url.netloc.encode("idna")

    def facts(self, model: str) -> Model:
        """What is known of a model."""
        return Model()

    def head(self, method: bytes, target: bytes, credential: bytes, forwarded: bytes, length: int | None) -> bytes:
        """A complete request head; ``length`` None means a chunked body, a negative one no body at all.

        ``target`` is path and query; ``credential`` and ``forwarded`` are header lines ended with CRLF.
        """
        if length is None:
            framing = b"transfer-encoding: chunked\r\n\r\n"
        elif length < 0:
            framing = b"\r\n"
        else:
            framing = b"content-length: %d\r\n\r\n" % length
        return b"".join((method, b" ", self._prefix, target, self._constant, credential, forwarded, framing))


def user_agent() -> bytes:
    """What the gateway calls itself in requests of its own."""
    return f"user-agent: asbru/{__version__}\r\n".encode("ascii")
