"""openai-chat requests before the sandbox's OpenAI, which was written from the same reference by other hands: what the
codec is to make, and what it makes of real clients' requests, is what such an API accepts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.openai_chat import CODEC
from asbru.sandbox.answers import ApiError
from asbru.sandbox.speeches.openai_chat import OpenAIChat
from tests.dialects import golden

CAPTURES = Path(__file__).resolve().parent.parent.parent / "captures"

# Golden file -> the field of another host in it, which OpenAI refuses by its name.
OF_OTHER_HOSTS = {
    "thinking-budget-openrouter": "reasoning",
    "thinking-switch": "thinking",
    "cache-control-openrouter": "messages[0].content[0].cache_control",
    "reasoning-details": "messages[1].reasoning_details",
    "thinking-parts": "thinking",
}
MODELS: dict[str, tuple[Quirks, Model]] = {
    "gpt-5.6": (
        Quirks(
            files=True,
            cache_breakpoints="prompt_cache_breakpoint",
            user_field="safety_identifier",
            prompt_cache_key=True,
            service_tier=True,
        ),
        Model(
            max_output_tokens=128_000,
            reasoning=True,
            sampling=False,
            efforts=("none", "low", "medium", "high", "xhigh"),
        ),
    ),
    "a-model-of-which-nothing-is-known": (Quirks(), Model()),
}


def heard(body: Any) -> None:
    OpenAIChat().hear("v1/chat/completions", (), b"", body)


@pytest.mark.parametrize("path", golden.files("openai-chat"), ids=lambda path: path.stem)
def test_a_golden_request_is_accepted(path: Path) -> None:
    body = golden.load(path).upstream_request
    own = OF_OTHER_HOSTS.get(path.stem[3:])
    if own is None:
        heard(body)
        return
    with pytest.raises(ApiError) as caught:
        heard(body)
    assert f"'{own}'" in str(caught.value)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_made_of_a_real_clients_request_is_accepted(path: Path, model: str) -> None:
    capture = json.loads(path.read_text())
    if not capture.get("body_raw") or capture["path"].split("?")[0] != "/v1/messages":
        return
    quirks, facts = MODELS[model]
    context = Context(
        provider="openai", model=model, shown_model="claude", message_id="msg_1", quirks=quirks, facts=facts
    )
    try:
        sent = CODEC.encode(messages.parse(capture["body_raw"].encode()), context, Losses(CODEC.fidelity))
    except LossyError as refusal:
        assert refusal.path  # named; what is refused, and where, is `test_openai_chat_properties`
        return
    heard(json.loads(sent.body))
