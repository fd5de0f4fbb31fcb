"""Between a client and the gateway: every request and response goes through and is kept, so that a test can look at
what a program like Claude Code does not show.

A response goes to the client when it is complete; how it came in pieces is not tested here.
"""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}
TIMEOUT_S = 60.0


class Passed(NamedTuple):
    """One request and its response."""

    method: str
    path: str
    sent: bytes
    status: int
    headers: dict[str, str]
    """Of the response, with names in lower case."""
    body: bytes


class Tap:
    """Listens on `url` and passes everything on to the server on ``port``."""

    def __init__(self, port: int) -> None:
        self.passed: list[Passed] = []
        """In the order in which the responses were complete."""
        tap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = TIMEOUT_S

            def parse_request(self) -> bool:
                found = super().parse_request()
                if found:
                    setattr(self, f"do_{self.command}", self._pass)
                return found

            def _pass(self) -> None:
                sent = self.rfile.read(int(self.headers.get("content-length", 0)))
                kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
                try:
                    connection.request(self.command, self.path, sent or None, kept)
                    response = connection.getresponse()
                    body = response.read()
                finally:
                    connection.close()
                headers = {name.lower(): value for name, value in response.getheaders()}
                tap.passed.append(Passed(self.command, self.path, sent, response.status, headers, body))
                self.send_response_only(response.status)
                for name, value in headers.items():
                    if name not in _HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The gateway has a log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
