"""Writes docs/reference: what users look up, made from the source that decides it.

Run it after a change of the configuration's structs, the commands, the routes, the headers, the error kinds or what a
dialect carries (``.venv/bin/python tools/gen_reference.py``); a test fails while a page is older than its source, and
this fails when something new has no words here yet. Prose that no source holds stands in `reference_texts`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

import click
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from asbru import config, edge_headers, errors, headers, record
from asbru.cli import main as cli
from asbru.dialects import registry
from asbru.dialects.losses import FIELDS, Fidelity
from asbru.load.decode import expected
from asbru.load.schema import docs_of_module, field_docs
from asbru.policy.auth import CREDENTIAL_HEADERS
from asbru.server import routes
from tools import provider_page
from tools import reference_texts as texts

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Made by tools/gen_reference.py; change the source, not this page. -->"
HELP_WIDTH = 100


def pages() -> dict[str, str]:
    """File name -> content."""
    return {
        "configuration.md": configuration(),
        "providers.md": page("Providers", *provider_page.blocks(table)),
        "cli.md": command_line(),
        "routes.md": route_table(),
        "headers.md": header_tables(),
        "errors.md": error_table(),
        "fidelity.md": fidelity(),
        "records.md": records(),
    }


def page(title: str, *blocks: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, *(block.strip("\n") for block in blocks)]) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    return f"`{text}`"


def prose(text: str) -> str:
    """A docstring's text as Markdown."""
    return text.replace("``", "`")


# Configuration


def configuration() -> str:
    return page(
        "Configuration",
        texts.CONFIGURATION,
        *(section(path, struct) for path, struct in sections("", config.Config)),
    )


def sections(path: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every section with its path, outer ones first."""
    yield path, struct
    for field in msgspec.structs.fields(struct):
        inner, suffix = inside(field.type)
        if inner is not None:
            yield from sections(f"{path}.{field.name}{suffix}".removeprefix("."), inner)


def inside(type_: object) -> tuple[type[msgspec.Struct] | None, str]:
    """The section that a field holds, and how its path goes on: ``[]`` for a list, ``.<name>`` for a mapping."""
    args = get_args(type_)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return type_, ""
    if get_origin(type_) in (tuple, list):
        return inside(args[0])[0], "[]"
    if get_origin(type_) is dict:
        return inside(args[1])[0], ".<name>"
    return None, ""


def section(path: str, struct: type[msgspec.Struct]) -> str:
    docs = field_docs()[struct.__name__]
    rows = [
        [code(field.name), type_words(field.type), default_words(field), prose(docs[field.name])]
        for field in msgspec.structs.fields(struct)
    ]
    title = f"## {code(path)}" if path else "## Top level"
    return f"{title}\n\n{prose(struct.__doc__ or '')}\n\n" + table(["key", "takes", "default", "meaning"], rows)


def type_words(type_: object) -> str:
    args = get_args(type_)
    origin = get_origin(type_)
    inner, _ = inside(type_)
    if origin in (Union, UnionType):
        return type_words(next(arg for arg in args if arg is not NoneType))
    if origin in (tuple, list):
        return "a list of sections" if inner else f"a list: {type_words(args[0])}"
    if origin is dict:
        return "name -> section" if inner else f"name -> {type_words(args[1])}"
    return "a section" if inner else expected(type_)


def default_words(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value in (None, (), {}) or isinstance(value, msgspec.Struct):
        return ""
    return code(msgspec.json.encode(value).decode().strip('"'))


# Commands


def command_line() -> str:
    return page("Command line", texts.COMMAND_LINE, *commands("asbru", cli))


def commands(name: str, command: click.Command, parent: click.Context | None = None) -> Iterator[str]:
    context = click.Context(
        command, parent, name, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH, **command.context_settings
    )
    yield f"## {code(context.command_path)}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for each in sorted(command.commands):
            yield from commands(each, command.commands[each], context)


# Routes


def route_table() -> str:
    rows = []
    for shown, example, meaning in texts.ROUTES:
        found = routes.find(example.encode())
        assert found is not None, f"nothing is at {example}"
        rows.append([code(shown), ", ".join(found.route.methods), texts.LIMITS[found.route.limit], meaning])
    before = texts.ROUTES_BEFORE.format(
        prefixes=", ".join(code(prefix.decode() or "(none)") for prefix in routes.PREFIXES)
    )
    return page("Routes", before, table(["path", "methods", "largest body", "what"], rows))


# Headers


def header_tables() -> str:
    return page(
        "Headers",
        texts.HEADERS_BEFORE.format(credentials=names(CREDENTIAL_HEADERS)),
        "## Headers that clients send",
        table(["header", "meaning"], [[code(name), meaning] for name, meaning in texts.REQUEST_HEADERS.items()]),
        "## What goes upstream",
        texts.UPSTREAM.format(
            credentials=names(headers.CREDENTIALS),
            hop_by_hop=names(headers.HOP_BY_HOP),
            edge=names([*edge_headers.REQUEST_NAMES, *(each + b"*" for each in edge_headers.REQUEST_PREFIXES)]),
            dimensions=headers.MAX_DIMENSIONS,
            characters=headers.MAX_DIMENSION_CHARS,
        ),
        "## Headers that clients get",
        texts.RESPONSE_BEFORE.format(origin=names(edge_headers.RESPONSE_NAMES)),
        table(["header", "meaning"], [[code(name), meaning] for name, meaning in texts.RESPONSE_HEADERS.items()]),
    )


def names(each: Iterable[bytes]) -> str:
    return ", ".join(code(name.decode()) for name in sorted(each))


# Errors


def error_table() -> str:
    rows = [
        [
            code(name),
            str(kind.status),
            code(kind.type),
            kind.source,
            code(name) if kind.reason else "",
            "" if kind.should_retry is None else code(str(kind.should_retry).lower()),
            texts.ERRORS[name],
        ]
        for name, kind in errors.KINDS.items()
    ]
    head = ["kind", "status", "`error.type`", "at fault", "`x-asbru-reason`", "`x-should-retry`", "when"]
    return page("Errors", texts.ERRORS_BEFORE, table(head, rows))


# Records


def records() -> str:
    sections = []
    for struct in (record.Record, record.Attempt, record.Usage, record.Iteration):
        docs = docs_of_module(record)[struct.__name__]
        rows = [
            [code(field.name), docs[field.name].partition("\n")[0].replace("``", "`")]
            for field in msgspec.structs.fields(struct)
        ]
        title = "" if struct is record.Record else f"## {texts.RECORD_PARTS[struct.__name__]}\n\n"
        sections.append(title + table(["field", "meaning"], rows))
    return page("Records", texts.RECORDS_BEFORE, *sections)


# Fidelity


def fidelity() -> str:
    translated = {name: registry.codec(name).fidelity for name in registry.DIALECTS}
    wrapped = {name: registry.envelope(name).fidelity for name in registry.ENVELOPES}
    tables = translated | wrapped
    matrix = [
        [code(field), meaning, *(rows[field].verdict for rows in tables.values())] for field, meaning in FIELDS.items()
    ]
    return page(
        "Fidelity",
        texts.FIDELITY_BEFORE,
        table(["field", "what it is", *map(code, tables)], matrix),
        *(notes(name, rows, FIELDS) for name, rows in translated.items()),
        *(
            notes(name, rows, [field for field in FIELDS if rows[field].verdict != "exact"])
            for name, rows in wrapped.items()
        ),
    )


def notes(dialect: str, rows: Fidelity, fields: Iterable[str]) -> str:
    lines = [[code(field), rows[field].verdict, rows[field].note] for field in fields]
    return f"## {code(dialect)}\n\n" + table(["field", "", "how, or why not"], lines)


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for file, content in pages().items():
        (REFERENCE / file).write_text(content, encoding="utf-8")
