"""The configuration: these structs are its schema, its documentation and its defaults.

One file (YAML, JSON or TOML) becomes a `Config`; `asbru.load` reads it, checks it and says what is wrong with it.
Unknown keys are errors. Durations and sizes carry their unit in the name. Secrets may be given as ``env.NAME``,
``os.environ/NAME``, ``file:/path`` or as they are; they are held as `Secret`, which never prints itself.

The text under each field is its documentation: ``docs/reference/configuration.md`` and ``asbru check --schema`` are
generated from it, so a field without one fails a test.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asbru.limits import Limits
from asbru.secrets import Secret

# The descriptions are what error messages and the reference call the type.
PositiveInt = Annotated[int, Meta(gt=0, description="a whole number above 0")]
PositiveFloat = Annotated[float, Meta(gt=0, description="a number above 0")]
NonNegativeInt = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
NonNegativeFloat = Annotated[float, Meta(ge=0, description="a number, 0 or more")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a port, 0 to 65535")]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        description="a name (letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit)",
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=4096, description="text")]
Reference = Annotated[
    str, Meta(min_length=1, max_length=4096, description="text or a reference", extra={"reference": True})
]
"""Not a secret, but resolved like one when it is given as ``env.NAME`` or ``file:/path``."""
Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}\Z", description="a region, such as `eu-central-1`")]
Project = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.:-]{0,127}\Z", description="a project's id")]
Resource = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,127}\Z", description="a resource's name")]
ApiVersion = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9.-]{1,64}\Z", description="a version, such as `2025-04-01-preview`")
]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits, in lower case")]
SecretText = Secret
SecretOrNone = Annotated[Secret, Meta(extra={"may_be_empty": True}, extra_json_schema={"minLength": 0})]
"""A secret, or an empty text that says there is to be none."""


class Section(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of every section: keyword only, unknown keys refused."""


class Cors(Section, frozen=True):
    """Cross-origin access from browsers; off unless origins are listed."""

    origins: tuple[Text, ...] = ()
    """Allowed origins, such as ``https://app.example``; ``*`` allows any."""
    max_age_s: NonNegativeInt = 600
    """How long a browser may remember the answer to its preflight request."""


class Server(Section, frozen=True):
    """Where the gateway listens, and the bounds on what clients may send it."""

    host: Text = "127.0.0.1"
    """Address to listen on. Anything but loopback needs ``auth``, or ``--insecure-open``."""
    port: Port = 8080
    """Port to listen on; 0 takes a free one."""
    public_url: Text | None = None
    """Where clients reach the gateway, such as ``https://llm.example``; by default what their requests say."""
    max_header_bytes: PositiveInt = 65_536
    """The largest request head; a larger one is answered with 431."""
    max_body_bytes: PositiveInt = 33_554_432
    """The largest request body; a larger one is answered with 413."""
    max_batch_body_bytes: PositiveInt = 268_435_456
    """The largest body that creates a message batch."""
    max_file_bytes: PositiveInt = 524_288_000
    """The largest file upload; uploads are streamed, not held in memory."""
    max_buffered_bytes: PositiveInt = 1_073_741_824
    """What all request bodies that do not come at once may take together; more are answered with 503 (``shed``)."""
    header_timeout_s: PositiveFloat = 10.0
    """A request's head must be complete this long after its first byte (or after the connection was made)."""
    body_timeout_s: PositiveFloat = 60.0
    """The longest silence while a request body is being received; on average it must bring 1 KiB a second on top."""
    write_timeout_s: PositiveFloat = 120.0
    """The longest time a client may take none of its response before it is cut off."""
    keep_alive_s: PositiveFloat = 75.0
    """How long an idle client connection is kept open."""
    max_connections: PositiveInt = 20_000
    """Client connections at a time."""
    drain_s: NonNegativeFloat = 60.0
    """After SIGTERM, running exchanges may take this long to finish."""
    drain_delay_s: NonNegativeFloat = 0.0
    """So long after SIGTERM new connections are still served, while ``/health/ready`` says 503; then it drains."""
    limits: Limits = Limits()
    """How much a request's body may hold, by count."""
    cors: Cors = Cors()
    """Cross-origin access from browsers."""


class Auth(Section, frozen=True):
    """Who may use the gateway."""

    required: bool | None = None
    """Whether a virtual key or the master key must be sent; by default as soon as one of them is configured."""
    allow_direct_keys: bool = False
    """Whether a caller's own provider key is used for the first candidate."""
    master_key: SecretText | None = None
    """The operator's token, which may do everything; by default ``env.ASBRU_MASTER_KEY`` when that is set."""


class Aws(Section, frozen=True):
    """Requests are signed with AWS credentials (SigV4): those given here, or found as the AWS SDKs find theirs.

    Found are, in this order: environment variables, the profile (shared files, SSO, processes, roles to assume), the
    container's role, the instance's role.
    """

    profile: Text | None = None
    """The profile of ``~/.aws/config`` and ``~/.aws/credentials``; by default what AWS_PROFILE says."""
    access_key_id: SecretText | None = None
    """An access key's id; needs ``secret_access_key``."""
    secret_access_key: SecretText | None = None
    """The access key's secret."""
    session_token: SecretText | None = None
    """The session's token, where the access key is a temporary one."""
    role_arn: Reference | None = None
    """A role to assume with these credentials."""
    external_id: Reference | None = None
    """What the role's trust policy may ask for."""
    service: Text | None = None
    """What signatures call the service; known providers bring their own, otherwise ``bedrock``."""


class Google(Section, frozen=True):
    """Access tokens of Google Cloud.

    Application Default Credentials are, in this order: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own login, the metadata
    server.
    """

    service_account_file: Text | None = None
    """A service account's key (JSON); by default Application Default Credentials."""


class Entra(Section, frozen=True):
    """Access tokens of Microsoft Entra ID: a client secret, a federated token, or else the managed identity."""

    tenant_id: Reference | None = None
    """The tenant; by default AZURE_TENANT_ID."""
    client_id: Reference | None = None
    """The application, or a user-assigned managed identity; by default AZURE_CLIENT_ID."""
    client_secret: SecretText | None = None
    """The application's secret; by default AZURE_CLIENT_SECRET."""
    federated_token_file: Text | None = None
    """The file of a workload's token; by default AZURE_FEDERATED_TOKEN_FILE."""
    authority: Reference | None = None
    """Who issues tokens; by default AZURE_AUTHORITY_HOST, otherwise ``https://login.microsoftonline.com``."""
    scope: Text | None = None
    """What the token is for; known providers bring their own."""


class ProviderKey(Section, frozen=True):
    """One credential for a provider: exactly one of ``value``, ``aws``, ``google`` and ``entra``."""

    value: SecretText | None = None
    """The credential: ``env.NAME``, ``os.environ/NAME``, ``file:/path`` or the value itself."""
    aws: Aws | None = None
    """Sign with AWS credentials; ``{}`` takes those that the AWS SDKs would find."""
    google: Google | None = None
    """Google Cloud's access tokens; ``{}`` takes Application Default Credentials."""
    entra: Entra | None = None
    """Microsoft Entra ID's access tokens; ``{}`` takes what the environment says."""
    name: Name | None = None
    """How logs, records and ``x-bf-api-key`` call it; by default ``key-1``, ``key-2``, …"""
    weight: NonNegativeFloat = 1.0
    """Its share of the requests among the keys that may serve a model; 0 leaves it out unless it is pinned, or no
    key with weight may serve the model."""
    models: tuple[Text, ...] = ("*",)
    """Allow-list of model patterns (``*`` matches any run of characters)."""
    exclude: tuple[Text, ...] = ()
    """Deny-list of model patterns; wins over ``models``."""
    aliases: dict[Text, Text] = {}
    """Model name asked for -> model name sent upstream, when this key serves."""


class Timeouts(Section, frozen=True):
    """How long to wait for a provider."""

    connect_s: PositiveFloat = 5.0
    """To make a connection, TLS included."""
    first_byte_s: PositiveFloat = 600.0
    """From the request's last byte to the response's first."""
    idle_s: PositiveFloat = 300.0
    """The longest silence within a response."""
    deadline_s: PositiveFloat = 3600.0
    """From the request's arrival to the last byte, its upload, retries and waits included."""


class Tls(Section, frozen=True):
    """TLS towards a provider."""

    ca_file: Text | None = None
    """Trust this CA bundle (PEM) instead of the system's."""
    client_cert_file: Text | None = None
    """Client certificate (PEM), with its chain and, unless ``client_key_file`` is given, its key."""
    client_key_file: Text | None = None
    """The client certificate's private key (PEM)."""


class Breaker(Section, frozen=True):
    """When a failing provider is left alone for a while."""

    failures: PositiveInt = 5
    """This many failures in a row open the breaker of a provider and model."""
    pause_s: PositiveFloat = 1.0
    """First pause before a probe; doubles with each failed probe."""
    max_pause_s: PositiveFloat = 60.0
    """The longest pause between probes."""


class ModelFacts(Section, frozen=True):
    """What is known of a model, over the built-in table; what is left out stays as the table has it."""

    context_tokens: PositiveInt | None = None
    """The most input tokens."""
    max_output_tokens: PositiveInt | None = None
    """The most output tokens; a larger ``max_tokens`` is cut to it."""
    reasoning: bool | None = None
    """It thinks before it answers."""
    efforts: tuple[Text, ...] | None = None
    """The effort levels it takes, the lowest first."""
    sampling: bool | None = None
    """It takes ``temperature`` and ``top_p``."""
    images: bool | None = None
    """It reads images; false refuses requests with images."""
    documents: bool | None = None
    """It reads PDF documents."""
    tools: bool | None = None
    """It calls tools; false refuses requests with tools."""
    structured_output: bool | None = None
    """It keeps to a JSON schema by itself."""
    system_turns: bool | None = None
    """It takes messages with role ``system`` in mid-conversation."""


HeaderName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9*][A-Za-z0-9*_-]{0,127}\Z", description="a header's name; `*` is any run of characters"),
]


class HeaderRules(Section, frozen=True):
    """Exceptions from which headers go on by default: see [headers](headers.md)."""

    drop: tuple[HeaderName, ...] = ()
    """Headers that do not go on, such as ``x-stainless-*``."""
    keep: tuple[HeaderName, ...] = ()
    """Headers that go on although they stop by default, such as ``cf-access-client-id``."""


Dialect = Literal["anthropic", "openai-chat", "openai-responses", "gemini", "bedrock-converse"]
KeyHeader = Literal["x-api-key", "authorization", "api-key", "x-goog-api-key"]
ModelList = Literal["asked", "known", "none"]
Setting = Annotated[bool | int | str | None, Meta(description="true, false, a whole number or text")]


class Provider(Section, frozen=True):
    """Somewhere requests go. Known names bring everything that is not said here."""

    like: Text | None = None
    """The known provider that this is another one of: what is not said here is taken from it."""
    dialect: Dialect | None = None
    """What it speaks; known names bring their own."""
    envelope: Literal["bedrock", "vertex"] | None = None
    """With the dialect ``anthropic``: how a cloud wraps it."""
    base_url: Reference | None = None
    """Where it is, such as ``https://llm.example.eu``, a path prefix included; may be ``env.NAME``."""
    region: Region | None = None
    """The cloud's region, where the known base URL has one."""
    project: Project | None = None
    """The Google Cloud project."""
    resource: Resource | None = None
    """The Azure resource, as it stands in its host name."""
    api_version: ApiVersion | None = None
    """Azure's dated API of this version; by default its ``v1`` API, which needs none."""
    credential: KeyHeader | None = None
    """The header that carries its keys; by default the dialect's usual one."""
    keys: tuple[ProviderKey, ...] = ()
    """Its credentials; by default a known provider's usual environment variable."""
    quirks: dict[Text, Setting] = {}
    """Where it differs from its dialect's reference, over what is known of it: see [providers](providers.md)."""
    model_facts: dict[Text, ModelFacts] = {}
    """Model -> what is known of it, over the built-in table."""
    list_models: ModelList | None = None
    """Where its list of models comes from: it is asked every hour, or those known to be there are taken, or none."""
    strict: bool = False
    """Refuse what its dialect cannot carry without loss, instead of reporting the loss."""
    models: tuple[Text, ...] = ()
    """Models to list for it besides those it lists itself."""
    max_retries: NonNegativeInt = 1
    """Further attempts with the same key after a failure that may pass."""
    timeouts: Timeouts = Timeouts()
    """How long to wait for it."""
    max_connections: PositiveInt = 1000
    """Connections to it at a time."""
    max_waiters: NonNegativeInt = 1000
    """Requests that may wait for a connection when all are busy; one more is refused with 503."""
    wait_s: NonNegativeFloat = 10.0
    """How long a request may wait for a connection."""
    proxy: SecretOrNone | None = None
    """``http://[user:password@]host:port`` of a proxy; ``""``: none; by default that of the environment."""
    tls: Tls = Tls()
    """TLS towards it."""
    request_headers: HeaderRules = HeaderRules()
    """Which of a client's headers it gets."""
    response_headers: HeaderRules = HeaderRules()
    """Which of its headers clients get."""
    breaker: Breaker = Breaker()
    """When it is left alone for a while."""


class Routing(Section, frozen=True):
    """How a model name finds its provider."""

    default_provider: Text | None = None
    """Where a bare model name goes that nothing else places; by default ``anthropic``, or the only provider."""
    retry_budget: Share = 0.2
    """Retries may be at most this share of the requests in flight (and never fewer than 3)."""


class KeyProvider(Section, frozen=True):
    """One provider a virtual key may use."""

    name: Text
    """The provider's name."""
    weight: NonNegativeFloat = 1.0
    """Its share of the requests for bare model names that several providers may serve."""
    models: tuple[Text, ...] = ("*",)
    """The models allowed there, as patterns; none named: all."""


class VirtualKey(Section, frozen=True):
    """A key that clients use; give its ``value`` or its ``digest``."""

    name: Name
    """What records and metrics call it."""
    value: SecretText | None = None
    """The key itself, ``sk-bf-…``; or give its ``digest``."""
    digest: Digest | None = None
    """What ``asbru keys generate`` prints: the digest, so that the file holds no secret."""
    active: bool = True
    """Whether it is accepted; false refuses it with 403."""
    expires_at: Text | None = None
    """RFC 3339; from then on the key is refused."""
    providers: tuple[KeyProvider, ...] = ()
    """The providers it may use; none named: all."""
    files_and_batches: bool | None = None
    """Whether it may use files and batches; by default if nobody else may use its providers, as all see everybody's."""


class Stream(Section, frozen=True):
    """Silence in streams."""

    ping_s: PositiveFloat = 15.0
    """Silence longer than this is filled with ``event: ping``."""
    idle_s: PositiveFloat = 300.0
    """Silence of the provider longer than this ends the stream with an error event."""


class Fetch(Section, frozen=True):
    """Images and PDFs that clients name by URL, fetched by the gateway for providers that cannot."""

    enabled: bool = False
    """Fetch them; otherwise such a request is refused with 400, or goes to a candidate that can."""
    hosts: tuple[Text, ...] = ()
    """The hosts to fetch from, such as ``files.example.com``, ``*.example.com`` or ``a.example:8443``; ``*`` is any."""
    max_bytes: PositiveInt = 20_971_520
    """The most to fetch for one request, over all of its URLs."""
    max_per_request: PositiveInt = 20
    """The most URLs to fetch for one request."""
    timeout_s: PositiveFloat = 15.0
    """How long each may take, redirects included; they are fetched at the same time."""
    allow_http: bool = False
    """Whether ``http://`` will do; otherwise only ``https://``."""
    allow_private: bool = False
    """Whether hosts may be at loopback and private addresses; link-local and metadata addresses never."""


class Price(Section, frozen=True):
    """USD per million tokens."""

    input: NonNegativeFloat
    """Input that is neither read from nor written to the cache."""
    output: NonNegativeFloat
    """Output, thinking included."""
    cache_read: NonNegativeFloat | None = None
    """Input read from the prompt cache."""
    cache_write_5m: NonNegativeFloat | None = None
    """Input written to the prompt cache for five minutes."""
    cache_write_1h: NonNegativeFloat | None = None
    """Input written to the prompt cache for an hour."""


class Log(Section, frozen=True):
    """What is logged; never a key, a prompt or an answer."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages to log, on standard error."""
    records: Text = "off"
    """Where each exchange's Record goes as a JSON line: ``off``, ``-`` (standard output) or a file's path."""


class Config(Section, frozen=True):
    """The whole configuration."""

    server: Server = Server()
    """Where the gateway listens, and its bounds."""
    auth: Auth = Auth()
    """Who may use it."""
    providers: dict[Name, Provider] = {}
    """Name -> provider. A known provider whose usual environment variable is set needs no entry."""
    models: dict[Text, list[Text]] = {}
    """Aliases for clients: name -> candidates (``provider/model``) in order."""
    routing: Routing = Routing()
    """How a model name finds its provider."""
    virtual_keys: tuple[VirtualKey, ...] = ()
    """Keys for clients."""
    stream: Stream = Stream()
    """Silence in streams."""
    fetch: Fetch = Fetch()
    """What the gateway fetches for providers that cannot."""
    prices: dict[Text, Price] = {}
    """``provider/model`` -> price, over the built-in table."""
    log: Log = Log()
    """What is logged."""
