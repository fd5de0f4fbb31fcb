"""Scripted replies: a bounded queue of what the sandbox answers next, instead of what it would make from the request.

A reply is a JSON object with exactly one of

- ``text``: the answer's text;
- ``content``: its blocks, of the types ``text``, ``thinking`` and ``tool_use``;
- ``model``: a model name with options, such as ``error-529:retry_after_s=2``; the request is handled as if it had asked
  for that model.

``text`` and ``content`` may come with a ``stop_reason``. `parse` raises an `ApiError` that names the place of a
mistake: ``replies.1.content.0.tool_use.name: Field required``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from asbru.sandbox import models
from asbru.sandbox.answers import ApiError, invalid
from asbru.sandbox.models import Name
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Path as Place
from asbru.sandbox.shape import anything, many, one_of, record, table, tagged, text, wrong

MAX_REPLIES = 1_000
MAX_TOTAL_BYTES = 16_777_216
MAX_BLOCKS = 1_000

_KINDS = ("text", "content", "model")
_BLOCK = tagged(
    {
        "text": record({"text": text()}),
        "thinking": record({"thinking": text()}),
        "tool_use": record(
            {"name": text(pattern="^[a-zA-Z0-9_-]{1,128}$"), "input": table(anything)},
            {"id": text(pattern="^[a-zA-Z0-9_-]{1,128}$")},
        ),
    }
)
_FIELDS = {
    "text": text(),
    "content": many(_BLOCK, most=MAX_BLOCKS),
    "model": text(least=1),
    "stop_reason": one_of(
        "end_turn", "max_tokens", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"
    ),
}
_REPLY = record({}, _FIELDS)


class ScriptedReply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply: a name in whose place the request is handled, or else content."""

    name: Name | None = None
    content: tuple[Json, ...] = ()
    stop_reason: str | None = None
    """None: what follows from the content."""
    raw: bytes
    """The reply as JSON."""


def parse(value: object) -> list[ScriptedReply]:
    """The replies of a JSON list; raises `ApiError`."""
    if not isinstance(value, list):
        wrong(("replies",), "Input should be a valid list", "type", "array", value)
    return [_parse_one(item, ("replies", index)) for index, item in enumerate(value)]


def read_file(file: Path) -> list[ScriptedReply]:
    """The replies of a JSON file; raises `ValueError`."""
    try:
        replies = parse(msgspec.json.decode(file.read_bytes()))
        Replies().add(replies)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ApiError as error:
        raise ValueError(error.message) from None
    return replies


def _parse_one(value: object, path: Place) -> ScriptedReply:
    _REPLY(value, path)
    assert isinstance(value, dict)
    given = [kind for kind in _KINDS if kind in value]
    if len(given) != 1:
        wrong(path, f"A reply has exactly one of `text`, `content` and `model`, not {len(given)} of them")
    raw = msgspec.json.encode(value)
    if "model" in value:
        if "stop_reason" in value:
            wrong((*path, "stop_reason"), "Not allowed beside `model`; use the option `stop_reason=` of the model name")
        try:
            return ScriptedReply(name=models.parse(value["model"]), raw=raw)
        except ApiError as error:
            raise invalid(f"{'.'.join(map(str, path))}.{error.message}") from None
    content = [{"type": "text", "text": value["text"]}] if "text" in value else value["content"]
    ids = [block["id"] for block in content if "id" in block]
    if len(set(ids)) != len(ids):
        wrong((*path, "content"), "`tool_use` ids must be unique")
    return ScriptedReply(content=tuple(content), stop_reason=value.get("stop_reason"), raw=raw)


class Replies:
    """The queue. May be filled by one thread while another takes from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[ScriptedReply] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, replies: Sequence[ScriptedReply]) -> None:
        """Append the replies, all or none; raises `ApiError` when the queue has no room for them."""
        with self._lock:
            self._extend(replies)

    def replace(self, replies: Sequence[ScriptedReply]) -> None:
        """Put these in the place of what is waiting; raises `ApiError` as `add` does, and then nothing changes."""
        with self._lock:
            before = self._waiting, self._bytes
            self._waiting, self._bytes = deque(), 0
            try:
                self._extend(replies)
            except ApiError:
                self._waiting, self._bytes = before
                raise

    def _extend(self, replies: Sequence[ScriptedReply]) -> None:
        size = sum(len(reply.raw) for reply in replies)
        if len(self._waiting) + len(replies) > MAX_REPLIES:
            raise ApiError(413, f"replies: The queue holds at most {MAX_REPLIES} replies")
        if self._bytes + size > MAX_TOTAL_BYTES:
            raise ApiError(413, f"replies: The queue holds at most {MAX_TOTAL_BYTES} bytes of replies")
        self._waiting.extend(replies)
        self._bytes += size

    def take(self) -> ScriptedReply | None:
        """The next reply, which leaves the queue; None when it is empty."""
        with self._lock:
            if not self._waiting:
                return None
            reply = self._waiting.popleft()
            self._bytes -= len(reply.raw)
            return reply

    def waiting(self) -> list[msgspec.Raw]:
        """The replies that no request has taken yet, as JSON."""
        with self._lock:
            return [msgspec.Raw(reply.raw) for reply in self._waiting]
