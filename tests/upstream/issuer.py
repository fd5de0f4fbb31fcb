"""Something that hands out credentials, on a real socket: AWS's STS and container endpoint, Google's and Microsoft's.

It runs in a thread of its own, since botocore and google-auth ask it from threads of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs


class Asked(NamedTuple):
    """A request for a credential."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    form: dict[str, str]


Says = Callable[[Asked], tuple[int, bytes]]


class Issuer:
    """Answers each request as it is told; keeps them all."""

    def __init__(self, says: Says, content_type: str = "application/json") -> None:
        self.says = says
        self.seen: list[Asked] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, form)
                issuer.seen.append(asked)
                status, answer = issuer.says(asked)
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(answer)))
                self.send_header("metadata-flavor", "Google")
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
