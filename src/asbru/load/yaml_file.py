"""YAML as version 1.2 means it, read from the parser's events into plain values.

``off`` and ``no`` are texts, only ``true`` and ``false`` are booleans, dates stay texts, numbers are decimal. Keys do
not repeat. Tags and merge keys are refused, so nothing is ever constructed but texts, numbers, booleans, null, lists
and mappings. The parser itself does not recurse; the depth of what is built from it is bounded here.

PyYAML takes some 15 ms to import, so this module is imported only when a YAML file is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import yaml
from yaml import CollectionStartEvent, Event, MappingEndEvent, ScalarEvent, SequenceEndEvent

from asbru.load.problems import ConfigError, Path, Problem, Value, quoted, without_quotes

MAX_DEPTH = 32

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_WORDS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Reader:
    """Reads one document; `lines` then holds the line of every key and list entry, counted from 1."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self._anchors: dict[str, Value] = {}

    def read(self, text: str) -> Value:
        """The document's value, None when there is none; raises `ConfigError`."""
        value: Value = None
        documents = 0
        try:
            events: Iterator[Event] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise self._wrong("a second document begins; one is read", event, ())
                elif isinstance(event, yaml.NodeEvent):
                    value = self._node(event, events, (), 0)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = without_quotes(error.problem or "unexpected text")
            raise ConfigError(self.file, [Problem((), f"not YAML: {what}", mark.line + 1 if mark else None)]) from None
        except yaml.YAMLError:
            raise ConfigError(self.file, [Problem((), "not YAML: it holds a character that text has not")]) from None
        return value

    def _node(self, event: Event, events: Iterator[Event], path: Path, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise self._wrong("nested too deeply", event, path)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._wrong("an alias without an anchor; quote a text that begins with `*`", event, path)
            return self._anchors[event.anchor]
        node = cast("ScalarEvent | CollectionStartEvent", event)
        if node.tag not in (None, "!"):
            raise self._wrong("tags are not read; quote a text that begins with `!`", event, path)
        value: Value
        if isinstance(node, ScalarEvent):
            value = _scalar(node)
        elif isinstance(node, yaml.MappingStartEvent):
            value = {}
            while not isinstance(event := next(events), MappingEndEvent):
                key = self._key(event, value, path)
                value[key] = self._node(next(events), events, (*path, key), depth + 1)
        else:
            value = []
            while not isinstance(event := next(events), SequenceEndEvent):
                self.lines[*path, len(value)] = _line(event)
                value.append(self._node(event, events, (*path, len(value)), depth + 1))
        if node.anchor is not None:
            self._anchors[node.anchor] = value
        return value

    def _key(self, event: Event, mapping: dict[str, Value], path: Path) -> str:
        key = _scalar(event) if isinstance(event, ScalarEvent) else None
        if not isinstance(key, str):
            raise self._wrong("a key must be a text; quote it", event, path)
        if key in mapping:
            raise self._wrong(f"the key {quoted(key)} stands here twice", event, path)
        if key == "<<":
            raise self._wrong("merge keys are not read; an alias for a whole value is", event, path)
        self.lines[*path, key] = _line(event)
        return key

    def _wrong(self, message: str, event: Event, path: Path) -> ConfigError:
        return ConfigError(self.file, [Problem(path, message, _line(event))])


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 0


def _scalar(event: ScalarEvent) -> Value:
    """What a scalar means: quoted ones are texts, plain ones by the core schema."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
