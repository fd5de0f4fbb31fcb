"""Worker threads for large bodies, so that the loop stays free while they are split, translated and encoded.

A small body is done where it is: a thread would cost more than the work. What runs in a thread gets all it needs as
arguments; the task that waits for it touches none of it meanwhile. When that task is cancelled, work that has not
begun is dropped, and work that runs ends by itself: bodies are bounded (`dialects.bounds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asbru.dialects.bounds import LARGE_BYTES

_THREADS = 2

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """The threads of a process; begun when they are first needed, ended with the process."""

    __slots__ = ("_executor", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(_THREADS, "asbru-body")

    async def run(self, size_bytes: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises; called in a thread when it works on so many bytes."""
        if size_bytes <= LARGE_BYTES:
            return function(*args, **kwargs)
        return await self._loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
