"""A running gateway is drained, reloaded and overrun while the official Python SDK uses it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import httpx2
import pytest
from anthropic import APIConnectionError, APIStatusError

from tests.e2e.clients import MODEL, connect, text_of, user
from tests.e2e.running import Gateway, Json, Server

SOON_S = 15.0


def config(sandbox: Server, **more: object) -> Json:
    return {"providers": {"sandbox": {"base_url": sandbox.url, "max_retries": 0}}, **more}


def until(gateway: Gateway, said: str) -> None:
    """Wait until the gateway's log says this."""
    end = time.monotonic() + SOON_S
    while said not in gateway.errors():
        assert time.monotonic() < end, gateway.errors()
        time.sleep(0.02)


def test_drain_lets_a_stream_finish(sandbox: Server, tmp_path: Path) -> None:
    """From SIGTERM on nothing new is taken; what runs runs to its end, and the process ends cleanly after it."""
    model = f"{MODEL}:chunks=40,delay_ms=20"
    with Gateway(tmp_path, config(sandbox)) as gateway, connect(gateway.url) as client:
        whole = text_of(client.messages.create(model=MODEL, max_tokens=500, messages=[user("Cross")]))
        with client.messages.stream(model=model, max_tokens=500, messages=[user("Cross")]) as stream:
            first = next(stream.text_stream)
            gateway.process.terminate()
            until(gateway, "draining: 1 exchanges")
            with connect(gateway.url) as late, pytest.raises(APIConnectionError):
                late.messages.create(model=MODEL, max_tokens=5, messages=[user("Too late")])
            rest = "".join(stream.text_stream)
        assert (first + rest)[: len(whole)] == whole
        assert stream.get_final_message().stop_reason == "end_turn"
        assert gateway.process.wait(SOON_S) == 0
        assert gateway.records()[-1]["status"] == 200


def test_who_listens_hears_signals(tmp_path: Path) -> None:
    """A supervisor that asks a process to end as soon as it says its address gets a clean exit."""
    with Server(tmp_path / "sandbox", "sandbox", "--port", "0"):
        pass
    with Gateway(tmp_path / "gateway", {"providers": {"sandbox": {}}}) as gateway:
        gateway.process.send_signal(signal.SIGHUP)


def test_drain_has_an_end(sandbox: Server, tmp_path: Path) -> None:
    """A stream that outlives the drain ends with a valid error, not with silence."""
    with Gateway(tmp_path, config(sandbox, server={"drain_s": 0.2})) as gateway, connect(gateway.url) as client:
        with (
            pytest.raises(APIStatusError) as caught,
            client.messages.stream(model="hang-mid-stream", max_tokens=500, messages=[user("Stay")]) as stream,
        ):
            for _ in stream.text_stream:
                gateway.process.terminate()
        assert caught.value.type == "overloaded_error"
        assert gateway.process.wait(SOON_S) == 0


def test_reload(sandbox: Server, tmp_path: Path) -> None:
    """SIGHUP takes the new configuration; a wrong one is named in the log and changes nothing."""
    with Gateway(tmp_path, config(sandbox, models={"old": [f"sandbox/{MODEL}"]})) as gateway:
        file = tmp_path / "asbru.json"
        with connect(gateway.url) as client:
            assert client.models.retrieve("old").id == "old"
            file.write_text(json.dumps(config(sandbox, models={"new": [f"sandbox/{MODEL}"]})))
            gateway.process.send_signal(signal.SIGHUP)
            until(gateway, "configuration reloaded")
            answer = client.messages.create(model="new", max_tokens=5, messages=[user("Now?")])
            assert answer.model == MODEL
            file.write_text(json.dumps(config(sandbox, modles={})))
            gateway.process.send_signal(signal.SIGHUP)
            until(gateway, "modles")
            assert "models" in gateway.errors()
            answer = client.messages.create(model="new", max_tokens=5, messages=[user("Still?")])
            assert answer.model == MODEL
            assert "old" not in [model.id for model in client.models.list(limit=1000)]
        gateway.may_say = "reload rejected, keeping the running configuration"


def test_second_signal_ends_at_once(sandbox: Server, tmp_path: Path) -> None:
    with Gateway(tmp_path, config(sandbox)) as gateway, connect(gateway.url) as client:
        with (
            pytest.raises(httpx2.HTTPError),
            client.messages.stream(model="hang-mid-stream", max_tokens=500, messages=[user("Stay")]) as stream,
        ):
            for _ in stream.text_stream:
                gateway.process.terminate()
                until(gateway, "draining: 1 exchanges")
                gateway.process.terminate()
        gateway.ends_with = 1
        assert gateway.process.wait(SOON_S) == 1


def test_new_connections_are_served_while_balancers_lag(sandbox: Server, tmp_path: Path) -> None:
    """After SIGTERM readiness says 503 and everything is served on new connections, each for one request."""
    settings = config(sandbox, server={"drain_delay_s": 3600})
    with Gateway(tmp_path, settings) as gateway:
        gateway.ends_with = 1
        with httpx2.Client(base_url=gateway.url) as open_before, httpx2.Client(base_url=gateway.url) as opened_late:
            assert open_before.get("/health/ready").status_code == 200
            gateway.process.terminate()
            until(gateway, "leaving: requests are served for another 3600 s")
            for client in (open_before, opened_late):
                ready = client.get("/health/ready")
                assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
                assert ready.headers["connection"] == "close"
                assert client.get("/health/live").status_code == 200
        with connect(gateway.url) as late:
            message = late.messages.create(model=MODEL, max_tokens=5, messages=[user("Not too late")])
            assert message.role == "assistant"
        gateway.process.terminate()
        until(gateway, "a second signal: ending at once")
        assert gateway.process.wait(SOON_S) == 1


def test_the_drain_follows_its_delay(sandbox: Server, tmp_path: Path) -> None:
    """A stream that runs when the delay is over has all of `drain_s`; then the process ends cleanly."""
    settings = config(sandbox, server={"drain_delay_s": 0.2})
    model = f"{MODEL}:chunks=40,delay_ms=20"
    with Gateway(tmp_path, settings) as gateway, connect(gateway.url) as client:
        with client.messages.stream(model=model, max_tokens=500, messages=[user("Cross")]) as stream:
            next(stream.text_stream)
            gateway.process.terminate()
            until(gateway, "draining: 1 exchanges")
            with connect(gateway.url) as late, pytest.raises(APIConnectionError):
                late.messages.create(model=MODEL, max_tokens=5, messages=[user("Too late")])
            assert stream.get_final_message().stop_reason == "end_turn"
        assert gateway.process.wait(SOON_S) == 0


def test_an_interrupt_does_not_wait(sandbox: Server, tmp_path: Path) -> None:
    """Ctrl-C comes from a terminal, not from a balancer's supervisor."""
    with Gateway(tmp_path, config(sandbox, server={"drain_delay_s": 3600})) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(SOON_S) == 0
