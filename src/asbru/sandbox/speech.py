"""How the sandbox speaks another provider's dialect: what it hears is made a Messages request, what it says comes from
the same scripted answer.

A `Speech` is one dialect seen from the provider's side. Nothing is decided in it: `script.compose` decides what is
said, `failures` what goes wrong, both for every dialect alike. It only checks and reads requests as strictly as the
real provider, and words answers, events and errors as that provider does. Each has a file of its own in ``speeches``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from asbru.errors import Headers
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.stream import Event
from asbru.server.exchange import Exchange


class Heard(msgspec.Struct, kw_only=True):
    """A request of another dialect, checked and understood."""

    messages: Json
    """The same as a Messages request; ``model`` is the name as the client gave it, with the sandbox's options.

    It is only read, not checked again: what the Messages API would refuse and this dialect takes is answered.
    """
    stream: bool = False
    count: bool = False
    """It only asks how many input tokens there are."""
    asked: Json
    """The request as it came, for what an answer repeats of it."""


class Speech(Protocol):
    """One dialect, from the provider's side."""

    routes: Sequence[str]
    """Paths with ``*`` for an id, as in `app.ROUTES`; all are POST."""
    listing: str
    """The path that lists models (GET, without an ``anthropic-version``); empty when this dialect has none."""

    def check(self, headers: Headers) -> None:
        """Raises `ApiError` when the credential is missing or refused (keys as in `caller`)."""
        ...

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        """Raises `ApiError` for what the real provider would refuse."""
        ...

    def whole(self, answer: Answer, heard: Heard) -> object:
        """The answer in one piece, to be encoded as JSON."""
        ...

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        """The answer as a stream; ``chunks`` text deltas per text block, None for the dialect's own way."""
        ...

    def count(self, tokens: int) -> object:
        """The answer to a request to count."""
        ...

    def too_long(self, tokens: int, most: int) -> ApiError:
        """The error for a prompt that the model has no room for."""
        ...

    def models(self, ids: Sequence[str]) -> object:
        """The answer to ``listing``."""
        ...

    def reply(self, exchange: Exchange) -> Reply:
        """How this dialect's answers and errors look on the wire: a `Reply` of its own."""
        ...
