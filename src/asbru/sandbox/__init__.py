"""The provider in the box: the Anthropic Messages API, scripted and deterministic, without key, network or model.

For tests of agents: `running`, `RunningSandbox` and `SandboxRequest`, imported when they are used. For the gateway:
`app.handler`. Inside, in the order a request meets them: `app` (routes), `caller` (headers),
`models` and `failures` (what the model's name asks for), `request_fields`, `request_shapes` and `shape` (tables of what
requests look like), `validate` and `conversation` (the rules beyond the tables), `request` (the typed request),
`script` with `calls`, `server_tools`, `citations`, `schema` and `pattern` (the answer), `tokens` and `thinking` (its
counts and signatures), `stream` (its events), `answers` (errors and headers). Kept in memory, bounded: `batches`,
`files` (read by `multipart`), `threads`. `pages`, `completions`, `output_schema`, `ids`: what their names say.
For developers of agents: `replies` (scripted answers), `request_log`, `control` (both over HTTP), `background` (a
sandbox in a thread) and `pytest_plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asbru.sandbox.background import RunningSandbox as RunningSandbox
    from asbru.sandbox.background import running as running
    from asbru.sandbox.request_log import SandboxRequest as SandboxRequest

__all__ = ["RunningSandbox", "SandboxRequest", "running"]

_MODULES = {
    "RunningSandbox": "asbru.sandbox.background",
    "SandboxRequest": "asbru.sandbox.request_log",
    "running": "asbru.sandbox.background",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
