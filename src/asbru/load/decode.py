"""Plain values into config structs, every fault noted with its place, and references to secrets resolved.

The structs are the only schema: this walks their fields and hands each leaf to msgspec. It goes on after a fault, so
that an operator sees all of them at once. A message tells a value's type, never a text: what stands in the wrong field
may be a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from asbru.load.problems import ConfigError, Path, Problem, Value, nearest, quoted
from asbru.secrets import HIDDEN, VIRTUAL_KEY_PREFIX, Secret

MAX_VALUES = 500_000  # YAML's aliases can make a small file large
MAX_SECRET_FILE_BYTES = 65_536

_REFERENCE = re.compile(r"(env\.|os\.environ/|file:)(.*)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MISSPELT_REFERENCE = re.compile(
    r"(?i:(?:process\.)?env[:/]|os\.environ[.:]|environ[./:]|os\.getenv|process\.env\.)[\[('\"/]*"
    r"([A-Za-z_][A-Za-z0-9_]*)[\])'\"]*"
    r"|(?:ENV|Env)\.([A-Za-z_][A-Za-z0-9_]*)|(?i:os\.environ)\[['\"]?([A-Za-z_][A-Za-z0-9_]*)['\"]?\]"
    r"|%([A-Za-z_][A-Za-z0-9_]*)%"
)
"""Other tools' ways to name an environment variable; the last two are Python's and Windows'."""
_BARE_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_QUOTED = re.compile(r"""(["'`]).*\1|[\u201c\u2018\u201e\xab].*[\u201d\u2019\u201c\xbb]""", re.DOTALL)
_FOREIGN_REFERENCE = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\$\{.*\}|\{\{.*\}\}", re.DOTALL)
_UNRESOLVED = re.compile(r"(env\.|os\.environ/)[A-Z_][A-Z0-9_]*|.*\$\{[A-Za-z_][A-Za-z0-9_]*\}.*", re.DOTALL)
_VISIBLE = re.compile(r"[!-~]+")

S = TypeVar("S", bound=msgspec.Struct)


class _Bad:
    """Stands for a value that could not be made; its problem has been noted."""


_BAD = _Bad()


class Decoder:
    """Makes structs from plain values; `problems` holds what was wrong."""

    def __init__(
        self, file: str, environ: Mapping[str, str], lines: Mapping[Path, int], *, allow_missing: bool = False
    ) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.allow_missing = allow_missing
        """Whether something stands for a variable that is not set: for a check where there are no secrets."""
        self._environ = environ
        self._lines = lines
        self._left = MAX_VALUES

    def decode(self, type_: type[S], raw: Value) -> S | None:
        """The struct, or None when there were problems."""
        made = self._struct(type_, raw, ())
        return made if isinstance(made, type_) and not self.problems else None

    def section(self, type_: type[S], raw: Value, path: Path) -> S | None:
        """A struct from plain values that stand at ``path``; None when there were problems with it."""
        made = self._struct(type_, raw, path)
        return made if isinstance(made, type_) else None

    def leaf(self, type_: object, raw: Value, path: Path) -> object:
        """One value that stands for the one at ``path``, checked as if it stood there; None when it cannot."""
        made = self._value(type_, raw, path)
        return None if isinstance(made, _Bad) else made

    def note(self, path: Path, message: str) -> _Bad:
        """Note a problem, with the line of the nearest place that has one."""
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self.problems.append(Problem(path, message, line))
        return _BAD

    def secret(self, text: str, path: Path, *, may_be_empty: bool = False) -> Secret | _Bad:
        """The secret that ``text`` is or refers to."""
        resolved = self._resolve(text, path)
        if isinstance(resolved, _Bad):
            return _BAD
        value, origin = resolved
        if _QUOTED.fullmatch(value):
            return self.note(path, f"{_subject(origin)} is in quotes, which would be sent as a part of it; remove them")
        if not origin and _BARE_VARIABLE.fullmatch(value):
            return self.note(path, f"looks like the name of an environment variable; write env.{value}")
        if value == HIDDEN:
            return self.note(
                path, f"{_subject(origin)} is `{HIDDEN}`, which stands for a secret that is not shown; give the secret"
            )
        if not value:
            if may_be_empty:
                return Secret("", origin, may_be_empty=True)
            return self.note(path, f"{_subject(origin)} is empty; an empty secret is not a secret")
        if not _VISIBLE.fullmatch(value):
            return self.note(path, f"{_subject(origin)} holds a space, a line break or a character that is not ASCII")
        return Secret(value, origin) if origin else Secret(value)

    # Values

    def _value(self, type_: object, raw: Value, path: Path) -> object:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(self.file, [Problem((), f"holds more than {MAX_VALUES} values")])
        if get_origin(type_) in (Union, UnionType):
            if raw is None:
                return None
            type_ = next(arg for arg in get_args(type_) if arg is not NoneType)
        if type_ is Secret or get_args(type_)[:1] == (Secret,):
            if not isinstance(raw, str):
                return self._mistyped(type_, raw, path)
            return self.secret(raw, path, may_be_empty=_extra(type_, "may_be_empty"))
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self._struct(type_, raw, path)
        origin = get_origin(type_)
        if origin is dict:
            return self._dict(type_, raw, path)
        if origin in (tuple, list):
            return self._list(type_, raw, path)
        return self._leaf(type_, raw, path)

    def _struct(self, type_: type[msgspec.Struct], raw: Value, path: Path) -> object:
        raw = {} if raw is None else raw  # a section with nothing in it
        if not isinstance(raw, dict):
            return self._mistyped(type_, raw, path)
        fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
        made: dict[str, object] = {}
        for key, value in raw.items():
            if key in fields:
                made[fields[key].name] = self._value(fields[key].type, value, (*path, key))
            else:
                self.note((*path, key), f"unknown key {quoted(key)}{nearest(key, fields)}")
        for key, field in fields.items():
            if field.required and key not in raw:
                self.note(path, f"`{key}` is missing")
                return _BAD
        return _BAD if any(value is _BAD for value in made.values()) else type_(**made)

    def _dict(self, type_: object, raw: Value, path: Path) -> object:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            return self._mistyped(type_, raw, path)
        key_type, value_type = get_args(type_)
        made: dict[object, object] = {}
        for key, value in raw.items():
            here = (*path, key)
            made[self._leaf(key_type, key, here)] = self._value(value_type, value, here)
        return _BAD if _BAD in made or any(value is _BAD for value in made.values()) else made

    def _list(self, type_: object, raw: Value, path: Path) -> object:
        if raw is None:
            raw = []
        if not isinstance(raw, list):
            return self._mistyped(type_, raw, path)
        item_type = get_args(type_)[0]
        made = [self._value(item_type, value, (*path, index)) for index, value in enumerate(raw)]
        if any(value is _BAD for value in made):
            return _BAD
        return tuple(made) if get_origin(type_) is tuple else made

    def _leaf(self, type_: object, raw: Value, path: Path) -> object:
        if isinstance(raw, str):
            if not raw.isprintable():
                return self.note(path, "holds a line break or another character that cannot be shown")
            if _is_reference(type_):
                resolved = self._resolve(raw, path)
                if isinstance(resolved, _Bad):
                    return _BAD
                raw = resolved[0]
            elif _UNRESOLVED.fullmatch(raw):
                return self.note(path, "references are resolved in secrets, `base_url` and `proxy` only")
            if get_origin(type_) is Literal and raw not in get_args(type_):
                return self.note(path, f"expected {expected(type_)}, got other text{nearest(raw, get_args(type_))}")
        try:
            value: object = msgspec.convert(raw, type_)
        except msgspec.ValidationError:
            return self._mistyped(type_, raw, path)
        if isinstance(value, float) and not math.isfinite(value):
            return self.note(path, f"expected {expected(type_)}, and a finite one")
        return value

    def _mistyped(self, type_: object, raw: Value, path: Path) -> _Bad:
        return self.note(path, f"expected {expected(type_)}, got {_actual(type_, raw)}")

    # References

    def _resolve(self, text: str, path: Path) -> tuple[str, str] | _Bad:
        """The text meant and the reference it came from (empty when it stands in the file itself)."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            misspelt = _MISSPELT_REFERENCE.fullmatch(text.strip())
            if misspelt is not None:
                name = next(filter(None, misspelt.groups()))
                return self.note(path, f"not a reference that is read here; write env.{name}")
            if _FOREIGN_REFERENCE.fullmatch(text):
                return self.note(
                    path, "not a reference that is read here; write env.NAME, os.environ/NAME or file:/path"
                )
            return text.strip(), ""
        kind, rest = match.groups()
        if kind == "file:":
            return self._file(rest, path)
        if not _VARIABLE.fullmatch(rest):
            return self.note(path, f"`{kind}` must be followed by the name of an environment variable")
        if rest not in self._environ:
            if self.allow_missing:
                return _stand_in(rest, path), text
            return self.note(path, f"the environment variable {rest} is not set")
        return self._environ[rest].strip(), text

    def _file(self, name: str, path: Path) -> tuple[str, str] | _Bad:
        file = FilePath(name)
        if not file.is_absolute():
            return self.note(path, "`file:` must be followed by an absolute path")
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_SECRET_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            return self.note(path, f"{quoted(name)} cannot be read: {reason}")
        if len(data) > MAX_SECRET_FILE_BYTES:
            return self.note(path, f"{quoted(name)} is larger than {MAX_SECRET_FILE_BYTES >> 10} KiB")
        return data.decode("utf-8", "replace").strip(), f"file:{name}"


def _stand_in(variable: str, path: Path) -> str:
    """A value of the form that its place asks for."""
    if path[-1] in ("base_url", "proxy"):
        return "http://missing.invalid"
    return f"{VIRTUAL_KEY_PREFIX}{variable}" if path[0] == "virtual_keys" else f"missing-{variable}"


def _subject(origin: str) -> str:
    match = _REFERENCE.fullmatch(origin)
    if match is None:
        return "the value"
    kind, rest = match.groups()
    return f"the file {quoted(rest)}" if kind == "file:" else f"the environment variable {rest}"


def _meta(type_: object) -> Meta | None:
    metas = [each for each in getattr(type_, "__metadata__", ()) if isinstance(each, Meta)]
    return metas[0] if metas else None


def _is_reference(type_: object) -> bool:
    return _extra(type_, "reference")


def _extra(type_: object, name: str) -> bool:
    meta = _meta(type_)
    return meta is not None and bool((meta.extra or {}).get(name))


_WORDS: dict[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Secret: "a secret (text)",
}


def expected(type_: object) -> str:
    """What a field takes, in words; messages and the reference say it the same way."""
    args = get_args(type_)
    origin = get_origin(type_)
    if origin in (Union, UnionType):
        return next(expected(arg) for arg in args if arg is not NoneType)
    if origin is Annotated:
        meta = _meta(type_)
        return meta.description if meta is not None and meta.description else expected(args[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{arg}`" for arg in args) if len(args) > 1 else f"`{args[0]}`"
    if origin in (tuple, list):
        return "a list"
    if origin is dict or (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return "a mapping"
    return _WORDS[type_]


def _actual(type_: object, raw: Value) -> str:
    args = get_args(type_)
    base = args[0] if args and get_origin(type_) is Annotated else type_
    if raw is None:
        return "nothing"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return f"{raw}" if base in (int, float) else "a number"
    if isinstance(raw, str):
        text = "text" if raw else "an empty text"
        return f"other {text}" if base is str and raw else text
    return "a list" if isinstance(raw, list) else "a mapping"
