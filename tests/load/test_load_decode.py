"""Plain values to structs: every fault with its place and the nearest name, and references to secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asbru.config import Config
from asbru.load import ConfigError, load
from asbru.load.decode import MAX_SECRET_FILE_BYTES, MAX_VALUES
from asbru.load.problems import nearest

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]

SECTIONS = "`auth`, `fetch`, `log`, `models`, `prices`, `providers`, `routing`, `server`, `stream`, `virtual_keys`"
NAME = "a name (letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit)"
SECRET = "hunter2-hunter2"


def key(value: str) -> str:
    return f"providers:\n  anthropic:\n    keys:\n      - value: {value}\n"


def test_every_fault_is_reported_at_once(complaints: Complaints) -> None:
    text = """
server: {port: 99999, hots: x}
providers:
  anthropic:
    keys:
      - {value: env.NOPE, weigth: 1}
      - value: 12345
log: {level: inof}
"""
    assert complaints(text) == {
        "server.port": "expected a port, 0 to 65535, got 99999",
        "server.hots": "unknown key `hots`; did you mean `host`?",
        "providers.anthropic.keys[0].value": "the environment variable NOPE is not set",
        "providers.anthropic.keys[0].weigth": "unknown key `weigth`; did you mean `weight`?",
        "providers.anthropic.keys[1].value": "expected a secret (text), got a number",
        "log.level": "expected one of `debug`, `info`, `warning`, `error`, got other text; did you mean `info`?",
    }


def test_a_message_names_file_line_and_path(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text("server:\n  port: 1\nproviders:\n  anthropic:\n    keys:\n    - weigth: 2\n      value: x\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert (
        str(caught.value)
        == f"{file}:6: providers.anthropic.keys[0].weigth: unknown key `weigth`; did you mean `weight`?"
    )


def test_many_faults_are_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "asbru.yaml"
    file.write_text("\n".join(f"k{number}: 1" for number in range(50)))
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert len(caught.value.problems) == 50
    assert str(caught.value).splitlines()[-1] == f"{file}: and 30 more"


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("jobs: {concurrency: 5}", "jobs", f"unknown key `jobs`; known here: {SECTIONS}"),
        ("Server: {}", "Server", "unknown key `Server`; did you mean `server`?"),
        ("stream: {x: 1}", "stream.x", "unknown key `x`; known here: `idle_s`, `ping_s`"),
        ("[1]", "", "expected a mapping, got a list"),
        ("server: 5", "server", "expected a mapping, got a number"),
        ("server: {port: '80'}", "server.port", "expected a port, 0 to 65535, got text"),
        ("server: {port: true}", "server.port", "expected a port, 0 to 65535, got true"),
        ("server: {port: }", "server.port", "expected a port, 0 to 65535, got nothing"),
        ("server: {port: 1.5}", "server.port", "expected a port, 0 to 65535, got 1.5"),
        ("server: {drain_s: -1}", "server.drain_s", "expected a number, 0 or more, got -1"),
        ("server: {host: ''}", "server.host", "expected text, got an empty text"),
        ("server: {host: 5}", "server.host", "expected text, got a number"),
        ("auth: {required: yes}", "auth.required", "expected true or false, got text"),
        ("models: {fast: a/b}", "models.fast", "expected a list, got text"),
        ("models: {fast: [[a]]}", "models.fast[0]", "expected text, got a list"),
        ("virtual_keys: {a: 1}", "virtual_keys", "expected a list, got a mapping"),
        ("virtual_keys: [{digest: abc}]", "virtual_keys[0]", "`name` is missing"),
        ("prices: {a/b: {input: 1}}", "prices.a/b", "`output` is missing"),
        ("routing: {retry_budget: 2}", "routing.retry_budget", "expected a number from 0 to 1, got 2"),
        ("stream: {idle_s: 1e999}", "stream.idle_s", "expected a number above 0, and a finite one"),
        (
            "providers: {'a b': {}}",
            "providers.`a b`",
            f"expected {NAME}, got other text",
        ),
        (
            "virtual_keys: [{name: a, digest: ABC}]",
            "virtual_keys[0].digest",
            "expected 64 hexadecimal digits, in lower case, got other text",
        ),
    ],
)
def test_one_fault(complaints: Complaints, text: str, path: str, says: str) -> None:
    assert complaints(text).get(path) == says


def test_empty_sections_are_defaults(loads: Loads) -> None:
    assert loads("server:\nproviders:\n  sandbox:\nvirtual_keys:\nmodels:\n") == loads("")
    assert loads("", name="empty.yaml") == loads("{}", name="a.json") == loads("", name="a.toml")


def test_nearest_name() -> None:
    assert nearest("weigth", ["value", "weight"]) == "; did you mean `weight`?"
    assert nearest("zzz", ["value", "weight"], "there are") == "; there are: `value`, `weight`"
    assert nearest("zzz", []) == ""


# References


def test_references_are_resolved(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    text = f"""
auth: {{master_key: os.environ/MASTER}}
providers:
  anthropic:
    keys:
      - value: env.KEY
      - value: file:{tmp_path}/key
      - value: " {SECRET} "
  eu:
    dialect: anthropic
    base_url: env.EU_URL
    proxy: env.EU_PROXY
"""
    environ = {
        "MASTER": "m",
        "KEY": f" {SECRET}\n",
        "EU_URL": "https://eu.example",
        "EU_PROXY": "http://u:p@proxy:3128",
    }
    config = loads(text, environ)
    values = [each.value for each in config.providers["anthropic"].keys if each.value is not None]
    assert [value.reveal() for value in values] == [SECRET] * 3
    assert [value.origin for value in values] == ["env.KEY", f"file:{tmp_path}/key", "***"]
    assert config.auth.master_key is not None
    assert config.auth.master_key.reveal() == "m"
    assert config.providers["eu"].base_url == "https://eu.example"
    assert config.providers["eu"].proxy is not None
    assert config.providers["eu"].proxy.reveal() == "http://u:p@proxy:3128"


NOT_A_REFERENCE = "not a reference that is read here; write env.NAME, os.environ/NAME or file:/path"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("env.NOPE", "the environment variable NOPE is not set"),
        ("os.environ/NOPE", "the environment variable NOPE is not set"),
        ("env.EMPTY", "the environment variable EMPTY is empty; an empty secret is not a secret"),
        ("env.TWO", "the environment variable TWO holds a space, a line break or a character that is not ASCII"),
        ("env.A-B", "`env.` must be followed by the name of an environment variable"),
        ("env.", "`env.` must be followed by the name of an environment variable"),
        ("file:key", "`file:` must be followed by an absolute path"),
        ("file:/no/such", "`/no/such` cannot be read: No such file or directory"),
        ("file:/", "`/` cannot be read: Is a directory"),
        ("file:/dev/null", "the file `/dev/null` is empty; an empty secret is not a secret"),
        ("file:/dev/zero", f"`/dev/zero` is larger than {MAX_SECRET_FILE_BYTES >> 10} KiB"),
        ("''", "the value is empty; an empty secret is not a secret"),
        ("' '", "the value is empty; an empty secret is not a secret"),
        ("'hunter 2'", "the value holds a space, a line break or a character that is not ASCII"),
        ("hünter2", "the value holds a space, a line break or a character that is not ASCII"),
        ("env:KEY", "not a reference that is read here; write env.KEY"),
        ("env/KEY", "not a reference that is read here; write env.KEY"),
        ("ENV.KEY", "not a reference that is read here; write env.KEY"),
        ("os.environ.KEY", "not a reference that is read here; write env.KEY"),
        ("os.environ:KEY", "not a reference that is read here; write env.KEY"),
        ("'os.environ[\"KEY\"]'", "not a reference that is read here; write env.KEY"),
        ("os.getenv(KEY)", "not a reference that is read here; write env.KEY"),
        ("process.env.KEY", "not a reference that is read here; write env.KEY"),
        ("environ/KEY", "not a reference that is read here; write env.KEY"),
        ("'%KEY%'", "not a reference that is read here; write env.KEY"),
        ("ANTHROPIC_API_KEY", "looks like the name of an environment variable; write env.ANTHROPIC_API_KEY"),
        ("'\"sk-ant-x\"'", "the value is in quotes, which would be sent as a part of it; remove them"),
        (
            "env.QUOTED",
            "the environment variable QUOTED is in quotes, which would be sent as a part of it; remove them",
        ),
        ("${KEY}", NOT_A_REFERENCE),
        ("$KEY", NOT_A_REFERENCE),
        ("'{{ KEY }}'", NOT_A_REFERENCE),
        ("[a]", "expected a secret (text), got a list"),
    ],
)
def test_a_secret_that_cannot_be_had(complaints: Complaints, value: str, says: str) -> None:
    environ = {"EMPTY": " ", "TWO": "hunter2\nhunter2", "KEY": SECRET, "QUOTED": f"'{SECRET}'"}
    assert complaints(key(value), environ) == {"providers.anthropic.keys[0].value": says}


@pytest.mark.parametrize("value", ["env.HOST", "os.environ/HOST", "${HOST}", "a-${HOST}"])
def test_references_elsewhere_are_refused_not_taken_as_they_stand(complaints: Complaints, value: str) -> None:
    says = "references are resolved in secrets, `base_url` and `proxy` only"
    assert complaints(f"server: {{host: '{value}'}}", {"HOST": "h"}) == {"server.host": says}


def test_an_empty_base_url_is_refused(complaints: Complaints) -> None:
    text = "providers: {eu: {dialect: anthropic, base_url: env.URL}}"
    assert complaints(text, {"URL": ""}) == {"providers.eu.base_url": "expected text or a reference, got an empty text"}


@pytest.mark.parametrize(
    "text",
    [
        f"providers: {{anthropic: {{keys: [{SECRET}]}}}}",
        f"providers: {{anthropic: {{keys: {SECRET}}}}}",
        f"providers: {{anthropic: {SECRET}}}",
        f"providers: {{anthropic: {{dialect: {SECRET}, keys: [{{value: x}}]}}}}",
        f"providers: {{anthropic: {{keys: [{{value: x, weight: {SECRET}}}]}}}}",
        f"providers: {{anthropic: {{keys: [{{value: 'a {SECRET}'}}]}}}}",
        f"providers: {{anthropic: {{keys: [{{value: x, name: '{SECRET}!'}}]}}}}",
        "providers: {anthropic: {keys: [{value: 1234567890123456}]}}",
        "providers: {anthropic: {keys: [1234567890123456]}}",
        "providers: {anthropic: {keys: [{sk-ant-hunter2: x}]}}",
        f"auth: {{master_key: [{SECRET}]}}",
        f"auth: {{master_key: sk-bf-{SECRET}}}",
        f"virtual_keys: [{{name: a, value: {SECRET}}}]",
        f"virtual_keys: [{{name: a, digest: {SECRET}}}]",
        f"providers: {{eu: {{dialect: anthropic, base_url: 'https://user:{SECRET}@eu.example'}}}}",
        f"providers: {{eu: {{dialect: anthropic, base_url: 'https://eu.example/?key={SECRET}'}}}}",
        f"providers: {{eu: {{dialect: anthropic, base_url: '{SECRET}'}}}}",
        f"providers: {{eu: {{dialect: anthropic, base_url: 'https://eu', proxy: 'ftp://user:{SECRET}@proxy'}}}}",
        f"providers: {{eu: {{dialect: anthropic, base_url: 'https://eu', proxy: 'http://user:{SECRET}@proxy:x'}}}}",
    ],
)
def test_no_message_holds_a_secret(loads: Loads, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert "hunter2" not in str(caught.value)
    assert "123456" not in str(caught.value)


def test_aliases_cannot_make_a_small_file_large(complaints: Complaints) -> None:
    patterns = "x: &p [" + "a, " * 1000 + "a]\n"
    keys = "y: &k [" + "{value: v, models: *p}, " * 1000 + "]\n"
    says = complaints(patterns + keys + "providers: {a: {keys: *k}, b: {keys: *k}}")
    assert says[""] == f"holds more than {MAX_VALUES} values"
