"""Failures as the official Python SDK sees them: the right class, the provider's own words, retries, time-outs.

Every test uses model names of its own (what follows the colon is a label), because failures are remembered by model.
"""

from __future__ import annotations

import re
from pathlib import Path

import anthropic
import httpx2
import pytest
from anthropic import Anthropic, APIStatusError, APITimeoutError

from tests.e2e.clients import MODEL, TIMEOUT_S, VERSION, connect, text_of, user
from tests.e2e.running import Gateway, Server

AS_IT_CAME: dict[int, type[APIStatusError]] = {
    400: anthropic.BadRequestError,
    404: anthropic.NotFoundError,
    408: anthropic.RequestTimeoutError,
    409: anthropic.ConflictError,
    413: anthropic.ContentTooLargeError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    501: anthropic.HTTPNotImplementedError,
    503: anthropic.ServiceUnavailableError,
    504: anthropic.GatewayTimeoutError,
    529: anthropic.OverloadedError,
}


def refused(client: Anthropic, model: str, *, stream: bool = False) -> APIStatusError:
    """The error that a message to this model ends with."""
    with pytest.raises(APIStatusError) as caught:
        if stream:
            with client.messages.stream(model=model, max_tokens=50, messages=[user("Fail")]) as events:
                events.until_done()
        else:
            client.messages.create(model=model, max_tokens=50, messages=[user("Fail")])
    return caught.value


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", AS_IT_CAME)
def test_error_as_it_came(via: Anthropic, direct: Anthropic, status: int, stream: bool) -> None:
    model = f"error-{status}:{via.base_url.path.replace('/', '-')}{stream}"
    got, expected = refused(via, model, stream=stream), refused(direct, model, stream=stream)
    assert type(got) is type(expected) is AS_IT_CAME[status]
    assert got.body == expected.body
    assert got.type == expected.type
    assert got.request_id == expected.request_id
    for name in ("retry-after", "x-should-retry", "content-type"):
        assert got.response.headers.get(name) == expected.response.headers.get(name)
    attempts = got.response.headers["x-asbru-attempts"]
    assert re.fullmatch(rf"sandbox/{re.escape(model)} {status} \d+ms", attempts)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_refused_key_of_the_gateway(via: Anthropic, status: int) -> None:
    """Not the caller's fault: a client that sees 401 asks its user to log in."""
    error = refused(via, f"error-{status}:{via.base_url.path.replace('/', '-')}")
    assert (error.status_code, error.type) == (502, "api_error")
    assert error.response.headers["x-asbru-reason"] == "upstream_credentials"
    assert error.response.headers["x-should-retry"] == "false"


def test_validation_of_the_provider(via: Anthropic, direct: Anthropic) -> None:
    """What is wrong with a message is for the provider to say; its words go through."""
    for wrong in ({"role": "keeper", "content": "x"}, {"role": "user", "content": [{"type": "rune"}]}):
        errors = []
        for client in (via, direct):
            with pytest.raises(anthropic.BadRequestError) as caught:
                client.messages.create(model=MODEL, max_tokens=50, messages=[wrong])  # type: ignore[list-item]  # wrong on purpose
            errors.append(caught.value.body)
        assert errors[0] == errors[1]


def test_unknown_path(via: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        via.get("/v1/nothing/here", cast_to=object)
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id == caught.value.response.headers["x-asbru-request-id"]


def test_body_beyond_the_bound(via: Anthropic) -> None:
    with pytest.raises(anthropic.ContentTooLargeError) as caught:
        via.messages.create(model=MODEL, max_tokens=50, messages=[user("x" * (5 << 20))])
    body = caught.value.body
    assert isinstance(body, dict) and body["error"]["type"] == "request_too_large"


def test_error_before_content_is_a_status(via: Anthropic) -> None:
    """The stream had not begun for the client, so it can still have a status, and the SDK can retry."""
    name = via.base_url.path.replace("/", "-")
    error = refused(via, f"error-first-event:{name}", stream=True)
    assert type(error) is anthropic.OverloadedError
    limited = refused(via, f"error-first-event:status=429,{name}", stream=True)
    assert type(limited) is anthropic.RateLimitError


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("error-mid-stream", "overloaded_error"),
        ("error-mid-stream:status=500", "api_error"),
        ("die-mid-stream", "api_error"),
        ("end-mid-stream", "api_error"),
    ],
)
def test_failure_after_content(via: Anthropic, model: str, kind: str) -> None:
    """A broken stream ends with an error event, also where the provider's end looked like a good one."""
    seen = ""
    with (
        pytest.raises(APIStatusError) as caught,
        via.messages.stream(model=model, max_tokens=50, messages=[user("Fail")]) as stream,
    ):
        for text in stream.text_stream:
            seen += text
    assert seen
    assert (caught.value.status_code, caught.value.type) == (200, kind)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_connection_lost_before_an_answer(via: Anthropic, stream: bool) -> None:
    label = via.base_url.path.replace("/", "-") + str(stream)
    lost = refused(via, f"die-before-head:{label}", stream=stream)
    assert type(lost) is anthropic.GatewayTimeoutError and lost.type == "timeout_error"
    nonsense = refused(via, f"garbage:{label}", stream=stream)
    assert nonsense.status_code == 502 and nonsense.type == "api_error"


def test_half_an_answer_is_none(via: Anthropic) -> None:
    """A whole answer that breaks off is an error, never a shorter answer."""
    label = via.base_url.path.replace("/", "-")
    for model in ("die-mid-stream", "end-mid-stream"):
        error = refused(via, f"{model}:whole{label}")
        assert (error.status_code, error.type) in {(502, "api_error"), (504, "timeout_error")}


def test_client_that_stops_waiting(via: Anthropic, gateway: Gateway) -> None:
    """The provider's connection is given up with the client's, and the Record says so."""
    label = f"hang:patience{via.base_url.path.replace('/', '-')}"
    with pytest.raises(APITimeoutError):
        via.with_options(timeout=0.3).messages.create(model=label, max_tokens=50, messages=[user("Wait")])
    record = gateway.record_with(model=label)
    assert record["status"] == 499
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["cancelled"]


def test_client_that_leaves_a_stream(via: Anthropic, gateway: Gateway) -> None:
    """What was seen until then is settled."""
    label = f"{MODEL}:chunks=200,delay_ms=50,left{via.base_url.path.replace('/', '-')}"
    with via.messages.stream(model=label, max_tokens=2000, messages=[user("Go on")]) as stream:
        assert next(iter(stream.text_stream))
    record = gateway.record_with(model=label)
    assert record["status"] == 499
    assert record["usage"]["input_tokens"] > 0
    assert "usage_complete" not in record


def test_retries_of_the_sdk(gateway: Gateway) -> None:
    """Each retry is an exchange of its own, and says to the provider how many there were."""
    model = "error-529:retry_after_s=0,until_retry=2,sdk"
    with connect(gateway.url, retries=3) as client:
        raw = client.messages.with_raw_response.create(model=model, max_tokens=50, messages=[user("Again")])
    assert raw.retries_taken == 2
    assert raw.headers["x-asbru-attempts"].startswith(f"sandbox/{model} 200 ")


def test_no_retry_where_it_cannot_help(gateway: Gateway) -> None:
    for model in ("error-400:once", "error-403:once"):
        with connect(gateway.url, retries=3) as client, pytest.raises(APIStatusError):
            client.messages.create(model=model, max_tokens=50, messages=[user("Never")])
        gateway.record_with(model=model)
        assert len([record for record in gateway.records() if record.get("model") == model]) == 1


def test_fallback_of_the_gateway(via: Anthropic) -> None:
    label = via.base_url.path.replace("/", "-")
    raw = via.messages.with_raw_response.create(
        model=f"error-529:primary{label}",
        max_tokens=300,
        messages=[user("Carry on")],
        extra_body={"fallbacks": ["sandbox/claude-opus-5"]},
    )
    assert "Carry on" in text_of(raw.parse())
    assert raw.headers["x-bifrost-fallback-index"] == "1"
    assert raw.headers["x-asbru-model"] == "claude-opus-5"
    tried = raw.headers["x-asbru-attempts"].split("; ")
    assert [line.split()[1] for line in tried] == ["529", "200"]


@pytest.mark.parametrize("model", ["error-first-event", "die-before-head", "garbage", "die-mid-stream:after=1"])
def test_fallback_of_a_stream(via: Anthropic, direct: Anthropic, model: str) -> None:
    """Until the first content nothing has gone to the client: it sees one message, that of the fallback."""
    fallen = via.messages.create(
        model=model,
        max_tokens=300,
        messages=[user("Carry on")],
        stream=True,
        extra_body={"fallbacks": [f"{MODEL}:chunks=3"]},
    )
    expected = direct.messages.create(
        model=f"{MODEL}:chunks=3", max_tokens=300, messages=[user("Carry on")], stream=True
    )
    assert [event.type for event in fallen] == [event.type for event in expected]
    assert fallen.response.headers["x-asbru-model"] == f"{MODEL}:chunks=3"


def test_silent_provider(sandbox: Server, tmp_path: Path) -> None:
    """Silence is filled with pings, and ends in an error event when there is too much of it."""
    config: dict[str, object] = {
        "providers": {"sandbox": {"base_url": sandbox.url, "max_retries": 0}},
        "stream": {"ping_s": 0.1, "idle_s": 1.0},
    }
    asked = {"model": "hang-mid-stream:after=5", "max_tokens": 50, "messages": [user("Hush")], "stream": True}
    with (
        Gateway(tmp_path, config) as running,
        httpx2.stream("POST", f"{running.url}/v1/messages", json=asked, headers=VERSION, timeout=TIMEOUT_S) as response,
    ):
        events = [line for line in response.iter_lines() if line.startswith("event: ")]
    own_pings = events.count("event: ping") - 1  # the provider sends one itself
    assert own_pings >= 3
    assert events[0] == "event: message_start"
    assert events[-1] == "event: error"
    assert events.count("event: error") == 1
