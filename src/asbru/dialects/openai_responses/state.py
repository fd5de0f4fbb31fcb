"""What of an answer must go back to the provider as it was, and how it rides through the client.

Sealed (blobs.py) into the signature of a thinking block, one thing each:
``reasoning``: an item's id, its encrypted content, and the lengths of the parts that make up the thinking's text;
``item``: an item with no words in Messages, such as a page that a search opened: reasoning before it is refused
without it;
``phase``: whether the message that follows is commentary or the final answer: OpenAI wants to hear it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from asbru.dialects import blobs
from asbru.dialects.messages import RedactedThinking, Thinking

Json = dict[str, Any]

JOINT = "\n\n"
"""Between the parts of a reasoning's summary or text."""


class Replay(NamedTuple):
    """What a thinking block stands for: an item of the input, or the phase of the message behind it."""

    item: Json | None = None
    phase: str | None = None


def seal_reasoning(
    provider: str, model: str, id: str, encrypted_content: str | None, summary: Sequence[str], content: Sequence[str]
) -> str:
    """The signature for a reasoning item; empty when the provider could make nothing of what there is.

    ``content`` is reasoning in plain words, which only hosts send that do not encrypt it.
    """
    state: Json = {"id": id}
    if encrypted_content:
        state["encrypted_content"] = encrypted_content
        state["summary"] = [len(part) for part in summary]
    elif content and not summary:
        state["content"] = [len(part) for part in content]
    else:
        return ""
    return blobs.seal(provider, model, {"reasoning": state})


def seal_item(provider: str, model: str, item: Json) -> str:
    return blobs.seal(provider, model, {"item": item})


def seal_phase(provider: str, model: str, phase: str) -> str:
    return blobs.seal(provider, model, {"phase": phase})


def replay(block: Thinking | RedactedThinking, provider: str, model: str) -> Replay:
    """What a block that this model sealed stands for; nothing when it is damaged."""
    sealed, text = (block.signature, block.thinking) if isinstance(block, Thinking) else (block.data, "")
    state = blobs.unseal(sealed, provider, model) or {}
    reasoning, item, phase = state.get("reasoning"), state.get("item"), state.get("phase")
    if isinstance(reasoning, dict):
        return Replay(_reasoning(reasoning, text))
    if isinstance(item, dict):
        return Replay(item)
    return Replay(phase=phase) if isinstance(phase, str) else Replay()


def _reasoning(state: Json, text: str) -> Json | None:
    item: Json = {"type": "reasoning", "id": state.get("id"), "summary": []}
    if "encrypted_content" in state:
        item["summary"] = [{"type": "summary_text", "text": part} for part in _parts(text, state.get("summary"))]
        item["encrypted_content"] = state["encrypted_content"]
        return item
    parts = _parts(text, state.get("content"))
    if not parts:
        return None  # the text was not shown to the client, so it did not come back
    item["content"] = [{"type": "reasoning_text", "text": part} for part in parts]
    return item


def _parts(text: str, lengths: object) -> list[str]:
    """The parts that were joined to this text; all of it as one when a client has changed it."""
    if not text:
        return []
    parts: list[str] = []
    place = 0
    for length in lengths if isinstance(lengths, list) else ():
        if not isinstance(length, int):
            return [text]
        parts.append(text[place : place + length])
        place += length + len(JOINT)
    return parts if JOINT.join(parts) == text else [text]
