"""The shape of the source: arrows point down only, pure packages stay pure, uvicorn stays in its corner.

`LAYERS` is the map, bottom first. A module may import from the rows below its own and from its own row, never from
above, and no modules import each other in a circle. A new module or package must be given its row here.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "asbru"

# Top-level names below src/asbru, bottom first.
LAYERS: list[set[str]] = [
    {"__init__", "errors", "secrets", "record", "config", "edge_headers", "headers", "limits", "redaction", "turns"},
    {"dialects"},
    {"policy"},
    {"upstream"},
    {"telemetry"},
    {"server"},
    {"sandbox"},
    {"load"},
    {
        "asked",
        "attempt",
        "attempts",
        "call",
        "dryrun",
        "fetch",
        "gateway",
        "heartbeat",
        "models",
        "outgoing",
        "pipeline",
        "relay",
        "resources",
        "translate",
        "whole_answer",
        "workers",
    },
    {"app"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Decisions and codecs: time, chance and I/O come in as arguments or not at all.
PURE = ("dialects", "policy")
IMPURE_MODULES = {
    "asyncio",
    "random",
    "select",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uvicorn",
    "uvloop",
}

# The only files that may know the server that runs us.
UVICORN_FILES = {"server/asgi.py", "server/connection.py", "server/serve.py"}

MAX_LINES = 450
LONG_FILES: dict[str, str] = {"upstream/connection.py": "the phases of a connection, and the one timer of them all"}
"""Files that are longer all the same, each with the reason why it is still one idea."""


def files() -> list[str]:
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py"))


def module_name(file: str) -> str:
    parts = ["asbru", *Path(file).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit(module: str) -> str:
    """The top-level name a module belongs to: ``asbru.server.asgi`` -> ``server``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def imported(file: str, *, types_too: bool = True) -> frozenset[str]:
    """Every module the file imports, anywhere in it, by absolute name; ours as far as a file stands for it."""
    ours = {module_name(other) for other in files()}
    found: set[str] = set()
    tree = ast.parse((SOURCE / file).read_text())
    if not types_too:
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import; write the absolute name"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in ours else node.module)
    return frozenset(found)


def ours(file: str, *, types_too: bool = True) -> set[str]:
    return {name for name in imported(file, types_too=types_too) if name.split(".")[0] == "asbru"}


@pytest.mark.parametrize("file", files())
def test_arrows_point_down_only(file: str) -> None:
    own = unit(module_name(file))
    assert own in RANK, f"{file}: give {own!r} its row in LAYERS"
    upward = {name for name in ours(file) if RANK[unit(name)] > RANK[own]}
    assert not upward, f"{file} imports from a layer above its own"


def test_no_modules_import_each_other_in_a_circle() -> None:
    # An import for types alone is not one at run time: two classes of one package may name each other that way.
    graph = {module_name(file): ours(file, types_too=False) - {module_name(file)} for file in files()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("file", [file for file in files() if file.split("/")[0] in PURE])
def test_decisions_and_codecs_are_pure(file: str) -> None:
    assert not {name.split(".")[0] for name in imported(file)} & IMPURE_MODULES


def test_only_the_server_knows_uvicorn() -> None:
    users = {file for file in files() if any(name.split(".")[0] == "uvicorn" for name in imported(file))}
    assert users <= UVICORN_FILES


def test_files_stay_readable() -> None:
    lengths = {file: len((SOURCE / file).read_text().splitlines()) for file in files()}
    long = {file for file, lines in lengths.items() if lines > MAX_LINES}
    assert long == set(LONG_FILES), (
        "a file over the limit needs its reason in LONG_FILES; a shorter one must not be there"
    )
