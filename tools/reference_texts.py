"""The words of docs/reference that no source holds: introductions and meanings, keyed by what the source names."""

from __future__ import annotations

from typing import Final

CONFIGURATION: Final = """
One file, YAML, JSON or TOML: the one that `--config` names, or `ASBRU_CONFIG`, or `./asbru.yaml` or `./asbru.yml` if
it exists. There need not be one: a known provider whose usual environment variable is set needs no entry, and with no
provider at all the built-in sandbox is used. [asbru.example.yaml](../asbru.example.yaml) shows most of it.

`asbru check` says everything that is wrong with a file, with line, place and the nearest valid name, or prints a
summary; `--show` prints the whole configuration, without its secrets. `asbru check --schema` prints its JSON Schema.
Unknown keys are errors, and so is an entry that could never take effect. SIGHUP reads the file anew; when it is wrong,
the old configuration stays.

**Secrets** (and `base_url`) are given as `env.NAME` or `os.environ/NAME` (an environment variable), `file:/path` (a
file's content), or as they are. A missing variable or file is an error, an empty one too. Surrounding white space is
removed. Secrets are never printed, logged or shown.

**YAML** is read as version 1.2 means it: `off`, `no` and dates are text, booleans are `true` and `false`. Anchors and
aliases work; tags, merge keys and repeated keys are errors.

`ASBRU_MASTER_KEY` sets `auth.master_key` when the file does not. A [known provider](providers.md) needs neither
`dialect` nor `base_url`, and takes its key from its usual variable unless it has `keys` or a `base_url` of its own.
"""

COMMAND_LINE: Final = """
Data goes to standard output, everything else to standard error. Exit codes: 0 clean, 1 unexpected, 2 usage or
configuration, 3 cannot start (the port is in use).

| variable | meaning |
|---|---|
| `ASBRU_CONFIG` | the configuration file, when `--config` is not given |
| `ASBRU_HOST`, `ASBRU_PORT` | where to listen; they take precedence over the file, `--host` and `--port` over them |
| `PORT` | the port, where neither `ASBRU_PORT` nor the file has one |
| `ASBRU_MASTER_KEY` | the operator's token, when the configuration has none |
| `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`, `GEMINI_API_KEY`, … | each configures its [provider](providers.md) by itself |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | the proxy towards providers that have none of their own |
"""

ROUTES_BEFORE: Final = """
Each of these exists under every prefix: {prefixes}; the `/health` routes only without one. Case matters, one trailing
slash does not, the query string is not part of the match. The `/v1` may be left out or repeated (`/messages`,
`/v1/v1/messages`), as some clients' base URLs make it. An unknown path is 404 `not_found_error`, a wrong method 405.
OPTIONS is answered for browsers (`server.cors`).
"""

# Path as shown, a path that matches it, what it is.
ROUTES: Final = [
    ("/v1/messages", "/v1/messages", "create a message; `stream: true` answers with server-sent events"),
    (
        "/v1/messages/{anything}",
        "/v1/messages/x",
        "the same, for any sub-path that is no other route and resembles none",
    ),
    ("/v1/messages/count_tokens", "/v1/messages/count_tokens", "count the tokens of a request; never a paid message"),
    ("/v1/messages/batches", "/v1/messages/batches", "create a message batch; list batches"),
    ("/v1/messages/batches/{id}", "/v1/messages/batches/x", "one batch; delete it"),
    ("/v1/messages/batches/{id}/cancel", "/v1/messages/batches/x/cancel", "cancel a batch"),
    ("/v1/messages/batches/{id}/results", "/v1/messages/batches/x/results", "a batch's results, streamed"),
    ("/v1/models", "/v1/models", "the models that the caller may use, from memory (`limit`, `before_id`, `after_id`)"),
    ("/v1/models/{id}", "/v1/models/x", "one model; asked of the provider when it is not in memory"),
    ("/v1/files", "/v1/files", "upload a file, streamed through; list files"),
    ("/v1/files/{id}", "/v1/files/x", "a file's metadata; delete it"),
    ("/v1/files/{id}/content", "/v1/files/x/content", "a file's content, streamed"),
    ("/v1/complete", "/v1/complete", "legacy text completion, passed through"),
    ("/", "/", "200, for clients that look whether somebody is there"),
    ("/api/hello", "/api/hello", "the same"),
    ("/health", "/health", "200 while requests are accepted, 503 while the gateway drains"),
    ("/health/ready", "/health/ready", "the same"),
    ("/health/live", "/health/live", "200 as long as the process answers"),
]

LIMITS: Final = {
    "none": "",
    "body": "`server.max_body_bytes`",
    "batch": "`server.max_batch_body_bytes`",
    "file": "`server.max_file_bytes`",
}

HEADERS_BEFORE: Final = """
Credentials are read from {credentials} (`authorization` with the scheme Bearer). A value that begins with `sk-bf-`, and
any value of `x-bf-vk`, is a virtual key; the master key is the operator's; anything else is the caller's own provider
key, used for the first candidate only and only with `auth.allow_direct_keys`; one whose form names its vendor
(`sk-ant-…`) at that vendor's own API alone, which a provider of another name is by its host or by `like`. Two
different virtual keys are refused, and so is a value with a virtual key or the master key inside it (in quotes, behind
a second scheme, with invisible characters, in base64): 401 with a hint. A header of another name with a virtual key in
its value does not go upstream.

Headers that are on or off (`x-asbru-dry-run`, `x-asbru-strict`, `x-bf-async`) take `true`, `1`, `false` and `0` in any
case; any other value is refused with 400 on every route.
"""

REQUEST_HEADERS: Final = {
    "x-bf-vk": "virtual key",
    "x-bf-session-id": "keep a conversation on the provider and key that hold its prompt cache",
    "x-claude-code-session-id": "the same, when `x-bf-session-id` is absent; it stands in the record",
    "x-claude-code-agent-id": "stands in the record",
    "x-claude-code-parent-agent-id": "stands in the record",
    "x-request-id": "stands in the record as `client_request_id`, at most 256 characters of it",
    "traceparent": "its trace id stands in the record as `trace_id`; goes to every provider",
    "x-bf-eh-<name>": "forward header `<name>` upstream (credentials, hop-by-hop headers and `host` never)",
    "x-bf-dim-<name>": "a dimension of the record (bounded)",
    "x-bf-api-key": "pin one of the gateway's stored provider keys by its name or id",
    "x-bf-api-key-id": "the same",
    "x-asbru-dry-run": "`true`: answer with the plan (candidates, reasons, cost range, losses) and call nobody; for "
    "messages, token counts and completions, elsewhere refused with 400",
    "x-asbru-strict": "`true`: refuse with 400 what a provider's dialect cannot carry without loss",
    "x-bf-async": "background jobs: not available in this version, refused with 400 on every route when `true`",
    "x-bf-async-id": "as `x-bf-async`, whatever its value",
}

UPSTREAM: Final = """
Every header goes to the provider as it came, except credentials ({credentials}), cookies, `host`, `content-length`,
`content-encoding`, `accept-encoding`, `expect`, `proxy-*`, hop-by-hop headers ({hop_by_hop}), what is said to the
gateway itself (`x-bf-*`, `x-asbru-*`), and what proxies, CDNs and other gateways in front of this one have added (see
below). So `anthropic-version`, `anthropic-beta`, `idempotency-key`, `user-agent`, `x-stainless-*`, `x-claude-code-*`
and all unknown ones go through. A header whose name is one of those that stop but for its punctuation (`x_api_key`,
`content_length`) stops too. At most {dimensions} dimensions are kept, {characters} characters each.

Headers of the hops before this one that stop: {edge}.

A provider's `request_headers` name more headers that stop for it (`drop`), and those of the hops before that it gets
all the same (`keep`), such as `cf-access-client-id` for a server behind Cloudflare Access.
"""

RESPONSE_BEFORE: Final = """
Every end-to-end header of the provider's answer goes through as it came, its `request-id`, `retry-after`,
`anthropic-ratelimit-*` and `x-should-retry` among them; what it says as `x-asbru-*` or `x-bifrost-*` does not, nor
what it declares for its whole origin: `access-control-*`, {origin}. A provider's `response_headers` name more that stop
(`drop`) and those of the origin that are relayed all the same (`keep`). A stream that had to begin
with a ping, before it was known who answers, has the ids and `x-asbru-loss` alone. Added are:
"""

RESPONSE_HEADERS: Final = {
    "request-id": "the provider's when there is one, otherwise the gateway's; on errors too",
    "x-asbru-request-id": "the gateway's id of the exchange, on every answer; it stands in the record",
    "x-asbru-provider": "the provider that served",
    "x-asbru-model": "the model that served, as its answer names it, or else as the provider was asked for it",
    "x-asbru-attempts": "every attempt with its outcome: `anthropic/claude-x 529 812ms; eu/claude-x 200 640ms`",
    "x-asbru-upstream-ms": "the time the provider took",
    "x-asbru-overhead-us": "the time the gateway took itself; uploads and waits before retries left out",
    "x-asbru-cost-usd": "what it cost, where the price is known; not on streams",
    "x-asbru-estimate": "`true` on a token count that the provider cannot give and the gateway estimated",
    "x-asbru-loss": "on translated answers: what the provider's dialect could not carry, or `none`; a stream that had "
    "to begin with a ping says what was lost to the provider asked then, and when another answers, the comment "
    "`: x-asbru-loss: …` before its first event what was lost to that one",
    "x-asbru-reason": "the kind of an error of the gateway's own: see [errors](errors.md)",
    "x-should-retry": "on errors of the gateway's own whose status alone would mislead a client's retry loop",
    "x-bifrost-request-id": "as `x-asbru-request-id`, for clients of Bifrost",
    "x-bifrost-provider": "as `x-asbru-provider`",
    "x-bifrost-resolved-model": "as `x-asbru-model`",
    "x-bifrost-fallback-index": "which fallback served, from 1; absent when the primary did",
    "x-bifrost-upstream-latency-ms": "as `x-asbru-upstream-ms`",
}

FIDELITY_BEFORE: Final = """
A provider that speaks the Messages API gets the client's bytes as they came. For every other one the request is
translated once, directly, and what could not be carried exactly is named in the answer's header `x-asbru-loss`
(`dropped: top_k; approximated: metadata.user_id`), in the record and in a dry run. With `x-asbru-strict: true`, or
`strict: true` on a provider, any loss is a 400 that names it instead. This page is made from the tables that the
translation itself reads.

- **exact**: the same meaning at the provider
- **approximated**: something close to it
- **emulated**: the gateway does what the provider cannot
- **dropped**: left out; the answer is one without it
- **refused**: a 400 that names the field, because going on without it would be wrong rather than less

Where it depends on the host or the model of one dialect, the table says what holds for the dialect's own reference,
and the request's losses say what became of this request. Names with a `+` are hosts that serve the Messages API in an
envelope of their own: those requests are not translated, so only what such a host does not take is listed for it.

Images and PDFs by URL, where a table says refused or the host fetches none, are emulated if the operator lets the
gateway [fetch](../how-to/providers.md#images-and-pdfs-by-url) them: they go on as base64.
"""

ERRORS_BEFORE: Final = """
Errors that the gateway itself makes, in the shape of the Messages API:
`{"type": "error", "error": {"type": …, "message": …}, "request_id": …}`. In a stream that has begun the same object is
the data of a last `event: error`. Errors of a provider that speaks the client's dialect are not among these: status,
body and headers go through as they came, except that a refused key of the gateway's own is `upstream_credentials`.
Every 429 and 503 of the gateway's own carries `retry-after`.
"""

ERRORS: Final = {
    "virtual_key_required": "no credential where one is required, or one that is not accepted here",
    "virtual_key_not_found": "a virtual key that is not known",
    "virtual_key_blocked": "the virtual key is disabled or has expired",
    "model_blocked": "the virtual key may not use the model, or no key of the provider may serve it",
    "provider_blocked": "the virtual key may not use the provider",
    "origin_blocked": "a page of another origin, which `server.cors` does not list, uploads or changes something",
    "files_and_batches_blocked": "files, batches, or a message that names a file, where the caller would share them "
    "with others: see `files_and_batches` of [virtual keys](configuration.md)",
    "invalid_request": "the body is not JSON, or a field or header that the gateway itself needs is wrong",
    "not_found": "nothing at this path, or no provider for this model",
    "method_not_allowed": "the path does not take this method",
    "request_timeout": "the client stopped sending",
    "too_large": "the body is larger than its bound, or holds more than `server.limits` allows",
    "unsupported_media_type": "a content type or content encoding that is not read",
    "headers_too_large": "the request's head is larger than its bound",
    "internal": "a fault of the gateway; its log has the details",
    "shed": "too many requests wait already",
    "no_candidate": "every candidate's circuit breaker is open, or every key cools down",
    "draining": "the gateway is shutting down",
    "upstream_credentials": "the provider refused a key that the gateway holds",
    "upstream_invalid": "the provider's answer could not be understood, or broke off",
    "upstream_unreachable": "no connection to the provider could be had",
    "upstream_timeout": "the provider took too long",
}

RECORDS_BEFORE: Final = """
`log.records` (or `--log-records`) writes one JSON line for each request: facts, no prompt, no answer, no credential.
Fields that have their default (empty, 0, false) are left out.
"""
RECORD_PARTS: Final = {
    "Attempt": "`attempts`",
    "Usage": "`usage`",
    "Iteration": "`iterations`",
}
