"""Converse requests before the sandbox's Bedrock, which was written from the same reference by other hands: what the
codec is to make, and what it makes of real clients' requests, is what such a service accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from asbru.dialects import messages
from asbru.dialects.bedrock_converse import CODEC
from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses, LossyError
from asbru.sandbox.answers import ApiError
from asbru.sandbox.speeches.bedrock_converse import Converse
from tests.dialects import golden

CAPTURES = Path(__file__).resolve().parent.parent.parent / "captures"


def heard(target: str, body: Any) -> None:
    _, _, model, operation = target.split("/")
    Converse().hear(f"model/*/{operation}", (unquote(model),), b"", body)


# Of what the real API signed only the real API knows that it did.
UNKNOWN_SIGNATURE = "The model returned the following errors: messages.1.content.0: Invalid `"


@pytest.mark.parametrize("path", golden.files("bedrock-converse"), ids=lambda path: path.stem)
def test_a_golden_request_is_accepted(path: Path) -> None:
    case = json.loads(path.read_text())
    target = case.get("upstream_target", f"/model/{case.get('context', {}).get('model', 'any')}/converse")
    try:
        heard(target, case["upstream_request"])
    except ApiError as refusal:
        if not str(refusal).startswith(UNKNOWN_SIGNATURE):
            raise


@pytest.mark.parametrize("model", ["us.anthropic.claude-opus-4-6-v1", "us.amazon.nova-2-lite-v1:0", "unknown"])
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_made_of_a_real_clients_request_is_accepted(path: Path, model: str) -> None:
    capture = json.loads(path.read_text())
    if not capture.get("body_raw") or capture["path"].split("?")[0] != "/v1/messages":
        return
    context = Context(provider="bedrock", model=model, shown_model="claude", message_id="msg_1")
    try:
        sent = CODEC.encode(messages.parse(capture["body_raw"].encode()), context, Losses(CODEC.fidelity))
    except LossyError as refusal:
        assert refusal.path
        return
    heard(sent.target.decode(), json.loads(sent.body))
