"""The configuration: these structs are its schema, its documentation and its defaults.

One file (YAML, JSON or TOML) is decoded into `Config`. Unknown keys are errors. Durations and sizes carry their
unit in the name. Values that are secrets may be given as ``env.NAME``, ``os.environ/NAME``, ``file:/path`` or as
they are; they are resolved by `load` and never printed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
NonNegativeFloat = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
SecretText = Annotated[str, Meta(min_length=1)]


class Section(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of every section: keyword only, unknown keys refused."""


class Cors(Section, frozen=True):
    """Cross-origin access from browsers; off unless origins are listed."""

    origins: tuple[str, ...] = ()
    """Allowed origins, such as ``https://app.example``; ``*`` allows any."""
    max_age_s: NonNegativeInt = 600


class Server(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    max_header_bytes: PositiveInt = 65_536
    max_body_bytes: PositiveInt = 33_554_432
    max_batch_body_bytes: PositiveInt = 268_435_456
    max_file_bytes: PositiveInt = 524_288_000
    header_timeout_s: PositiveFloat = 10.0
    """A request's head must be complete this long after its first byte (or after the connection was made)."""
    body_timeout_s: PositiveFloat = 60.0
    """The longest silence while a request body is being received."""
    write_timeout_s: PositiveFloat = 120.0
    """The longest time a client may take none of its response before it is cut off."""
    keep_alive_s: PositiveFloat = 75.0
    max_connections: PositiveInt = 20_000
    drain_s: NonNegativeFloat = 60.0
    cors: Cors = Cors()


class Auth(Section, frozen=True):
    required: bool | None = None
    """Whether a virtual key or the master key must be sent; by default as soon as one of them is configured."""
    allow_direct_keys: bool = False
    """Whether a caller's own provider key is used for the first candidate."""
    master_key: SecretText | None = None


class ProviderKey(Section, frozen=True):
    value: SecretText
    name: Name | None = None
    """How logs, records and ``x-bf-api-key`` call it; by default ``key-1``, ``key-2``, …"""
    weight: NonNegativeFloat = 1.0
    models: tuple[str, ...] = ("*",)
    """Allow-list of model patterns (``*`` matches any run of characters)."""
    exclude: tuple[str, ...] = ()
    """Deny-list of model patterns; wins over ``models``."""
    aliases: dict[str, str] = {}
    """Model name asked for -> model name sent upstream, when this key serves."""


class Timeouts(Section, frozen=True):
    connect_s: PositiveFloat = 5.0
    first_byte_s: PositiveFloat = 600.0
    idle_s: PositiveFloat = 300.0
    deadline_s: PositiveFloat = 3600.0
    """From the first attempt to the last byte, retries and waits included."""


class Tls(Section, frozen=True):
    ca_file: str | None = None
    """Trust this CA bundle (PEM) instead of the system's."""
    client_cert_file: str | None = None
    client_key_file: str | None = None


class Breaker(Section, frozen=True):
    failures: PositiveInt = 5
    """This many failures in a row open the breaker of a provider and model."""
    pause_s: PositiveFloat = 1.0
    """First pause before a probe; doubles with each failed probe."""
    max_pause_s: PositiveFloat = 60.0


class Provider(Section, frozen=True):
    dialect: Literal["anthropic"] | None = None
    """What it speaks; known names bring their own."""
    base_url: str | None = None
    keys: tuple[ProviderKey, ...] = ()
    models: tuple[str, ...] = ()
    """Models to list for it besides those it lists itself."""
    max_retries: NonNegativeInt = 1
    timeouts: Timeouts = Timeouts()
    max_connections: PositiveInt = 1000
    max_waiters: NonNegativeInt = 1000
    """Requests that may wait for a connection when all are busy; one more is refused with 503."""
    wait_s: NonNegativeFloat = 10.0
    proxy: str | None = None
    """``http://[user:password@]host:port`` of a CONNECT proxy; by default HTTPS_PROXY / HTTP_PROXY, minus NO_PROXY."""
    tls: Tls = Tls()
    breaker: Breaker = Breaker()


class Routing(Section, frozen=True):
    default_provider: str | None = None
    retry_budget: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Retries may be at most this share of the requests in flight (and never fewer than 3)."""


class KeyProvider(Section, frozen=True):
    """One provider a virtual key may use."""

    name: str
    weight: NonNegativeFloat = 1.0
    models: tuple[str, ...] = ("*",)


class VirtualKey(Section, frozen=True):
    name: Name
    value: SecretText | None = None
    """The key itself, ``sk-bf-…``; or give its ``digest``."""
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """What ``asbru keys generate`` prints: the digest, so that the file holds no secret."""
    active: bool = True
    expires_at: str | None = None
    """RFC 3339; from then on the key is refused."""
    providers: tuple[KeyProvider, ...] = ()
    """The providers it may use; none named: all."""


class Stream(Section, frozen=True):
    ping_s: PositiveFloat = 15.0
    idle_s: PositiveFloat = 300.0


class Price(Section, frozen=True):
    """USD per million tokens."""

    input: NonNegativeFloat
    output: NonNegativeFloat
    cache_read: NonNegativeFloat | None = None
    cache_write_5m: NonNegativeFloat | None = None
    cache_write_1h: NonNegativeFloat | None = None


class Log(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    records: str = "off"
    """Where each exchange's Record goes as a JSON line: ``off``, ``-`` (standard output) or a file's path."""


class Config(Section, frozen=True):
    server: Server = Server()
    auth: Auth = Auth()
    providers: dict[Name, Provider] = {}
    models: dict[str, list[str]] = {}
    """Aliases for clients: name -> candidates (``provider/model``) in order."""
    routing: Routing = Routing()
    virtual_keys: tuple[VirtualKey, ...] = ()
    stream: Stream = Stream()
    prices: dict[str, Price] = {}
    """``provider/model`` -> price, over the built-in table."""
    log: Log = Log()
