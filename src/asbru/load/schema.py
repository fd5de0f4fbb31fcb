"""The configuration's JSON Schema, and what its fields' documentation says: both made from ``config.py`` itself."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import msgspec

from asbru import config, limits
from asbru.secrets import Secret

_SECRET_DESCRIPTION = "a secret: `env.NAME`, `os.environ/NAME`, `file:/path` or the value itself"  # noqa: S105


def json_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of a configuration file."""
    (root,), definitions = msgspec.json.schema_components([config.Config], schema_hook=_schema_hook)
    docs = field_docs()
    for name, definition in definitions.items():
        for field, schema in definition["properties"].items():
            schema["description"] = docs[name][field]
    definitions["Config"]["properties"]["$schema"] = {"type": "string", "description": "this schema, for editors"}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}
    # Python's \Z is what $ means in a JSON Schema's regular expressions.
    text = msgspec.json.encode(schema).replace(rb"\\Z", b"$").replace(b"#/components/schemas/", b"#/$defs/")
    made: dict[str, object] = msgspec.json.decode(text)
    return made


def _schema_hook(type_: type) -> dict[str, object]:
    if type_ is Secret:
        return {"type": "string", "minLength": 1, "description": _SECRET_DESCRIPTION}
    raise NotImplementedError(type_)


def field_docs() -> dict[str, dict[str, str]]:
    """Struct's name -> field's name -> the text that stands under the field in the module."""
    return docs_of_module(config) | docs_of_module(limits)


def docs_of_module(module: ModuleType) -> dict[str, dict[str, str]]:
    """The same of any module."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text("utf-8"))
    return {node.name: _docs_of(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_of(node: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = inspect.cleandoc(text)
    return docs
