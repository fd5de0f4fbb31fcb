"""What a configuration leaves unsaid: the environment-only start, known providers, names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asbru.config import Config
from asbru.load import ConfigError, describe, find, load, redacted

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]


def test_with_nothing_configured_the_sandbox_is_there() -> None:
    config = load(None, {})
    assert list(config.providers) == ["sandbox"]
    sandbox = config.providers["sandbox"]
    assert (sandbox.dialect, sandbox.base_url) == ("anthropic", None)
    assert [(key.name, key.value and key.value.reveal()) for key in sandbox.keys] == [("sandbox", "sandbox")]
    assert config.routing.default_provider == "sandbox"
    assert config.auth.required is False


def test_a_usual_variable_configures_its_provider() -> None:
    config = load(None, {"ANTHROPIC_API_KEY": "sk-ant-x"})
    assert list(config.providers) == ["anthropic"]
    anthropic = config.providers["anthropic"]
    assert anthropic.base_url == "https://api.anthropic.com"
    (key,) = anthropic.keys
    assert key.value is not None
    assert (key.name, key.value.reveal(), key.value.origin) == ("key-1", "sk-ant-x", "env.ANTHROPIC_API_KEY")


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_usual_variable_configures_nothing(value: str) -> None:
    assert list(load(None, {"ANTHROPIC_API_KEY": value}, sandbox=True).providers) == ["sandbox"]
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY is empty"):
        load(None, {"ANTHROPIC_API_KEY": value})


def test_a_usual_variable_counts_beside_a_file(loads: Loads) -> None:
    config = loads("providers: {sandbox: {}}", {"ANTHROPIC_API_KEY": "k"})
    assert list(config.providers) == ["sandbox", "anthropic"]
    assert config.routing.default_provider == "anthropic"


def test_a_usual_variable_does_not_replace_configured_keys(loads: Loads) -> None:
    config = loads("providers: {anthropic: {keys: [{value: mine}]}}", {"ANTHROPIC_API_KEY": "other"})
    assert [key.value and key.value.reveal() for key in config.providers["anthropic"].keys] == ["mine"]


def test_the_usual_key_does_not_go_to_an_unusual_place(complaints: Complaints, loads: Loads) -> None:
    text = "providers: {anthropic: {base_url: 'https://elsewhere.example'}}"
    needs = "has no key: with a `base_url` of its own it needs `keys`, such as [{value: env.ANTHROPIC_API_KEY}]"
    assert complaints(text, {"ANTHROPIC_API_KEY": "k"}) == {"providers.anthropic": needs}
    direct = loads(text + "\nauth: {allow_direct_keys: true}", {"ANTHROPIC_API_KEY": "k"})
    assert direct.providers["anthropic"].keys == ()


def test_a_known_provider_without_a_key_is_refused_unless_callers_bring_theirs(
    complaints: Complaints, loads: Loads
) -> None:
    says = "has no key: give it `keys`, or set ANTHROPIC_API_KEY"
    assert complaints("providers: {anthropic: {}}") == {"providers.anthropic": says}
    assert loads("{providers: {anthropic: {}}, auth: {allow_direct_keys: true}}").providers["anthropic"].keys == ()


def test_a_usual_key_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"ANTHROPIC_API_KEY": "hunter2\nhunter2"})
    assert str(caught.value) == (
        "environment: providers.anthropic.keys: the environment variable ANTHROPIC_API_KEY "
        "holds a space, a line break or a character that is not ASCII"
    )


def test_a_provider_of_another_name_may_have_no_key(loads: Loads) -> None:
    config = loads("providers: {eu: {dialect: anthropic, base_url: 'https://eu.example/prefix/'}}")
    eu = config.providers["eu"]
    assert (eu.dialect, eu.base_url, eu.credential, eu.keys) == (
        "anthropic",
        "https://eu.example/prefix",
        "x-api-key",
        (),
    )
    assert config.routing.default_provider == "eu"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "Anthropic: {keys: [{value: x}]}",
            "not a known provider, so it needs `dialect` and `base_url`; did you mean `anthropic`?",
        ),
        (
            "eu: {dialect: anthropic}",
            "not a known provider, so it needs `base_url`; known providers: `anthropic`, `azure-anthropic`, "
            "`azure-openai`, `bedrock`, `bedrock-anthropic`, `bedrock-mantle`, `cerebras`, `cohere`, `deepseek`, "
            "`fireworks`, `gemini`, `groq`, `huggingface`, `llamacpp`, `lmstudio`, `mistral`, `moonshot`, "
            "`nvidia-nim`, `ollama`, `openai`, …",
        ),
    ],
)
def test_a_provider_of_another_name_says_what_and_where_it_is(complaints: Complaints, text: str, says: str) -> None:
    assert list(complaints(f"providers: {{{text}}}").values()) == [says]


def test_keys_get_names(loads: Loads) -> None:
    config = loads("providers: {anthropic: {keys: [{value: a}, {value: b, name: main}, {value: c}]}}")
    assert [key.name for key in config.providers["anthropic"].keys] == ["key-1", "main", "key-3"]


def test_no_default_provider_among_several_without_anthropic(loads: Loads) -> None:
    text = "providers: {sandbox: {}, eu: {dialect: anthropic, base_url: 'https://eu.example'}}"
    assert loads(text).routing.default_provider is None
    assert loads(text + "\nrouting: {default_provider: eu}").routing.default_provider == "eu"


@pytest.mark.parametrize(
    ("text", "environ", "required"),
    [
        ("", {}, False),
        ("", {"ASBRU_MASTER_KEY": "m"}, True),
        ("auth: {master_key: m}", {}, True),
        ("virtual_keys: [{name: a, value: sk-bf-a}]", {}, True),
        ("virtual_keys: [{name: a, value: sk-bf-a}]\nauth: {required: false}", {}, False),
    ],
)
def test_auth_is_required_as_soon_as_there_is_a_key(
    loads: Loads, text: str, environ: dict[str, str], required: bool
) -> None:
    assert loads(text, environ).auth.required is required


def test_the_files_master_key_goes_before_the_environments(loads: Loads) -> None:
    config = loads("auth: {master_key: mine}", {"ASBRU_MASTER_KEY": "other"})
    assert config.auth.master_key is not None
    assert config.auth.master_key.reveal() == "mine"


def test_an_empty_master_key_does_not_open_the_gateway() -> None:
    with pytest.raises(ConfigError, match=r"auth\.master_key: the environment variable ASBRU_MASTER_KEY is empty"):
        load(None, {"ASBRU_MASTER_KEY": ""})


def test_host_and_port_of_the_command_line_go_first(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("server: {host: 127.0.0.2, port: 1, drain_s: 5}")
    server = load(tmp_path / "a.yaml", {}, host="127.0.0.3", port=0).server
    assert (server.host, server.port, server.drain_s) == ("127.0.0.3", 0, 5.0)


def test_the_file_is_the_named_one_or_the_variables_or_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"ASBRU_CONFIG": "from-variable.yaml"}
    assert find(Path("named.yaml"), environ) == Path("named.yaml")
    assert find(None, environ) == Path("from-variable.yaml")
    assert find(None, {"ASBRU_CONFIG": ""}) is None
    (tmp_path / "asbru.yaml").touch()
    assert find(None, {}) == Path("asbru.yaml")


def test_who_may_use_files_and_batches_is_decided_and_shown(loads: Loads) -> None:
    text = """
providers: {anthropic: {keys: [{value: a}]}, other: {like: anthropic, keys: [{value: b}]}}
virtual_keys:
  - {name: x, value: sk-bf-x, providers: [{name: anthropic}]}
  - {name: y, value: sk-bf-y, providers: [{name: anthropic}]}
  - {name: z, value: sk-bf-z, providers: [{name: other}]}
  - {name: opened, value: sk-bf-o, files_and_batches: true, providers: [{name: anthropic}]}
"""
    config = loads(text)
    shown = {key["name"]: key["files_and_batches"] for key in redacted(config)["virtual_keys"]}  # type: ignore[attr-defined]
    assert shown == {"x": False, "y": False, "z": True, "opened": True}
    assert "files and batches closed to 2 of them" in "\n".join(describe(config))
