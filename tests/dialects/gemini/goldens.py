"""The golden files of tests/wire/gemini: written from the references they name, never from our own output.

``{"$sealed": state}`` in a file stands for a signature that the gateway seals for the provider ``gemini``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from asbru.dialects import blobs
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.gemini import CODEC
from asbru.dialects.message_stream import StreamError

Json = dict[str, Any]

FILES = sorted((Path(__file__).parents[2] / "wire" / "gemini").glob("*.json"))
QUIRKS: Json = {"max_stop_sequences": 5, "service_tier": True}
"""As in data/providers.toml."""


def load(path: Path) -> Json:
    found: Json = _unseal(json.loads(path.read_text(encoding="utf-8")))
    return found


def _unseal(value: Any) -> Any:
    if isinstance(value, list):
        return [_unseal(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$sealed"}:
        made = dict(value["$sealed"])
        return blobs.seal("gemini", made.pop("model"), made)
    return {name: _unseal(each) for name, each in value.items()}


def context(golden: Json) -> Context:
    """A fresh context of a file, as it is before the request is encoded."""
    said = golden["context"]
    return Context(
        provider="gemini",
        model=said["model"],
        shown_model="gemini",
        message_id="msg_golden",
        quirks=msgspec.convert({**QUIRKS, **said.get("quirks", {})}, Quirks),
        facts=msgspec.convert(said.get("facts", {}), Model),
    )


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def message(body: bytes, of: Context) -> Json:
    """A whole answer as the Message that the client gets."""
    found: Json = json.loads(CODEC.decode(body, of).message())
    return found


def stream(pieces: list[bytes], of: Context) -> bytes:
    """A streamed answer, in these pieces, as the client gets it: what `Translation` does."""
    decoder = CODEC.decoder(of)
    out = b""
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        return out + decoder.end()
    except StreamError as error:
        decoder.stream.fail(error.type, error.message)
        return out + decoder.stream.take()
