"""Where Records go for now: one JSON line each, to a file or standard output, in batches off the request path.

A request only appends to a list. A timer hands what has gathered to the one thread that encodes and writes it, at most
`FLUSH_S` later. Standard output, a pipe or a disk may block for as long as they like: that holds up the thread alone,
never the event loop. What is not yet written is bounded; beyond that Records are dropped and counted, and the thread
reports how many as soon as it is free (the loop does not: standard error may be the same blocked pipe).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import stat
import sys
import threading
from enum import Enum, auto
from pathlib import Path
from queue import SimpleQueue

import msgspec

from asbru.record import Record, finish

log = logging.getLogger("asbru.records")

FLUSH_S = 0.25
MAX_PENDING = 50_000
MAX_CLOSE_S = 5.0
SLICE = 256
"""Records encoded at a time: the interpreter lock is held meanwhile."""


class _Order(Enum):
    """What the thread is told besides the Records to write."""

    REOPEN = auto()
    END = auto()


class NoRecords:
    """``log.records: off``."""

    def write(self, record: Record) -> None:
        """Nobody asked to keep it."""

    def reopen(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


class RecordLog:
    """Appends Records to a file as JSON lines, in the order of `write`; raises OSError when it cannot be opened.

    Each attribute that changes is written by one side only, the loop or the thread, and so needs no lock.
    """

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._owns_fd = path != "-"
        # Not through a buffered stream: its lock, held by a blocked thread, would abort the interpreter's exit.
        self._fd = _open(path) if self._owns_fd else _standard_output()
        self._batches: SimpleQueue[list[Record] | _Order] = SimpleQueue()
        """From the loop to the thread, in their order."""
        # the loop's
        self._loop = loop
        self._pending: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._taken = 0
        self._dropped = 0
        self._closed = False
        # the thread's
        self._encoder = msgspec.json.Encoder()
        self._done = 0
        """Of those taken: written, or lost and said so."""
        self._reported = 0
        """Of those dropped."""
        self._torn = self._owns_fd and _ends_inside_a_line(path)
        """The last write broke off, perhaps inside a line: the next one begins a new line."""

    def write(self, record: Record) -> None:
        """Keep a Record to be written soon; never waits."""
        if self._closed:
            log.error("the record of %s came after the log was closed", record.request_id)
            return
        if self._taken - self._done >= MAX_PENDING:
            self._dropped += 1
            return
        self._taken += 1
        self._pending.append(record)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._hand_over)

    def _hand_over(self) -> None:
        self._timer = None
        self._put(self._pending)
        self._pending = []

    def _put(self, batch: list[Record] | _Order) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="asbru-records", daemon=True)
            self._thread.start()
        self._batches.put(batch)

    def reopen(self) -> None:
        """Go on in a new file if the old one has been moved away; what came before this call goes to the old one."""
        if self._closed or not self._owns_fd:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._hand_over()
        self._put(_Order.REOPEN)

    def close(self) -> None:
        """Have what is left written, for at most `MAX_CLOSE_S`; nothing may be written after it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._hand_over()
        if self._thread is None:
            self._close_fd()
            return
        self._batches.put(_Order.END)
        self._thread.join(MAX_CLOSE_S)
        if self._thread.is_alive():  # it ends with the process
            lost = self._taken - self._done + self._dropped - self._reported
            log.error("%d records were not written: the log did not take them within %g s", lost, MAX_CLOSE_S)

    def _close_fd(self) -> None:
        if self._owns_fd:
            os.close(self._fd)

    # In the thread

    def _write_all(self) -> None:
        while (batch := self._batches.get()) is not _Order.END:
            if batch is _Order.REOPEN:
                self._open_anew()
                continue
            for start in range(0, len(batch), SLICE):
                self._write_some(batch[start : start + SLICE])
            del batch  # not kept until the next one comes
            if dropped := self._dropped - self._reported:
                self._reported += dropped
                log.error("%d records were dropped: the log does not keep up", dropped)
        self._close_fd()

    def _open_anew(self) -> None:
        try:
            fd = _open(self._path)
        except OSError as error:
            log.error("%s could not be opened anew, the file that was open stays: %s", self._path, error.strerror)
            return
        os.close(self._fd)
        self._fd = fd
        self._torn = _ends_inside_a_line(self._path)

    def _write_some(self, records: list[Record]) -> None:
        try:
            for record in records:
                finish(record)
            lines = self._encoder.encode_lines(records)
            if self._torn:  # costs a reader one line, not two
                lines = b"\n" + lines
            self._torn = True
            _write(self._fd, lines)
            self._torn = False
        except OSError as error:
            log.error("%d records could not be written: %s", len(records), error.strerror)
        except Exception:  # the thread must outlive whatever a Record holds
            log.exception("%d records could not be encoded", len(records))
        self._done += len(records)


def _write(fd: int, data: bytes) -> None:
    """All of it, however long that takes."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # standard output that another process has made non-blocking
            select.select((), (fd,), ())


def _open(path: str) -> int:
    """Opened without waiting: a pipe that nobody reads is an error, not a start that hangs."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(path, flags, 0o600)
    os.set_blocking(fd, True)
    return fd


def _standard_output() -> int:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    return sys.stdout.fileno()


def _ends_inside_a_line(path: str) -> bool:
    """Whether a file's last line has no end, as when the machine failed while it was written."""
    file = Path(path)
    try:
        if not (file.is_file() and file.stat().st_size):
            return False
        with file.open("rb") as content:
            content.seek(-1, os.SEEK_END)
            return content.read(1) != b"\n"
    except OSError:  # it may be written but not read
        return False


def open_records(path: str, loop: asyncio.AbstractEventLoop) -> NoRecords | RecordLog:
    """The sink that ``log.records`` names; raises `OSError` when it cannot be opened."""
    return NoRecords() if path == "off" else RecordLog(path, loop)


def records_fault(path: str, error: OSError) -> str:
    """Why Records cannot be kept, as the operator is shown it."""
    reason = error.strerror or str(error)
    return f"cannot write records to {path}: {reason[:1].lower()}{reason[1:]} (log.records)"


def check_records(path: str) -> None:
    """Raise `OSError` when `open_records` would, without creating the file."""
    if path in ("off", "-"):
        return
    file, needed = Path(path), os.W_OK
    try:
        is_directory = stat.S_ISDIR(file.stat().st_mode) or path.endswith("/")
    except FileNotFoundError:
        file, needed = file.resolve().parent, os.W_OK | os.X_OK
        if not stat.S_ISDIR(file.stat().st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        is_directory = path.endswith("/")
    if is_directory:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(file, needed):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
