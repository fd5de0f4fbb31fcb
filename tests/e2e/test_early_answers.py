"""A refusal that comes while the client is still sending its body is read by it, and is no broken connection."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Gateway, Server

MIB = 1 << 20
CASES = {
    "401 with 8 MiB": ("/v1/messages", "sk-bf-unknown", 8 * MIB, 401),
    "413 with 150 MiB": ("/v1/messages", "", 150 * MIB, 413),
    "404 with 8 MiB": ("/v1/nothing", "", 8 * MIB, 404),
}
every_case = pytest.mark.parametrize("case", CASES)
TRIES = 5
"""Whether a client wrote into a reset was a matter of chance."""

NODE = """
const [url, path, key, size] = process.argv.slice(2);
const headers = { "content-type": "application/json", ...(key ? { "x-api-key": key } : {}) };
const body = Buffer.alloc(Number(size), "x");
const response = await fetch(url + path, { method: "POST", headers, body });
console.log(JSON.stringify({ status: response.status, body: await response.json() }));
"""


@pytest.fixture(scope="module")
def refusing(sandbox: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An open gateway that knows one virtual key."""
    config: dict[str, object] = {
        "auth": {"required": False},
        "providers": {"sandbox": {"base_url": sandbox.url}},
        "virtual_keys": [{"name": "known", "value": "sk-bf-" + "k" * 43}],
    }
    with Gateway(tmp_path_factory.mktemp("refusing"), config) as running:
        yield running


@every_case
def test_nodes_fetch_reads_the_refusal(refusing: Gateway, case: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which is not installed here")
    path, key, size, status = CASES[case]
    script = tmp_path / "post.mjs"
    script.write_text(NODE)
    for _ in range(TRIES):
        run = subprocess.run(
            [node, script, refusing.url, path, key, str(size)],
            env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        answer = json.loads(run.stdout)
        assert (answer["status"], answer["body"]["type"]) == (status, "error")


@every_case
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_http_client_reads_the_refusal(refusing: Gateway, case: str, chunked: bool) -> None:
    """`http.client` sends all of a body before it reads."""
    path, key, size, status = CASES[case]
    if size > 32 * MIB:
        size = 40 * MIB  # more than the limit, and no more than is waited for
    headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
    connection = http.client.HTTPConnection("127.0.0.1", refusing.port, timeout=60)
    body = (b"x" * MIB for _ in range(size // MIB)) if chunked else b"x" * size
    connection.request("POST", path, body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["type"]) == (status, "error")
    connection.close()
