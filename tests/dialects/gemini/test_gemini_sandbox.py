"""Gemini requests before the sandbox's Gemini, which was written from the same reference by other hands: what the codec
is to make, and what it makes of real clients' requests, is what such an API accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.gemini import CODEC
from asbru.dialects.losses import Losses, LossyError
from asbru.sandbox.ids import digest
from asbru.sandbox.speeches.gemini import GEMINI, VERTEX
from asbru.sandbox.thinking import sign
from tests.dialects import golden

CAPTURES = Path(__file__).resolve().parent.parent.parent / "captures"


def signed(body: Any) -> Any:
    """The request with signatures that the sandbox knows, in place of those of the real API."""
    for content in body.get("contents", ()):
        for part in content["parts"]:
            given = part.get("thoughtSignature")
            if given is not None and not given.startswith("skip_"):
                name = part.get("functionCall", {}).get("name", "")
                part["thoughtSignature"] = sign("thought_signature", digest(b""), name)
    return body


def heard(target: str, body: Any, *, is_vertex: bool) -> None:
    path, _, query = target.partition("?")
    model, _, method = path.removeprefix("/models/").rpartition(":")
    speech = VERTEX if is_vertex else GEMINI
    speech.hear(f"any/*:{method}", (model,), query.encode(), body)


@pytest.mark.parametrize("path", golden.files("gemini"), ids=lambda path: path.stem)
def test_a_golden_request_is_accepted(path: Path) -> None:
    case = json.loads(path.read_text())
    if "upstream_request" not in case:
        return  # refused by the codec
    is_vertex = case.get("context", {}).get("quirks", {}).get("vertex", False)
    heard(case["upstream_target"], signed(case["upstream_request"]), is_vertex=is_vertex)


@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "gemini-2.5-flash", "unknown"])
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_made_of_a_real_clients_request_is_accepted(path: Path, model: str) -> None:
    capture = json.loads(path.read_text())
    if not capture.get("body_raw") or capture["path"].split("?")[0] != "/v1/messages":
        return
    context = Context(
        provider="gemini",
        model=model,
        shown_model="claude",
        message_id="msg_1",
        quirks=Quirks(max_stop_sequences=5),
        facts=Model(max_output_tokens=65_536),
    )
    try:
        sent = CODEC.encode(messages.parse(capture["body_raw"].encode()), context, Losses(CODEC.fidelity))
    except LossyError as refusal:
        assert refusal.path
        return
    heard(sent.target.decode(), json.loads(sent.body), is_vertex=False)
