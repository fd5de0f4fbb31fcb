"""Message threads: conversations that the sandbox remembers, so that a request need only bring what is new.

`Threads` keeps the body of every threaded request together with its answer, by the answer's id, up to a number and a
size; the oldest go first, and a client that continues a forgotten one sends all of it again (``thread_not_found``).
Continuing one twice is allowed: the same request must get the same answer.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from asbru.sandbox.answers import ApiError

Body = dict[str, object]

INHERITED = ("system", "tools")
"""What a continued thread takes from the request before unless it brings its own."""


class Threads:
    def __init__(self, max_threads: int, max_bytes: int) -> None:
        self.max_threads = max_threads
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def join(self, body: Body) -> Body:
        """The whole conversation that a request with ``thread`` stands for.

        Raises `ApiError` (404, ``thread_not_found``) when it continues what is not known.
        """
        thread = body.get("thread")
        if not isinstance(thread, dict) or thread.get("type") != "continue":
            return body
        previous = thread.get("previous_message_id")
        kept = self._kept.get(previous) if isinstance(previous, str) else None
        if kept is None:
            raise ApiError(
                404,
                f"thread: no thread ends with the message {previous}",
                details={"error_code": "thread_not_found"},
            )
        earlier: Body = msgspec.json.decode(kept, type=dict[str, object])
        inherited = {name: earlier[name] for name in INHERITED if name in earlier and name not in body}
        before, new = earlier["messages"], body.get("messages")
        joined = before + new if isinstance(before, list) and isinstance(new, list) else new
        return {**inherited, **body, "messages": joined}

    def keep(self, body: Body, message_id: str, content: object) -> None:
        """Remember the conversation so far, as `join` gave it, with the answer it got."""
        messages = body["messages"]
        assert isinstance(messages, list)
        whole = {name: body[name] for name in INHERITED if name in body}
        kept = msgspec.json.encode({**whole, "messages": [*messages, {"role": "assistant", "content": content}]})
        self._forget(message_id)
        self._kept[message_id] = kept
        self.bytes += len(kept)
        while self._kept and (len(self._kept) > self.max_threads or self.bytes > self.max_bytes):
            self._forget(next(iter(self._kept)))

    def _forget(self, message_id: str) -> None:
        self.bytes -= len(self._kept.pop(message_id, b""))
