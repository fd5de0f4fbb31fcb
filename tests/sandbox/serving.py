"""A sandbox behind a real socket, for clients that block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asbru.sandbox import running
from asbru.sandbox.app import Settings


@contextmanager
def serving(settings: Settings | None = None) -> Iterator[str]:
    """The base URL of a running sandbox."""
    with running(settings=settings) as sandbox:
        yield sandbox.url
