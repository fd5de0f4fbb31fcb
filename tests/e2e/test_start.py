"""`asbru serve` as a newcomer meets it: no configuration, the line it says to try, memory, exit codes.

How long a start takes is measured by bench/startup.py, not tested: a busy machine would decide.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from asbru.secrets import new_virtual_key
from tests.e2e.clients import MODEL, connect, user
from tests.e2e.running import Gateway, Json, Server, bare_environment

RESIDENT_BYTES = 60_000_000
RUN_S = 30


def paste(example: str, directory: Path, environment: dict[str, str]) -> Json:
    """What the example answers, run by a shell with curl; without curl its arguments are sent as it would send them."""
    bare = bare_environment(directory) | environment
    if shutil.which("curl"):
        done = subprocess.run(
            ["sh", "-c", example], cwd=directory, env=bare, capture_output=True, text=True, timeout=RUN_S
        )
        assert done.returncode == 0, done.stderr
        answer = httpx2.Response(200, text=done.stdout).json()
    else:
        program, url, *rest = shlex.split(os.path.expandvars(example))
        given = list(zip(rest[::2], rest[1::2], strict=True))
        headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
        assert program == "curl" and given[-1][0] == "-d"
        answer = httpx2.post(url, headers=headers, content=given[-1][1]).json()
    assert isinstance(answer, dict)
    return answer


def test_example_without_a_configuration(tmp_path: Path) -> None:
    """An empty directory and an empty environment are enough: the sandbox answers."""
    with Server(tmp_path, "serve", "--port", "0") as server:
        said = server.rest_of_start()
        assert said[0] == "configuration: environment"
        assert said[1].startswith("provider sandbox: anthropic, built in")
        assert said[-1].startswith(f"curl {server.url}/v1/messages ")
        answer = paste(said[-1], tmp_path, {})
        assert answer["type"] == "message" and answer["stop_reason"] in ("end_turn", "max_tokens")


def test_example_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key stands in the line as the name of its variable, and the line works where that is set."""
    key = new_virtual_key()
    config: Json = {
        "providers": {"sandbox": {}},
        "virtual_keys": [{"name": "mine", "value": "env.MY_KEY"}],
        "models": {"it's fast": [f"sandbox/{MODEL}"]},
    }
    monkeypatch.setenv("MY_KEY", key)
    with Gateway(tmp_path, config, environment={"MY_KEY": key}) as gateway:
        assert key not in gateway.example and "$MY_KEY" in gateway.example
        assert paste(gateway.example, tmp_path, {"MY_KEY": key})["model"] == MODEL
        assert gateway.record_with(principal="mine")["model"] == "it's fast"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to read resident memory")
def test_memory(tmp_path: Path) -> None:
    """Gateway and sandbox in one process stay small, at the start and after some work."""
    with Gateway(tmp_path, {"providers": {"sandbox": {}}}) as gateway, connect(gateway.url) as client:
        client.messages.create(model=MODEL, max_tokens=50, messages=[user("First")])
        assert gateway.resident_bytes() < RESIDENT_BYTES
        for number in range(200):
            with client.messages.stream(model=MODEL, max_tokens=300, messages=[user(f"Message {number}")]) as stream:
                stream.until_done()
        assert gateway.resident_bytes() < RESIDENT_BYTES


def run_and_end(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and standard error of a command that is not expected to serve."""
    done = subprocess.run(
        [sys.executable, "-m", "asbru", *arguments],
        cwd=directory,
        env=bare_environment(directory) | (environment or {}),
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    return done.returncode, done.stderr


def test_port_in_use(tmp_path: Path) -> None:
    """One message, from every command that listens; `check` may run beside the gateway that has the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (("serve", "--sandbox"), ("sandbox",)):
            assert run_and_end(tmp_path, *command, "--port", port) == (
                3,
                f"asbru: cannot listen on 127.0.0.1:{port}: address already in use (choose another with --port)\n",
            )
        assert run_and_end(tmp_path, "check", "--sandbox", "--port", port) == (0, "")


@pytest.mark.parametrize(
    ("config", "options", "code", "reason"),
    [
        ("{", [], 2, "not JSON"),
        ("{}", ["--host", "0.0.0.0"], 2, "no key is required"),
        (
            '{"log": {"records": "gone/records.jsonl"}}',
            [],
            3,
            "cannot write records to gone/records.jsonl: no such file",
        ),
        ('{"log": {"records": "gone"}}', [], 0, ""),
        ('{"log": {"records": "/"}}', [], 3, "cannot write records to /: is a directory (log.records)"),
        ('{"log": {"records": "asbru.json/x"}}', [], 3, "cannot write records to asbru.json/x: not a directory"),
        ("{}", ["--host", "192.0.2.1", "--insecure-open", "--sandbox"], 3, "cannot listen on 192.0.2.1:0: "),
        (
            "{}",
            ["--host", "a..b", "--insecure-open", "--sandbox"],
            3,
            "cannot listen on a..b:0: the name cannot be resolved: ",
        ),
        (
            "{}",
            ["--host", "::ffff:192.0.2.1", "--insecure-open", "--sandbox"],
            3,
            "cannot listen on [::ffff:192.0.2.1]:0: ",
        ),
    ],
)
def test_check_and_serve_agree(config: str, options: list[str], code: int, reason: str, tmp_path: Path) -> None:
    """Whatever keeps `serve` from starting, `check` reports it in the same words and with the same exit code."""
    (tmp_path / "asbru.json").write_text(config)
    arguments = ["--config", "asbru.json", "--port", "0", *options]
    checked = run_and_end(tmp_path, "check", *arguments)
    assert checked[0] == code and reason in checked[1]
    assert not (tmp_path / "gone").exists()
    if code == 0:
        with Server(tmp_path, "serve", *arguments):
            pass
    else:
        assert run_and_end(tmp_path, "serve", *arguments) == checked


@pytest.mark.parametrize(("variable", "what"), [("SSL_CERT_FILE", "file"), ("SSL_CERT_DIR", "directory")])
def test_certificates_that_are_missing(variable: str, what: str, tmp_path: Path) -> None:
    """OpenSSL would go on without any, and every provider would be refused."""
    (tmp_path / "asbru.json").write_text('{"providers": {"anthropic": {"keys": [{"value": "sk-ant-x"}]}}}')
    environment = {variable: "/nowhere/certificates"}
    for command in ("check", "serve"):
        code, said = run_and_end(tmp_path, command, "--config", "asbru.json", "--port", "0", environment=environment)
        assert (code, f"{variable}: no such {what}: /nowhere/certificates" in said) == (3, True), said


@pytest.mark.parametrize("command", ["serve", "sandbox"])
def test_standard_output_that_is_closed(command: str, tmp_path: Path) -> None:
    """It is served all the same; no socket takes the number of the closed stream, upon which libuv would abort."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "asbru", command, "--port", str(port)]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *arguments]
    with run_silent(closed, tmp_path) as process:
        while status_of(f"http://127.0.0.1:{port}/health/live") is None:
            assert process.poll() is None
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
        assert (process.wait(RUN_S), "standard output is closed" in said) == (0, True), said


def test_standard_output_that_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with run_silent([sys.executable, "-m", "asbru", "serve", "--port", "0"], tmp_path, stdout=writing) as process:
        os.close(writing)
        assert process.stderr is not None
        while "standard output cannot be written: Broken pipe" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(RUN_S) == 0 and "Traceback" not in rest, rest


def test_records_on_a_closed_standard_output(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "asbru", "serve", "--port", "0", "--log-records"]
    with run_silent(["sh", "-c", 'exec "$@" >&-', "sh", *arguments], tmp_path) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(RUN_S) == 3
        assert "asbru: cannot write records to -: standard output is closed (log.records)" in said


@contextmanager
def run_silent(
    command: list[str], directory: Path, *, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """A command of which only standard error is read; it is gone at the end."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=bare_environment(directory),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(RUN_S, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def status_of(url: str) -> int | None:
    """The status of an answer; None when nothing listens yet."""
    try:
        return httpx2.get(url).status_code
    except httpx2.ConnectError:
        return None


def test_wrong_configuration(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text("providers:\n  sandbox:\n    max_retires: 2\n")
    code, said = run_and_end(tmp_path, "serve", "--port", "0")
    assert code == 2
    assert "max_retires" in said and "max_retries" in said and "asbru.yaml" in said


def test_open_to_others(tmp_path: Path) -> None:
    code, said = run_and_end(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "server.host" in said and "virtual_keys" in said


def test_known_provider_from_the_environment(tmp_path: Path) -> None:
    """A key in its usual place is enough for its provider; the key itself is not shown."""
    nowhere = "http://127.0.0.1:9"  # the provider's list of models would be asked for
    environment = {"ANTHROPIC_API_KEY": "sk-ant-of-this-test", "HTTPS_PROXY": nowhere}
    with Server(tmp_path, "serve", "--port", "0", environment=environment) as server:
        said = "\n".join(server.rest_of_start())
        assert "provider anthropic: anthropic, https://api.anthropic.com" in said
        assert "env.ANTHROPIC_API_KEY" in said and "sk-ant" not in said
        assert httpx2.get(f"{server.url}/health/ready").json() == {"status": "ok"}


def test_the_readme_shows_what_a_start_prints(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")
    shown = readme.split("```\nasbru listens on ", 1)[1].split("\n```", 1)[0].splitlines()
    with Server(tmp_path, "serve", "--sandbox", "--port", "0") as server:
        printed = [server.url, *server.rest_of_start()]
    assert [line.strip() for line in shown] == [line.replace(str(server.port), "8080") for line in printed]
