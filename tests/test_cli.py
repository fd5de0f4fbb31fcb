"""The command line: what it prints where, its exit codes, and what it imports to do so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from asbru import __version__, cli
from asbru.load import ConfigError
from asbru.load.problems import dotted
from asbru.secrets import digest

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and none of the variables that count."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "ANTHROPIC_API_KEY",
        "ASBRU_CONFIG",
        "ASBRU_HOST",
        "ASBRU_PORT",
        "PORT",
        "ASBRU_MASTER_KEY",
        "HTTPS_PROXY",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


def asbru(*args: str, **environ: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), env=environ)


def test_version() -> None:
    result = asbru("--version")
    assert (result.exit_code, result.output) == (0, f"asbru {__version__}\n")


@pytest.mark.parametrize(
    "args", [["nope"], ["serve", "--port", "65536"], ["serve", "--port", "x"], ["serve", "extra"], ["check", "--nope"]]
)
def test_wrong_usage_exits_2(args: list[str]) -> None:
    result = asbru(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    "args",
    [["check", "--sandbox"], ["check", "--sandbox", "--json"], ["check", "--schema"], ["keys", "generate"], ["-h"]],
)
def test_a_full_disk_is_one_line(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "asbru", *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == "asbru: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_wrong_configuration_exits_2_and_says_where(command: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"auth: {{master_key: {SECRET}}}\nsever: {{}}\n")
    for result in (asbru(command, "--config", str(file)), asbru(command, ASBRU_CONFIG=str(file))):
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr == (
            f"asbru: the configuration is wrong\n{file}:2: sever: unknown key `sever`; did you mean `server`?\n"
        )


def test_a_missing_configuration_exits_2() -> None:
    result = asbru("serve", "--config", "gone.yaml")
    assert result.exit_code == 2
    assert "gone.yaml: cannot be read: No such file or directory" in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_open_gateway_is_not_served_to_others(host: str) -> None:
    result = asbru("serve", "--host", host)
    assert result.exit_code == 2
    assert "environment: server.host: reachable from other machines, and no key is required" in result.stderr


def test_an_open_gateway_is_served_to_others_when_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no key is required"):
        cli.configured(None, host="0.0.0.0", port=0, sandbox=True)
    assert cli.configured(None, host="0.0.0.0", port=0, insecure_open=True, sandbox=True).server.host == "0.0.0.0"


def test_the_configuration_is_read_anew_with_the_same_options(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text("server: {port: 1}\nmodels: {a: [sandbox/x]}")
    first = cli.configured(file, port=2, log_records=True)
    assert (first.server.port, first.log.records, list(first.models)) == (2, "-", ["a"])
    file.write_text("server: {port: 1}\nmodels: {b: [sandbox/x]}")
    second = cli.configured(file, port=2, log_records=True)
    assert (second.server.port, second.log.records, list(second.models)) == (2, "-", ["b"])
    file.write_text("server: {host: 0.0.0.0}")
    with pytest.raises(ConfigError) as caught:
        cli.configured(file)
    assert [dotted(problem.path) for problem in caught.value.problems] == ["server.host", "providers"]


def test_a_reload_does_not_open_a_gateway_that_others_reach(tmp_path: Path) -> None:
    """The address stays at a reload; a file that names another one, and no key any more, is for the next start."""
    file = tmp_path / "asbru.yaml"
    file.write_text("providers: {sandbox: {}}")
    with pytest.raises(ConfigError, match="reachable from other machines"):
        cli.configured(file, listens="0.0.0.0")
    assert cli.configured(file, listens="127.0.0.1").server.host == "127.0.0.1"
    assert cli.configured(file, listens="0.0.0.0", insecure_open=True).server.host == "127.0.0.1"


def test_records_that_cannot_be_kept_keep_it_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text(f"log: {{records: {tmp_path}}}")
    result = subprocess.run(
        [sys.executable, "-m", "asbru", "serve", "--sandbox", "--config", str(file), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"asbru: cannot write records to {tmp_path}: is a directory (log.records)\n"


def test_check_prints_what_it_understood_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text(
        f"{{auth: {{master_key: {SECRET}}}, providers: {{anthropic: {{keys: [{{value: env.KEY}}]}}}}}}"
    )
    (tmp_path / "asbru.yaml").chmod(0o600)
    plain, as_json = asbru("check", "--show", KEY=SECRET), asbru("check", "--json", KEY=SECRET)
    assert plain.exit_code == as_json.exit_code == 0
    assert plain.stderr == as_json.stderr == ""
    assert SECRET not in plain.output + as_json.output
    config = json.loads(as_json.stdout)
    assert yaml.safe_load(plain.stdout) == config
    assert config["auth"] == {"required": True, "allow_direct_keys": False, "master_key": "***"}
    assert config["providers"]["anthropic"]["keys"][0]["value"] == "env.KEY"
    assert config["providers"]["anthropic"]["base_url"] == "https://api.anthropic.com"


def test_what_check_prints_is_a_configuration(tmp_path: Path) -> None:
    text = "providers: {anthropic: {keys: [{value: env.KEY}]}, sandbox: {}}\nlog: {records: off}"
    (tmp_path / "asbru.yaml").write_text(text)
    printed = asbru("check", "--show", KEY=SECRET).stdout
    (tmp_path / "again.yaml").write_text(printed)
    again = asbru("check", "--show", "--config", "again.yaml", KEY=SECRET).stdout
    # The sandbox takes any key; the one it has by itself is shown as a text in its place.
    assert again == printed.replace("value: built-in", "value: '***'")


def test_check_prints_a_summary(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text(
        "providers: {anthropic: {keys: [{value: env.KEY}]}}\nmodels: {a: [anthropic/x]}"
    )
    result = asbru("check", KEY=SECRET)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "  provider anthropic: anthropic, https://api.anthropic.com; keys: key-1 (env.KEY)\n"
        "  aliases: a\n"
        "  auth: not required, 0 virtual keys, no master key\n"
        "OK: asbru.yaml\n"
    )
    (tmp_path / "asbru.yaml").write_text("log: {records: gone/x}")
    assert "OK" not in asbru("check").stdout


def test_what_stands_for_a_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text("auth: {master_key: '***'}")
    for result in (asbru("check"), asbru("check", ASBRU_MASTER_KEY="***", ASBRU_CONFIG="/dev/null")):
        assert result.exit_code == 2
    result = asbru("check")
    assert (
        "asbru.yaml:1: auth.master_key: the value is `***`, which stands for a secret that is not shown"
        in result.stderr
    )


def test_the_other_usual_name_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "asbru.yml").write_text("models: {b: [sandbox/x]}")
    assert asbru("check").stdout.endswith("OK: asbru.yml\n")
    (tmp_path / "asbru.yaml").write_text("models: {a: [sandbox/x]}")
    assert asbru("check").stdout.endswith("OK: asbru.yaml\n")


@pytest.mark.parametrize(
    ("text", "environ", "args", "address"),
    [
        ("{}", {}, {}, ("127.0.0.1", 8080)),
        ("{}", {"PORT": "81"}, {}, ("127.0.0.1", 81)),
        ("server: {port: 82}", {"PORT": "81"}, {}, ("127.0.0.1", 82)),
        ("server: {port: 82}", {"PORT": "81", "ASBRU_PORT": "83"}, {}, ("127.0.0.1", 83)),
        ("server: {host: '::1'}", {"ASBRU_HOST": "localhost", "ASBRU_PORT": "0"}, {}, ("localhost", 0)),
        ("{}", {"ASBRU_HOST": "x", "ASBRU_PORT": "y"}, {"host": "::1", "port": 84}, ("::1", 84)),
        ("{}", {"ASBRU_HOST": "", "ASBRU_PORT": "", "PORT": " "}, {}, ("127.0.0.1", 8080)),
    ],
)
def test_where_to_listen_is_said_by_variables_too(
    text: str,
    environ: dict[str, str],
    args: cli.Options,
    address: tuple[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text(text)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    server = cli.configured(file, **args).server
    assert (server.host, server.port) == address


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("ASBRU_PORT", "65536"), ("ASBRU_PORT", "-1")])
def test_a_variable_that_is_no_port_is_named(name: str, value: str) -> None:
    result = asbru("check", **{name: value})
    assert result.exit_code == 2
    assert f"server.port: the environment variable {name} must be a port, 0 to 65535" in result.stderr


def test_an_address_from_the_environment_opens_no_gateway() -> None:
    assert "server.host: reachable from other machines" in asbru("check", ASBRU_HOST="0.0.0.0").stderr


def test_a_host_that_is_none_is_told_as_that() -> None:
    for args in (["serve"], ["check"]):
        result = asbru(*args, "--host", "no.such.invalid")
        assert result.exit_code == 2
        assert "server.host: the host name 'no.such.invalid' cannot be resolved" in result.stderr
        assert "reachable" not in result.stderr


def test_a_check_needs_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text(
        "auth: {master_key: env.A}\nvirtual_keys: [{name: t, value: env.B}]\n"
        "providers: {anthropic: {}, openai: {keys: [{value: env.C}], base_url: env.D, proxy: env.E}}"
    )
    assert asbru("check").exit_code == 2
    result = asbru("check", "--allow-missing-env")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "keys: key-1 (env.ANTHROPIC_API_KEY)" in result.stdout and result.stdout.endswith("OK: asbru.yaml\n")
    (tmp_path / "asbru.yaml").write_text("auth: {master_key: env.A}\nsever: {}")
    result = asbru("check", "--allow-missing-env")
    assert result.exit_code == 2
    assert "unknown key `sever`" in result.stderr and "is not set" not in result.stderr
    assert asbru("serve", "--allow-missing-env").exit_code == 2


def test_an_empty_key_does_not_start_the_sandbox(tmp_path: Path) -> None:
    result = asbru("check", ANTHROPIC_API_KEY=" ")
    assert result.exit_code == 2
    assert "providers.anthropic: the environment variable ANTHROPIC_API_KEY is empty; set or unset it" in result.stderr
    assert asbru("check", "--sandbox", ANTHROPIC_API_KEY="").exit_code == 0
    (tmp_path / "asbru.yaml").write_text("providers: {ollama: {}}")  # what is not meant to be used may be empty
    assert asbru("check", ANTHROPIC_API_KEY="").exit_code == 0


def test_a_gateway_that_makes_answers_up_says_so(tmp_path: Path) -> None:
    assert "warning: only the built-in sandbox answers, with made-up text" in asbru("check").stderr
    assert asbru("check", "--sandbox").stderr == ""
    assert asbru("check", ANTHROPIC_API_KEY=SECRET).stderr == ""


def test_the_sandbox_is_served_to_others_only_when_that_is_said(tmp_path: Path) -> None:
    reach = ["check", "--host", "0.0.0.0", "--insecure-open"]
    result = asbru(*reach)
    assert result.exit_code == 2
    assert "providers: no provider is configured; pass --sandbox" in result.stderr
    assert asbru(*reach, "--sandbox").exit_code == 0
    (tmp_path / "asbru.yaml").write_text("providers: {sandbox: {}}")
    assert asbru(*reach).exit_code == 0


def test_check_tells_programs_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text("server:\n  hots: x\n")
    result = asbru("check", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "file": "asbru.yaml",
        "problems": [{"path": "server.hots", "line": 2, "message": "unknown key `hots`; did you mean `host`?"}],
    }


def test_check_refuses_what_serve_would_refuse(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text("server: {host: 0.0.0.0}\nlog: {records: gone/records.jsonl}")
    result = asbru("check")
    assert result.exit_code == 2
    assert "server.host: reachable from other machines" in result.stderr
    result = asbru("check", "--insecure-open", "--sandbox", "--json")
    assert result.exit_code == 3
    message = "cannot write records to gone/records.jsonl: no such file or directory (log.records)"
    assert result.stderr == f"asbru: {message}\n"
    assert json.loads(result.stdout) == {
        "file": "asbru.yaml",
        "problems": [{"path": "log.records", "line": None, "message": message}],
    }


@pytest.mark.parametrize(
    ("text", "holds_secrets"),
    [
        (f"auth: {{master_key: {SECRET}}}", True),
        (f"virtual_keys: [{{name: a, value: sk-bf-{SECRET}}}]", True),
        (f"providers: {{anthropic: {{keys: [{{value: {SECRET}}}]}}}}", True),
        (f"providers: {{sandbox: {{proxy: 'http://me:{SECRET}@127.0.0.1:1'}}}}", True),
        ("providers: {sandbox: {proxy: 'http://127.0.0.1:1'}}", False),
        ("providers: {sandbox: {proxy: ''}}", False),
        ("auth: {master_key: env.KEY}", False),
        (f"virtual_keys: [{{name: a, digest: {digest(SECRET)}}}]", False),
        ("{}", False),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_secrets_that_others_may_read_are_warned_of(text: str, holds_secrets: bool, mode: int, tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text(text)
    file.chmod(mode)
    result = asbru("check", "--sandbox", KEY=SECRET)
    assert result.exit_code == 0
    if holds_secrets and mode != 0o600:
        assert result.stderr.startswith(f"asbru: warning: `asbru.yaml` holds secrets, and its mode 0{mode:o} lets ")
        assert "chmod 600" in result.stderr and "env.NAME" in result.stderr
        assert SECRET not in result.output
    else:
        assert result.stderr == ""


def test_a_start_warns_of_secrets_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text(f"auth: {{master_key: {SECRET}}}\nlog: {{records: gone/x}}")
    file.chmod(0o644)
    result = subprocess.run([sys.executable, "-m", "asbru", "serve"], capture_output=True, text=True, check=False)
    assert "asbru: warning: `asbru.yaml` holds secrets, and its mode 0644" in result.stderr
    assert SECRET not in result.stderr


def test_check_prints_the_schema_whatever_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "asbru.yaml").write_text("not: valid")
    result = asbru("check", "--schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["$defs"]["Server"]["properties"]["port"]["maximum"] == 65535


def test_keys_generate_prints_a_key_and_its_digest() -> None:
    as_json = json.loads(asbru("keys", "generate", "--json").stdout)
    assert as_json["key"].startswith("sk-bf-")
    assert as_json["digest"] == digest(as_json["key"])
    lines = dict(line.split() for line in asbru("keys", "generate").stdout.splitlines())
    assert digest(lines["key:"]) == lines["digest:"]
    assert lines["key:"] != as_json["key"]


def test_keys_are_generated_by_name_and_number() -> None:
    one = json.loads(asbru("keys", "generate", "--name", "team-a", "--json").stdout)
    assert (one["name"], one["digest"]) == ("team-a", digest(one["key"]))
    several = json.loads(asbru("keys", "generate", "--name", "team", "--count", "3", "--json").stdout)
    assert [entry["name"] for entry in several] == ["team-1", "team-2", "team-3"]
    assert len({entry["key"] for entry in several}) == 3
    result = asbru("keys", "generate", "--name", "a b")
    assert (result.exit_code, "'a b' is not a valid name" in result.stderr) == (2, True)


def test_generated_entries_go_into_a_configuration(tmp_path: Path) -> None:
    made = asbru("keys", "generate", "--name", "team", "--count", "2", "--yaml")
    assert "sk-bf-" not in made.stdout, "the keys are not part of the configuration"
    keys = dict(line.split(": ") for line in made.stderr.splitlines())
    assert set(keys) == {"team-1", "team-2"}
    (tmp_path / "asbru.yaml").write_text("virtual_keys:\n" + made.stdout)
    assert asbru("check", "--config", "asbru.yaml").exit_code == 0
    assert digest(keys["team-2"]) in made.stdout


def test_the_digest_of_an_existing_key() -> None:
    runner = CliRunner()
    assert runner.invoke(cli.main, ["keys", "digest"], input="sk-1234\n").stdout == digest("sk-1234") + "\n"
    for wrong in ("", "two keys"):
        assert runner.invoke(cli.main, ["keys", "digest"], input=wrong).exit_code == 2


def test_a_generated_key_and_its_digest_can_be_configured(tmp_path: Path) -> None:
    made = json.loads(asbru("keys", "generate", "--json").stdout)
    keys = [{"name": "a", "value": made["key"]}, {"name": "b", "digest": made["digest"]}]
    (tmp_path / "asbru.json").write_bytes(msgspec.json.encode({"virtual_keys": keys[1:]}))
    assert asbru("check", "--config", "asbru.json").exit_code == 0
    (tmp_path / "asbru.json").write_bytes(msgspec.json.encode({"virtual_keys": keys}))
    assert "virtual_keys[1]: is the same key as virtual_keys[0]" in asbru("check", "--config", "asbru.json").stderr


PRINT_IMPORTS = """
import sys
from click.testing import CliRunner
before = set(sys.modules)
from asbru.cli import main
assert CliRunner().invoke(main, sys.argv[1:]).exit_code == 0
print(*sorted(set(sys.modules) - before))
"""


def imported_by(*args: str) -> set[str]:
    """What a command imports that nothing before it did."""
    result = subprocess.run([sys.executable, "-c", PRINT_IMPORTS, *args], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_a_command_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    (tmp_path / "a.toml").touch()
    assert not imported_by("--version") & {"msgspec", "yaml", "uvloop", "asyncio", "asbru.config", "asbru.app"}
    assert not imported_by("check", "--config", "a.toml", "--json") & {"yaml", "difflib", "uvloop", "asbru.app"}


def test_asbru_is_a_module_and_a_command() -> None:
    for command in ([sys.executable, "-m", "asbru"], [str(Path(sys.executable).with_name("asbru"))]):
        result = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert result.stdout == f"asbru {__version__}\n"
