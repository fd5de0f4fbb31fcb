"""Golden files: tests/wire/<dialect>/NN-name.json, one conversation step each, both sides of it.

``source``                 the public reference that the provider's side was written from
``context``                what is not the default of the `Context`: provider, model, quirks, facts, session_id
``messages_request``       what the client asks
``upstream_request``       what the provider is asked, and ``upstream_target`` where, if not at the dialect's own path
``losses``                 the header that the client gets
``upstream_response``      the provider's answer
``messages_response``      what the client gets for it
``upstream_stream``        the same answer streamed, as text
``messages_stream_events`` the data of the client's events for it

They are written by hand from the references, never from what a codec makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from asbru.dialects import messages
from asbru.dialects.codec import Codec, Context, Model, Quirks, Sent
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import StreamError

Json = dict[str, Any]

WIRE = Path(__file__).resolve().parent.parent / "wire"


class Golden(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    source: str
    context: Json = {}
    messages_request: Json
    upstream_request: Json
    upstream_target: str | None = None
    losses: str
    upstream_response: Json | None = None
    messages_response: Json | None = None
    upstream_stream: str | None = None
    messages_stream_events: list[Json] | None = None


def files(dialect: str) -> list[Path]:
    return sorted((WIRE / dialect).glob("*.json"))


def load(path: Path) -> Golden:
    return msgspec.json.decode(path.read_bytes(), type=Golden)


def context_of(golden: Golden) -> Context:
    given = dict(golden.context)
    return Context(
        quirks=msgspec.convert(given.pop("quirks", {}), Quirks),
        facts=msgspec.convert(given.pop("facts", {}), Model),
        **{
            "provider": "provider",
            "model": "gpt-upstream",
            "shown_model": golden.messages_request["model"],
            "message_id": "msg_golden",
            **given,
        },
    )


def encoded(codec: Codec, golden: Golden) -> tuple[Sent, Context, Losses]:
    """The request as it goes upstream, and the context that reads the answer."""
    context = context_of(golden)
    losses = Losses(codec.fidelity)
    request = messages.parse(json.dumps(golden.messages_request).encode())
    return codec.encode(request, context, losses), context, losses


def streamed(codec: Codec, context: Context, pieces: list[bytes]) -> bytes:
    """The client's bytes for a stream that arrives in these pieces, as the gateway makes them."""
    decoder = codec.decoder(context)
    out = b""
    for piece in pieces:
        try:
            out += decoder.feed(piece)
        except StreamError as error:
            decoder.stream.fail(error.type, error.message)
            return out + decoder.stream.take()
    try:
        return out + decoder.end()
    except StreamError as error:
        decoder.stream.fail(error.type, error.message)
        return out + decoder.stream.take()


def answered(codec: Codec, context: Context, golden: Golden) -> Json:
    """The Message for a whole answer."""
    body = json.dumps(golden.upstream_response).encode()
    message: Json = json.loads(codec.decode(body, context).message())
    return message
