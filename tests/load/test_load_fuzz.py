"""Whatever stands in a configuration: it is refused with `ConfigError`, or everything behind it accepts it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Config
from asbru.load import ConfigError, describe, load, redacted
from asbru.load.files import read
from asbru.policy.auth import Authenticator
from asbru.policy.router import Table
from asbru.secrets import Secret

Values = st.SearchStrategy[object]

# Anything at all, in the shape of the structs

texts: Values = st.text(max_size=5) | st.sampled_from(
    ("anthropic", "sandbox", "eu", "eu/x", "x", "*", "env.A", "env.B", "file:/no", "${A}", "https://eu.example", "")
)
numbers: Values = st.integers(-2, 70_000) | st.floats(allow_nan=True, allow_infinity=True)
odd_texts: Values = st.sampled_from((" ", "\n", "\x00", "é", "\ud800", "0" * 64, "2027-01-31T12:00:00Z"))
plain: Values = st.none() | st.booleans() | numbers | texts | odd_texts
junk: Values = plain | st.lists(texts, max_size=2) | st.dictionaries(st.text(max_size=5), texts, max_size=2)


def value_of(type_: object) -> Values:
    """Values of a field's type, and now and then anything else."""
    args, origin = get_args(type_), get_origin(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        fields = {field.name: value_of(field.type) for field in msgspec.structs.fields(type_)}
        required = {field.name for field in msgspec.structs.fields(type_) if field.required}
        return st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: each for name, each in fields.items() if name not in required},
        )
    if origin in (Union, UnionType):
        return value_of(next(arg for arg in args if arg is not NoneType))
    if origin in (tuple, list):
        return mostly(st.lists(value_of(args[0]), max_size=3))
    if origin is dict:
        return mostly(st.dictionaries(st.sampled_from(("eu", "sandbox", "eu/x")), value_of(args[1]), max_size=3))
    if origin is Literal:
        return mostly(st.sampled_from(args))
    if type_ is Secret or (args and args[0] is str):
        return mostly(texts)
    return mostly(st.booleans() if type_ is bool else numbers)


def mostly(values: Values) -> Values:
    return st.integers(0, 19).flatmap(lambda chance: values if chance else junk)


# What is likely to be right, so that the checks of what no single field can say are reached


def mapping(required: Mapping[str, Values], optional: Mapping[str, Values | Sequence[object]]) -> Values:
    """A mapping of what is required and some of what is optional, given as values or as a strategy."""
    strategies = {
        name: each if isinstance(each, st.SearchStrategy) else st.sampled_from(each) for name, each in optional.items()
    }
    return st.fixed_dictionaries(dict(required), optional=strategies)


MODELS: Sequence[list[str]] = (["*"], ["x*"], ["x", "y"], ["*"], [])
provider_names: Values = st.sampled_from(("eu", "sandbox", "sandbox", "anthropic"))
key = mapping(
    {"value": st.sampled_from(("a", "b", "env.A"))},
    {
        "name": ("k", "main", "key-1"),
        "weight": (0, 1, 2.5),
        "models": MODELS,
        "exclude": ([], ["y"], ["*"]),
        "aliases": ({}, {"x": "y"}, {"z": "x"}),
    },
)
eu = mapping(
    {"dialect": st.just("anthropic"), "base_url": st.just("https://eu.example")},
    {"keys": st.lists(key, max_size=2), "models": (["x"], [])},
)
virtual_key = mapping(
    {"name": st.sampled_from("abcdef")},
    {
        "value": ("sk-bf-a", "SK-BF-b", "sk-bf-c", "env.A"),
        "digest": ("0" * 64,),
        "active": (True, False),
        "expires_at": ("2027-01-31T12:00:00Z", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00", "2027-01-31"),
        "providers": st.lists(mapping({"name": provider_names}, {"weight": (0, 1), "models": MODELS}), max_size=2),
    },
)
likely = mapping(
    {"providers": mapping({"eu": eu, "sandbox": st.just({})}, {"anthropic": mapping({}, {"keys": st.lists(key)})})},
    {
        "models": st.dictionaries(
            st.sampled_from(("fast", "x", "eu/x")),
            st.lists(st.sampled_from(("eu/x", "eu/y", "sandbox/x", "x")), min_size=1, max_size=2),
            max_size=2,
        ),
        "routing": mapping({}, {"default_provider": provider_names}),
        "virtual_keys": st.lists(virtual_key, max_size=2),
        "auth": mapping({}, {"required": (True, False), "allow_direct_keys": (True,), "master_key": ("m", "sk-bf-m")}),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(likely | value_of(Config))
def test_a_configuration_is_refused_or_works(folder: Path, value: object) -> None:
    file = folder / "asbru.json"
    file.write_text(json.dumps(value))
    try:
        config = load(file, {"A": "a", "B": ""})
    except ConfigError as error:
        assert error.problems
        assert all(line.isprintable() for line in str(error).split("\n"))
        return
    Authenticator(config)
    Table(config)
    assert describe(config)
    msgspec.json.encode(redacted(config))


syntax = st.text("{}[]:-,&*!'\"|>#%@`\n ab1?", max_size=60)


@given(st.sampled_from(("a.yaml", "a.json", "a.toml")), st.text(max_size=60) | syntax)
def test_a_file_is_refused_or_read(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        value, lines = read(file)
    except ConfigError as error:
        assert str(error).startswith(str(file))
    else:
        json.dumps(value)
        assert all(line > 0 for line in lines.values())
