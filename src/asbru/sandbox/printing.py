"""Lines on standard output that never hold up the event loop: a thread writes them, and drops what it cannot write."""

from __future__ import annotations

import os
import threading
from queue import Full, Queue

MAX_PENDING = 1_000
MAX_CLOSE_S = 1.0


class LinePrinter:
    """Prints to a file descriptor, in the order of `print`."""

    def __init__(self, fd: int) -> None:
        # Not through a buffered stream: its lock, held by a blocked thread, would abort the interpreter's exit.
        self._fd = fd
        self._lines: Queue[str | None] = Queue(MAX_PENDING)
        self._thread = threading.Thread(target=self._write, name="asbru-lines", daemon=True)
        self._thread.start()

    def print(self, line: str) -> None:
        """Never waits; the line is dropped when too many are waiting."""
        try:
            self._lines.put_nowait(line)
        except Full:
            return

    def close(self) -> None:
        """Have what is waiting written, for at most `MAX_CLOSE_S`."""
        try:
            self._lines.put(None, timeout=MAX_CLOSE_S)
        except Full:
            return  # nobody reads: the thread ends with the process
        self._thread.join(MAX_CLOSE_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            left = memoryview(f"{line}\n".encode("utf-8", "replace"))
            try:
                while left:
                    left = left[os.write(self._fd, left) :]
            except OSError:  # closed, or nobody reads any more: requests are answered all the same
                continue
