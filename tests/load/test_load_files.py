"""Bytes to plain values: the three formats, their limits, and that no error quotes the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.load import ConfigError, load
from asbru.load.files import MAX_FILE_BYTES, read
from asbru.load.lines import json_lines
from asbru.load.problems import Value
from asbru.load.yaml_file import MAX_DEPTH, Reader


def yaml(text: str) -> Value:
    return Reader("test.yaml").read(text)


def refusal(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read(file)
    return str(caught.value).removeprefix(str(file))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc#:'\" -", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "server: {port: 9000}\nmodels:\n  fast: [a/b]\n"),
        ("a.yml", "server: {port: 9000}\nmodels:\n  fast: [a/b]\n"),
        ("a.YAML", "server: {port: 9000}\nmodels: {fast: [a/b]}"),
        ("a.json", '{"server": {"port": 9000}, "models": {"fast": ["a/b"]}}'),
        ("a.toml", '[server]\nport = 9000\n[models]\nfast = ["a/b"]\n'),
    ],
)
def test_the_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text("\ufeff" + text if name == "a.yaml" else text)
    assert read(file)[0] == {"server": {"port": 9000}, "models": {"fast": ["a/b"]}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{\n"a": {\n"b,\\"}": "x:{",\n\t"c": [\n1,\n{"d": [[2],\n3]}]}, "e": {},\n"f": []}'),
        ("a.toml", '\n[a]\n"b,\\"}" = "x:{" # c = 1\n  c=[\n1,\n{d = [[2],\n3]}]\n[e]\n\n'),
    ],
)
def test_json_and_toml_tell_lines(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    lines = read(file)[1]
    wanted: dict[tuple[str | int, ...], int] = {("a",): 2, ("a", 'b,"}'): 3, ("a", "c"): 4}
    if name == "a.json":
        wanted |= {("a", "c", 1): 6, ("a", "c", 1, "d", 1): 7, ("e",): 7, ("f",): 8}
    assert {path: lines.get(path) for path in wanted} == wanted


def test_toml_tells_the_lines_of_arrays_of_tables(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('x = """\n[[k]]\nz = 1\n"""\n[[k]]\nn = 1\n[k.in]\nb.c = 1\n[[k]]\nn = 2\n[k.in]\nb.c = 2\n')
    assert read(file)[1] == {
        ("x",): 1, ("k",): 5, ("k", 0): 5, ("k", 0, "n"): 6, ("k", 0, "in"): 7, ("k", 0, "in", "b", "c"): 8,
        ("k", 1): 9, ("k", 1, "n"): 10, ("k", 1, "in"): 11, ("k", 1, "in", "b", "c"): 12,
    }  # fmt: skip


@given(plain)
def test_json_has_a_line_for_everything_in_it(value: Value) -> None:
    def paths(value: Value, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return {path}.union(*(paths(each, (*path, part)) for part, each in inner)) if inner else {path}

    assert json_lines(json.dumps(value, indent=1)).keys() == paths(value) - {()}


def test_an_editors_schema_key_is_no_setting(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"$schema": "https://example.com/s.json",\n"sever": {}}')
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}:2: sever: unknown key `sever`; did you mean `server`?"


def test_yaml_tells_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# comment\nserver:\n  port: 1\nkeys:\n  - a\n  - {b: 2}\n")
    lines = read(file)[1]
    assert lines["server",] == 2
    assert lines["server", "port"] == 3
    assert lines["keys", 1] == lines["keys", 1, "b"] == 6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31", "2027-01-31"),
        ("1:30", "1:30"),
        ("017", 17),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("-5", -5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("'7'", "7"),
        ('"true"', "true"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("9" * 19, "9" * 19),
        (".inf", ".inf"),
    ],
)
def test_yaml_scalars_are_those_of_version_1_2(text: str, value: Value) -> None:
    got = yaml(f"a: {text}")
    assert got == {"a": value}
    assert isinstance(got, dict)
    assert type(got["a"]) is type(value)


def test_an_alias_is_the_anchors_value() -> None:
    assert yaml("a: &t {x: [1]}\nb: *t\nc: &s text\nd: *s") == {
        "a": {"x": [1]},
        "b": {"x": [1]},
        "c": "text",
        "d": "text",
    }


@given(plain)
def test_yaml_reads_what_json_writes(value: Value) -> None:
    if isinstance(value, dict):
        value.pop("<<", None)
    assert yaml(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", "a: 1\nb: {c: 2}\nb: 3", ":3: the key `b` stands here twice"),
        ("a.yaml", "a: 1\n1: 2", ":2: a key must be a text; quote it"),
        ("a.yaml", "? [1]\n: 2", ":1: a key must be a text; quote it"),
        ("a.yaml", "a: 1\n---\nb: 2", ":2: a second document begins; one is read"),
        ("a.yaml", "a:\n  x: !!python/name:os.system", ":2: a.x: tags are not read; quote a text that begins with `!`"),
        ("a.yaml", "a: *b", ":1: a: an alias without an anchor; quote a text that begins with `*`"),
        ("a.yaml", "a: &x [*x]", ":1: a[0]: an alias without an anchor; quote a text that begins with `*`"),
        ("a.yaml", "b: &x {}\na: {<<: *x}", ":2: a: merge keys are not read; an alias for a whole value is"),
        ("a.yaml", "a: [1\nb: 2", ":2: not YAML: did not find expected ',' or ']'"),
        ("a.yaml", b"a: \x00", ": not YAML: it holds a character that text has not"),
        ("a.yaml", b"a: \xff\xfe", ": not UTF-8 (byte 3)"),
        ("a.json", '{"a": 1,\n "b": }', ":2: not JSON: Expecting value (column 7)"),
        ("a.json", '{"a": 1, "a": 2}', ": the key `a` stands twice in one object"),
        ("a.json", f'{{"a": {"9" * 5000}}}', ": not JSON: a number is too long"),
        ("a.toml", "a = \n", ": not TOML: Invalid value (at line 1, column 5)"),
        ("a.toml", f"a = {'9' * 5000}", ": not TOML: a number is too long"),
        ("a.json", "[" * 200_000, ": nested too deeply"),
        ("a.toml", "a = " + "[" * 20_000, ": nested too deeply"),
        ("a.ini", "a = 1", ": the name must end with .yaml, .yml, .json or .toml"),
        ("a.yaml", b" " * (MAX_FILE_BYTES + 1), ": larger than 4 MiB"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    assert refusal(tmp_path / name, content) == says


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_yaml_that_nests_too_deeply_is_refused(opening: str) -> None:
    with pytest.raises(ConfigError, match=r"nested too deeply|not YAML"):
        yaml(opening * 100_000)


def test_yaml_may_nest_to_the_bound() -> None:
    assert yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ConfigError, match=r"nested too deeply"):
        yaml("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "key: *hunter2"),
        ("a.yaml", "key: !hunter2 x"),
        ("a.yaml", "key: &hunter2"),
        ("a.yaml", 'key: "hunter2'),
        ("a.yaml", "key: 'hunter2\n"),
        ("a.yaml", "key: hunter2: x"),
        ("a.yaml", "key: @hunter2"),
        ("a.yaml", "key: %hunter2"),
        ("a.yaml", "key: `hunter2"),
        ("a.yaml", "key: [hunter2"),
        ("a.yaml", 'key: "\\qhunter2"'),
        ("a.json", '{"key": hunter2}'),
        ("a.json", '{"key": "hunter2}'),
        ("a.json", '{"key": "hunter2" "x"}'),
        ("a.toml", "key = hunter2"),
        ("a.toml", 'key = "hunter2'),
        ("a.toml", 'key = "hunter2" x'),
        ("a.toml", "key = 'a'\nkey = 'hunter2'"),
    ],
)
def test_no_parsers_message_quotes_the_file(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    try:
        read(file)
    except ConfigError as error:
        assert "unter" not in str(error)
    else:
        assert content == "key: &hunter2"  # an anchor on nothing is valid
