"""The bare ASGI application: the only file that knows ASGI.

`application` makes the callable that uvicorn is given. It runs the handler with the `Exchange` and is where every
error ends: a `GatewayError` becomes a response or an event, anything else is logged once and becomes a 500.

ASGI's own messages are not used to move the bytes. Our connection class makes the Exchange itself and hands it over in
the scope's extensions, where ASGI provides for such things; a dictionary and a coroutine per message would add 2.5 µs
to the 11 µs that parsing a request and writing its response take, and ASGI has no word for most of what the Exchange
promises: cancelling on disconnect, bounded bodies, an early refusal that reaches the client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from asbru import errors
from asbru.errors import GatewayError, internal_error
from asbru.server import routes
from asbru.server.cors import Cors
from asbru.server.exchange import Handler
from asbru.server.http_exchange import HttpExchange

log = logging.getLogger("asbru.server")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

EXTENSION = "asbru.exchange"


def application(handler: Handler, cors: Cors | None) -> Application:
    """An ASGI application that gives every request to ``handler``; it must be called as `call` does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: HttpExchange = scope["extensions"][EXTENSION]
        try:
            if exchange.method == "OPTIONS":
                options(exchange, cors)
                return
            await handler(exchange)
            if not exchange.finished and not exchange.aborted:
                raise RuntimeError("the handler ended without finishing its response")
        except GatewayError as error:
            exchange.fail(error)
        except asyncio.CancelledError:
            if not exchange.is_drained:
                raise
            exchange.fail(GatewayError("draining", "The gateway is shutting down", retry_after_s=1))
        except Exception:
            log.exception("%s: %s %s failed", exchange.name(), exchange.method, exchange.path.decode("latin-1"))
            exchange.fail(internal_error(exchange.name()))
        finally:
            exchange.wire.exchange_ended(exchange)

    return app


def options(exchange: HttpExchange, cors: Cors | None) -> None:
    """What may be done here: the path's methods, and for a browser of an allowed origin what it asked about."""
    identity = errors.identity(exchange.name())
    if exchange.path == b"*":
        exchange.give(204, identity, b"")
        return
    found = routes.find(exchange.path)
    if found is None:
        raise routes.not_found(exchange.method, exchange.path)
    headers = [(b"allow", routes.allowed(found)), *identity]
    if cors is not None and exchange.cors:
        exchange.cors += cors.preflight(exchange.head.headers)
    exchange.give(204, headers, b"")


def call(app: Application, exchange: HttpExchange) -> Coroutine[Any, Any, None]:
    """Hand the exchange to the application."""
    return app({"type": "http", "extensions": {EXTENSION: exchange}}, _receive, _send)


async def _receive() -> MutableMapping[str, Any]:
    raise RuntimeError(f"the request is in the scope's extension {EXTENSION}")


async def _send(message: MutableMapping[str, Any]) -> None:
    raise RuntimeError(f"the response is given to the scope's extension {EXTENSION}")
