"""A stock nginx in front, whose proxy_buffering is on: a stream passes as it comes, and large bodies are explained."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gateway.provider import BLOCK, EVENTS, HELLO, START, Upstream
from tests.gateway.support import Client, asked, providers, run, serving
from tests.upstream.rawserver import until

# What Debian's package comes with, but for where files are and that there is no daemon.
CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    server {{
        listen unix:{folder}/nginx.sock;
        location / {{ proxy_pass http://127.0.0.1:{port}; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[Path]:
    """The socket of a running nginx in front of this port."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        pytest.skip("needs nginx, which is not installed here")
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, port=port))
    process = subprocess.Popen([program, "-c", conf, "-e", folder / "error.log"], stderr=subprocess.DEVNULL)
    try:
        yield folder / "nginx.sock"
    finally:
        process.terminate()
        process.wait(10)


def test_a_stream_passes_event_by_event(tmp_path: Path) -> None:
    """The provider says the rest only when the client has read the first events."""

    async def main() -> None:
        async with Upstream() as provider, serving(providers(provider)) as gateway:
            with nginx(tmp_path, gateway.port) as socket:
                await until(socket.exists)
                client = Client(*await asyncio.open_unix_connection(str(socket)))
                await client.send(asked(stream=True))
                turn = await provider.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK, HELLO)
                reply = await client.head()
                assert reply.status == 200
                await reply.until(HELLO)  # the rest has not been sent yet
                await turn.chunk(*EVENTS[4:])
                await turn.end()
                await reply.rest()
                client.cut()
            assert reply.body == START + BLOCK + HELLO + b"".join(EVENTS[4:])

    run(main())
