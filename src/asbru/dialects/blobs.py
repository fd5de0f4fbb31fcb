"""Reasoning state that rides through the client in a thinking block's signature.

A provider's opaque state (an item id and encrypted reasoning, a thought signature) is sealed with the names of provider
and model into one text, which SDKs and Claude Code send back verbatim with the next turn. `unseal` gives it back to the
same model of the same provider only; for any other target the block is foreign and is left out, because a foreign
signature is an error there (traps.md: B5186). Sealed does not mean secret or authentic: the provider itself verifies
what is its own.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

PREFIX = "asbru1."
UNSIGNED = "asbru1.-"
"""The signature of thinking whose provider gave no state: no provider unseals it, so it stays behind everywhere."""
MAX_CHARS = 4 * 1024 * 1024


def seal(provider: str, model: str | None, state: dict[str, Any]) -> str:
    """The signature that carries a model's state; without a model, a mark that holds for all of the provider's."""
    sealed = state if model is None else {"model": model, **state}
    return f"{PREFIX}{provider}.{base64.b64encode(msgspec.json.encode(sealed)).decode('ascii')}"


def is_sealed(signature: str) -> bool:
    """Whether a signature is one of ours, whoever's state it holds."""
    return signature.startswith(PREFIX)


def unseal(signature: str, provider: str, model: str | None) -> dict[str, Any] | None:
    """What `seal` was given; None when the signature is another's, Anthropic's, or damaged."""
    start = f"{PREFIX}{provider}."
    if not signature.startswith(start) or len(signature) > MAX_CHARS:
        return None
    try:
        state = msgspec.json.decode(base64.b64decode(signature[len(start) :], validate=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) and state.pop("model", None) == model else None
