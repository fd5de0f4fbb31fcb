"""Cross-origin access for browsers: off unless the configuration lists origins. Pure.

`Cors.headers` is what every response to an allowed origin carries besides its own; `Cors.preflight` is what the
browser's question before the request is answered with. An origin that is not listed gets neither, which is how a
browser is refused. Facts: the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from asbru import config
from asbru.errors import Headers

_METHODS = b"GET, HEAD, POST, DELETE"
_PREFIX = b"access-control-"


class Cors:
    """The configured origins, and what is said to them."""

    __slots__ = ("_any", "_max_age", "_origins")

    def __init__(self, settings: config.Cors) -> None:
        self._origins = frozenset(origin.encode("utf-8") for origin in settings.origins)
        self._any = b"*" in self._origins
        self._max_age = b"%d" % settings.max_age_s

    def headers(self, request: Headers) -> Headers:
        """What a response to this request carries; the empty list when it does not come from an allowed origin."""
        origin = _value(request, b"origin")
        if origin is None or not (self._any or origin in self._origins):
            return []
        allow: Headers = [
            (b"access-control-allow-origin", b"*" if self._any else origin),
            (b"access-control-expose-headers", b"*"),
        ]
        return allow if self._any else [*allow, (b"vary", b"origin")]

    def preflight(self, request: Headers) -> Headers:
        """What, besides `headers`, answers an OPTIONS request that asks whether another one would be allowed."""
        if _value(request, b"access-control-request-method") is None:
            return []
        # Echoed, because `*` does not cover `authorization`.
        names = _value(request, b"access-control-request-headers") or b"*"
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", names),
            (b"access-control-max-age", self._max_age),
        ]


def merge(headers: Headers, cors: Headers) -> Headers:
    """A response's headers with ours in place of what an upstream said for its own origin."""
    return [header for header in headers if not header[0].startswith(_PREFIX)] + cors


def _value(headers: Headers, wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None
