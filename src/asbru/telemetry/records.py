"""Where Records go for now: one JSON line each, to a file or standard output, in batches off the request path.

A request only appends to a list. A timer encodes and writes what has gathered, at most `FLUSH_S` later; the list is
bounded, and what does not fit because the disk does not keep up is counted and reported, never waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import BinaryIO

import msgspec

from asbru.record import Record

log = logging.getLogger("asbru.records")

FLUSH_S = 0.25
MAX_PENDING = 50_000


class NoRecords:
    """``log.records: off``."""

    def write(self, record: Record) -> None:
        """Nobody asked to keep it."""

    def close(self) -> None:
        """Nothing is open."""


class RecordLog:
    """Appends Records to a stream as JSON lines; raises OSError when the file cannot be opened."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._stream: BinaryIO = sys.stdout.buffer if path == "-" else _open(path)
        self._loop = loop
        self._encoder = msgspec.json.Encoder()
        self._pending: list[Record] = []
        self._dropped = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def write(self, record: Record) -> None:
        """Keep a Record to be written soon."""
        if self._closed:
            log.error("the record of %s came after the log was closed", record.request_id)
            return
        if len(self._pending) >= MAX_PENDING:
            self._dropped += 1
            return
        self._pending.append(record)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        pending, self._pending = self._pending, []
        try:
            self._stream.write(self._encoder.encode_lines(pending))
            self._stream.flush()
        except OSError as error:
            log.error("%d records could not be written: %s", len(pending), error.strerror)
        if self._dropped:
            log.error("%d records were dropped: the log does not keep up", self._dropped)
            self._dropped = 0

    def close(self) -> None:
        """Write what is left; nothing may be written after it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        if self._stream is not sys.stdout.buffer:
            self._stream.close()


def _open(path: str) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")


def open_records(path: str, loop: asyncio.AbstractEventLoop) -> NoRecords | RecordLog:
    """The sink that ``log.records`` names."""
    return NoRecords() if path == "off" else RecordLog(path, loop)
