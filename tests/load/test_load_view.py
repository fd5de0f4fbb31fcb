"""A configuration as people see it, its schema and its documentation: complete, and without a secret."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from asbru import config as structs
from asbru.config import Config
from asbru.load import describe, load, redacted
from asbru.load.schema import field_docs, json_schema

Loads = Callable[..., Config]

FULL = """
auth: {master_key: hunter2-master}
providers:
  anthropic: {keys: [{value: env.KEY}, {value: hunter2-literal, name: second}], proxy: 'http://u:hunter2@proxy:1'}
  eu: {dialect: anthropic, base_url: 'https://eu.example', models: [eu-model]}
virtual_keys: [{name: team, value: sk-bf-hunter2}]
"""
ENVIRON = {"KEY": "hunter2-environment"}


def test_a_configuration_shows_no_secret(loads: Loads) -> None:
    config = loads(FULL, ENVIRON)
    plain = json.loads(json.dumps(redacted(config)))
    shown = [repr(config), str(config), f"{config}", json.dumps(plain), repr(plain), "\n".join(describe(config))]
    for text in shown:
        assert "hunter2" not in text
    assert plain["auth"]["master_key"] == "***"
    assert plain["providers"]["anthropic"]["keys"][0]["value"] == "env.KEY"


def test_a_configuration_does_not_encode_by_accident(loads: Loads) -> None:
    with pytest.raises(TypeError, match="Secret"):
        msgspec.json.encode(loads(FULL, ENVIRON))


def test_what_a_start_prints(loads: Loads) -> None:
    lines = describe(loads(FULL, ENVIRON))
    assert lines[:5] == [
        "asbru listens on http://127.0.0.1:8080",
        "  provider anthropic: anthropic, https://api.anthropic.com; keys: key-1 (env.KEY), second (***)",
        "  provider eu: anthropic, https://eu.example; keys: none",
        "  auth: required, 1 virtual key, master key (***)",
        "try:",
    ]


def curl(config: Config, port: int | None = None) -> list[str]:
    return shlex.split(describe(config, port)[-1])


def body(words: list[str]) -> dict[str, object]:
    value: dict[str, object] = json.loads(words[words.index("-d") + 1])
    return value


def test_the_curl_line_works_when_pasted() -> None:
    words = curl(load(None, {}))
    assert words[:2] == ["curl", "http://127.0.0.1:8080/v1/messages"]
    assert "content-type: application/json" in words
    assert not any(word.startswith("x-api-key") for word in words)
    assert body(words)["model"] == "claude-sandbox"
    assert body(words)["max_tokens"] == 64


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:99"), ("::", "http://[::1]:99"), ("::1", "http://[::1]:99"), ("h", "http://h:99")],
)
def test_the_curl_line_names_an_address_that_can_be_called(host: str, url: str) -> None:
    assert curl(load(None, {}, host=host, port=0), 99)[1] == f"{url}/v1/messages"


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("auth: {master_key: env.MASTER}", "MASTER"),
        ("auth: {master_key: os.environ/MASTER}", "MASTER"),
        ("auth: {master_key: m}", "KEY"),
        ("auth: {master_key: file:/dev/stdin}", "KEY"),
        ("{auth: {master_key: env.MASTER}, virtual_keys: [{name: a, value: env.TEAM}]}", "TEAM"),
        ("{auth: {master_key: env.MASTER}, virtual_keys: [{name: a, value: env.TEAM, active: false}]}", "MASTER"),
    ],
)
def test_the_curl_line_names_the_variable_of_a_key(loads: Loads, tmp_path: Path, text: str, variable: str) -> None:
    (tmp_path / "m").write_text("m")
    text = text.replace("/dev/stdin", str(tmp_path / "m"))
    line = describe(loads(text, {"MASTER": "m", "TEAM": "sk-bf-t"}))[-1]
    assert f'-H "x-api-key: ${variable}" ' in line


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ('models: {"it\'s fast": [sandbox/x]}', "it's fast"),
        ("providers: {sandbox: {models: [mine]}}", "mine"),
        ("providers: {sandbox: {keys: [{value: k, models: ['a*', b]}]}}", "b"),
        ("providers: {eu: {dialect: anthropic, base_url: 'https://eu.example'}}", "MODEL"),
        (
            "providers: {eu: {dialect: anthropic, base_url: 'https://eu.example'}, sandbox: {}}",
            "sandbox/claude-sandbox",
        ),
    ],
)
def test_the_curl_line_names_a_model_that_is_placed(loads: Loads, text: str, model: str) -> None:
    assert body(curl(loads(text)))["model"] == model


def test_many_aliases_are_cut_short(loads: Loads) -> None:
    text = "models:\n" + "".join(f"  a{number}: [sandbox/x]\n" for number in range(13))
    assert "  aliases: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 3 more" in describe(loads(text))


def sections() -> Iterator[type[structs.Section]]:
    for value in vars(structs).values():
        if isinstance(value, type) and issubclass(value, structs.Section) and value is not structs.Section:
            yield value


def test_every_section_and_field_is_documented() -> None:
    docs = field_docs()
    for section in sections():
        assert section.__doc__, section
        assert list(docs[section.__name__]) == [field.name for field in msgspec.structs.fields(section)]


def test_the_schema_knows_every_field_and_refuses_others() -> None:
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    assert schema["$ref"] == "#/$defs/Config"
    for section in sections():
        definition = definitions[section.__name__]
        assert definition["additionalProperties"] is False
        expected = ["$schema"] if section.__name__ == "Config" else []
        assert list(definition["properties"]) == [field.name for field in msgspec.structs.fields(section)] + expected
        assert all(each["description"] for each in definition["properties"].values())
    text = json.dumps(schema)
    assert "components/schemas" not in text
    for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', text):
        assert reference in definitions
    assert definitions["VirtualKey"]["properties"]["digest"]["anyOf"][0]["pattern"] == "^[0-9a-f]{64}$"
