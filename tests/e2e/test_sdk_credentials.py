"""Virtual keys, the operator's token and callers' own keys, in every header that the official Python SDK can send.

The sandbox refuses keys that begin with `sk-invalid` and gives `sk-error-<status>` that error: so it can be seen which
key went upstream.
"""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic import Anthropic, APIStatusError

from asbru.secrets import digest, new_virtual_key
from tests.e2e.clients import MODEL, TIMEOUT_S, connect, user
from tests.e2e.running import Gateway, Server

PLAIN, DIGESTED, NARROW, DISABLED = (new_virtual_key() for _ in range(4))
OPERATOR = "operator-token-of-this-test"
STYLES = ("api_key", "auth_token", "x-api-key", "x-bf-vk", "api-key", "x-goog-api-key")


@pytest.fixture(scope="module")
def locked(sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that requires a key of its own and holds the provider's."""
    config: dict[str, object] = {
        "auth": {"master_key": "env.ASBRU_MASTER_KEY"},
        "providers": {"sandbox": {"base_url": sandbox.url, "max_retries": 0, "keys": [{"value": "sk-held"}]}},
        "virtual_keys": [
            {"name": "plain", "value": "env.PLAIN", "files_and_batches": True},
            {"name": "digested", "digest": digest(DIGESTED)},
            {"name": "narrow", "value": "env.NARROW", "providers": [{"name": "sandbox", "models": ["claude-opus-*"]}]},
            {"name": "disabled", "value": "env.DISABLED", "active": False},
        ],
    }
    environment = {"ASBRU_MASTER_KEY": OPERATOR, "PLAIN": PLAIN, "NARROW": NARROW, "DISABLED": DISABLED}
    with Gateway(tmp_path_factory.mktemp("locked"), config, environment=environment) as running:
        yield running
    said = "\n".join([*running.said, running.errors(), running.records_file.read_text()])
    for secret in (PLAIN, DIGESTED, NARROW, DISABLED, OPERATOR, "sk-held"):
        assert secret not in said


@pytest.fixture(scope="module")
def lending(sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that uses its callers' own provider keys."""
    config: dict[str, object] = {
        "auth": {"allow_direct_keys": True},
        "providers": {
            "sandbox": {"base_url": sandbox.url, "max_retries": 0},
            "spare": {"dialect": "anthropic", "base_url": sandbox.url, "keys": [{"value": "sk-spare"}]},
        },
        "routing": {"default_provider": "sandbox"},
    }
    with Gateway(tmp_path_factory.mktemp("lending"), config) as running:
        yield running


def client_with(url: str, style: str, key: str) -> Anthropic:
    """A client that sends its key in this way: an argument of the SDK, or a header instead of its own."""
    if style == "api_key":
        return Anthropic(base_url=url, api_key=key, max_retries=0, timeout=TIMEOUT_S)
    if style == "auth_token":
        return Anthropic(base_url=url, auth_token=key, max_retries=0, timeout=TIMEOUT_S)
    headers = {style: key}
    return Anthropic(base_url=url, api_key="not-for-asbru", max_retries=0, timeout=TIMEOUT_S, default_headers=headers)


def ask(client: Anthropic, model: str = MODEL) -> str:
    """The request id of an answered message."""
    with client:
        raw = client.messages.with_raw_response.create(model=model, max_tokens=20, messages=[user("Let me in")])
    return raw.headers["x-asbru-request-id"]


def refusal(client: Anthropic, model: str = MODEL) -> APIStatusError:
    with pytest.raises(APIStatusError) as caught:
        ask(client, model)
    return caught.value


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("key", "name"), [(PLAIN, "plain"), (DIGESTED, "digested"), (OPERATOR, "operator")], ids=lambda value: value[:6]
)
def test_let_in(locked: Gateway, style: str, key: str, name: str) -> None:
    if (style, name) == ("x-bf-vk", "operator"):
        error = refusal(client_with(locked.url, style, key))  # whatever stands there is a virtual key
        assert error.response.headers["x-asbru-reason"] == "virtual_key_not_found"
        return
    request_id = ask(client_with(f"{locked.url}/anthropic", style, key))
    assert locked.record(request_id)["principal"] == name


@pytest.mark.parametrize("style", STYLES[:3])
@pytest.mark.parametrize(
    ("key", "model", "kind", "reason"),
    [
        (new_virtual_key(), MODEL, anthropic.AuthenticationError, "virtual_key_not_found"),
        ("sk-ant-somebody", MODEL, anthropic.AuthenticationError, "virtual_key_required"),
        (DISABLED, MODEL, anthropic.PermissionDeniedError, "virtual_key_blocked"),
        (NARROW, MODEL, anthropic.PermissionDeniedError, "model_blocked"),
    ],
    ids=["unknown", "direct", "disabled", "model"],
)
def test_refused(locked: Gateway, style: str, key: str, model: str, kind: type[APIStatusError], reason: str) -> None:
    error = refusal(client_with(locked.url, style, key), model)
    assert type(error) is kind
    assert error.response.headers["x-asbru-reason"] == reason
    assert error.type == {401: "authentication_error", 403: "permission_error"}[error.status_code]
    assert key not in error.response.text
    if error.status_code == 401:  # Claude Code would ask again for three minutes
        assert error.response.headers["x-should-retry"] == "false"


def test_policy_holds_on_every_route(locked: Gateway) -> None:
    """Files, batches and models are under the same policy as messages."""
    with connect(locked.url, key="sk-bf-unknown") as stranger:
        for attempt in (
            lambda: stranger.models.list(),
            lambda: stranger.files.list(),
            lambda: stranger.files.upload(file=("a.txt", b"a")),
            lambda: stranger.messages.batches.list(),
            lambda: stranger.messages.count_tokens(model=MODEL, messages=[user("1")]),
        ):
            with pytest.raises(anthropic.AuthenticationError):
                attempt()
    with connect(locked.url, key=NARROW) as narrow:
        listed = [model.id for model in narrow.models.list(limit=5)]
        assert listed and all(model.startswith("claude-opus-") for model in listed)
        with pytest.raises(anthropic.PermissionDeniedError):
            narrow.messages.batches.create(
                requests=[{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 9, "messages": [user("b")]}}]
            )
        assert narrow.messages.count_tokens(model="claude-opus-5", messages=[user("1")]).input_tokens > 0


def test_batch_results_with_a_virtual_key(locked: Gateway) -> None:
    """The SDK follows `results_url` with its credential, which must be good there."""
    with connect(f"{locked.url}/litellm", key=PLAIN) as client:
        batch = client.messages.batches.create(
            requests=[{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 9, "messages": [user("b")]}}]
        )
        assert [result.result.type for result in client.messages.batches.results(batch.id)] == ["succeeded"]


def test_two_different_virtual_keys(locked: Gateway) -> None:
    with (
        connect(locked.url, key=PLAIN, headers={"x-bf-vk": DIGESTED}) as client,
        pytest.raises(anthropic.BadRequestError, match="two different"),
    ):
        client.models.list()
    with connect(locked.url, key=PLAIN, headers={"x-bf-vk": PLAIN}) as client:
        assert client.models.list(limit=1).data


@pytest.mark.parametrize("style", ["api_key", "auth_token", "x-api-key"])
def test_own_key_goes_upstream(lending: Gateway, style: str) -> None:
    """The provider's answer about the caller's own key is the caller's business."""
    ask(client_with(lending.url, style, "sk-mine"))
    error = refusal(client_with(lending.url, style, "sk-error-403-mine"), "claude-opus-5")
    assert type(error) is anthropic.PermissionDeniedError
    assert "x-asbru-reason" not in error.response.headers
    if style != "x-api-key":  # there the SDK's own `Authorization` is a second key
        wrong = refusal(client_with(lending.url, style, "sk-invalid"))
        assert type(wrong) is anthropic.AuthenticationError and wrong.api_message == "Invalid bearer token"


def test_own_key_is_not_for_a_fallback(lending: Gateway) -> None:
    with connect(lending.url, key="sk-error-529-mine") as client:
        raw = client.messages.with_raw_response.create(
            model="claude-opus-4-8",
            max_tokens=20,
            messages=[user("Elsewhere")],
            extra_body={"fallbacks": ["spare/claude-opus-4-8"]},
        )
    assert raw.headers["x-asbru-provider"] == "spare"
