"""One configuration file, YAML, JSON or TOML, as plain values and the lines they stand on.

Keys may not repeat in any format; size and depth are bounded. Errors say the place and what the parser expected, never
the text that stands there: it may be a secret.
"""

from __future__ import annotations

import tomllib
from pathlib import Path as FilePath

from asbru.load.lines import json_lines, toml_lines
from asbru.load.problems import ConfigError, Path, Problem, Value, quoted, without_quotes

MAX_FILE_BYTES = 4 << 20


def read(file: FilePath) -> tuple[Value, dict[Path, int]]:
    """The file's content and the lines of its values; raises `ConfigError`."""
    name = str(file)
    text = _text(file)
    suffix = file.suffix.lower()
    try:
        if suffix in (".yaml", ".yml"):
            from asbru.load.yaml_file import Reader  # imports PyYAML, which only YAML files pay for

            reader = Reader(name)
            return reader.read(text), reader.lines
        if suffix == ".json":
            return _json(name, text), json_lines(text)
        if suffix == ".toml":
            value = _toml(name, text)
            return value, toml_lines(text, value)
    except RecursionError:
        raise _wrong(name, "nested too deeply") from None
    raise _wrong(name, "the name must end with .yaml, .yml, .json or .toml")


def _text(file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _wrong(str(file), f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise _wrong(str(file), f"larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(str(file), f"not UTF-8 (byte {error.start})") from None


def _wrong(file: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError(file, [Problem((), message, line)])


def _json(file: str, text: str) -> Value:
    import json  # not msgspec: its decoder takes the last of repeated keys without a word

    def mapping(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for key, value in pairs:
            if key in made:
                raise _wrong(file, f"the key {quoted(key)} stands twice in one object")
            made[key] = value
        return made

    try:
        value: Value = json.loads(text, object_pairs_hook=mapping)
    except json.JSONDecodeError as error:
        raise _wrong(file, f"not JSON: {without_quotes(error.msg)} (column {error.colno})", error.lineno) from None
    except ValueError:
        raise _wrong(file, "not JSON: a number is too long") from None
    return value


def _toml(file: str, text: str) -> Value:
    try:
        return _plain(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise _wrong(file, f"not TOML: {without_quotes(str(error))}") from None
    except ValueError:
        raise _wrong(file, "not TOML: a number is too long") from None


def _plain(value: object) -> Value:
    """The same value in the types of `Value`: TOML's dates and times become texts."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value).replace(" ", "T")
