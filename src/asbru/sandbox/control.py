"""The sandbox's own endpoints below ``/sandbox``: scripted replies and the log of requests.

They exist only where the sandbox has a port of its own (``asbru sandbox``, `asbru.sandbox.running`), not on the sandbox
inside a gateway. No credential is needed, as for the rest of the sandbox, and errors have the Messages API's shape.
"""

from __future__ import annotations

import msgspec

from asbru.errors import GatewayError
from asbru.sandbox.answers import ApiError, Reply, invalid
from asbru.sandbox.replies import MAX_TOTAL_BYTES, Replies, parse
from asbru.sandbox.request_log import RequestLog
from asbru.server.exchange import Exchange

PREFIX = b"/sandbox/"
_METHODS: dict[bytes, tuple[str, ...]] = {
    b"/sandbox/replies": ("GET", "PUT", "POST"),
    b"/sandbox/requests": ("GET", "DELETE"),
}


class Control:
    """What may be asked of a sandbox besides messages."""

    def __init__(self, replies: Replies, log: RequestLog) -> None:
        self._replies = replies
        self._log = log

    async def handle(self, exchange: Exchange) -> None:
        reply = Reply(exchange)
        try:
            await reply.json(await self._answer(exchange))
        except ApiError as error:
            await reply.error(error)
        except GatewayError as error:  # the server's, about the body
            await reply.error(ApiError(error.row.status, error.message))
        except RecursionError:
            await reply.error(invalid("The request body is nested too deeply."))

    async def _answer(self, exchange: Exchange) -> object:
        methods = _METHODS.get(exchange.path)
        if methods is None:
            paths = " and ".join(path.decode() for path in _METHODS)
            raise ApiError(404, f"Not found; the sandbox's own endpoints are {paths}")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method not in methods:
            raise ApiError(405, "Method Not Allowed", headers=[(b"allow", ", ".join(methods).encode())])
        if exchange.path == b"/sandbox/requests":
            if method == "DELETE":
                self._log.clear()
            return {"data": self._log.show()}
        if method != "GET":
            replies = parse(_decoded(await exchange.body(MAX_TOTAL_BYTES)))
            (self._replies.replace if method == "PUT" else self._replies.add)(replies)
        return {"data": self._replies.waiting()}


def _decoded(body: bytes) -> object:
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from error
    return value
