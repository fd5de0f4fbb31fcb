"""The Record log: in order, never in the event loop's way, bounded, and said so when something is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from asbru.record import Record
from asbru.telemetry import records
from asbru.telemetry.records import RecordLog, open_records
from tests.upstream.rawserver import on_uvloop, until

LONG = "x" * 512
"""In every Record of a test with a pipe: a slice of them is more than the pipe holds."""


def made(number: int) -> Record:
    return Record(request_id=f"req_{number}", started_unix_ms=number, method="POST", route="messages", model=LONG)


def numbers(data: bytes) -> list[int]:
    return [json.loads(line)["started_unix_ms"] for line in data.splitlines()]


def opened(path: Path) -> RecordLog:
    log = open_records(str(path), asyncio.get_running_loop())
    assert isinstance(log, RecordLog)
    return log


def read_all(fd: int) -> bytes:
    """What comes through a pipe until its writer closes it."""
    os.set_blocking(fd, True)
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def stuck(tmp_path: Path, test: Callable[[RecordLog, int], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a log into a pipe that nobody reads yet; it gets the reading end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> None:
        await test(opened(path), fd)

    on_uvloop(main())


def test_records_are_written_soon_and_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        log = opened(tmp_path / "records.jsonl")
        for number in range(1000):
            log.write(made(number))
        await until(lambda: (tmp_path / "records.jsonl").read_bytes().count(b"\n") == 1000)
        for number in range(1000, 1500):
            log.write(made(number))
        log.close()
        assert numbers((tmp_path / "records.jsonl").read_bytes()) == list(range(1500))

    on_uvloop(main())


def test_a_file_is_added_to_and_for_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> None:
        for number in range(2):
            log = opened(tmp_path / "records.jsonl")
            log.write(made(number))
            log.close()
        assert numbers((tmp_path / "records.jsonl").read_bytes()) == [0, 1]
        assert (tmp_path / "records.jsonl").stat().st_mode & 0o777 == 0o600

    on_uvloop(main())


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        (b"", []),
        (b'{"started_unix_ms":7}\n', [b'{"started_unix_ms":7}']),
        (b'{"started_unix_ms":7}\n{"started_unix', [b'{"started_unix_ms":7}', b'{"started_unix']),
    ],
)
def test_a_line_that_a_crash_broke_off_is_ended_first(before: bytes, lines: list[bytes], tmp_path: Path) -> None:
    """At the start and when the file is opened anew, a whole Record never goes on a partial line."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(before)

    async def main() -> None:
        log = opened(path)
        log.write(made(1))
        path.rename(tmp_path / "moved")
        path.write_bytes(before)
        log.reopen()
        log.write(made(2))
        log.close()

    on_uvloop(main())
    for file, number in ((tmp_path / "moved", 1), (path, 2)):
        *kept, last = file.read_bytes().splitlines()
        assert kept == lines and numbers(last) == [number]


def test_a_blocked_log_does_not_hold_up_the_loop_and_what_it_cannot_hold_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(records, "MAX_PENDING", 1000)

    async def test(log: RecordLog, fd: int) -> None:
        for number in range(600):
            log.write(made(number))
        await until(lambda: log._thread is not None)  # the loop goes on while the thread waits for the pipe
        for number in range(600, 1007):
            log.write(made(number))
        reading = asyncio.get_running_loop().run_in_executor(None, read_all, fd)
        await until(lambda: log._done == 1000)
        log.write(made(1007))
        log.close()
        assert numbers(await reading) == [*range(1000), 1007]

    stuck(tmp_path, test)
    assert [entry.getMessage() for entry in caplog.records] == ["7 records were dropped: the log does not keep up"]


def test_closing_a_blocked_log_takes_a_bounded_time_and_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(records, "MAX_CLOSE_S", 0.05)

    async def test(log: RecordLog, fd: int) -> None:
        for number in range(300):
            log.write(made(number))
        log.close()
        (said,) = caplog.records
        assert said.getMessage() == "300 records were not written: the log did not take them within 0.05 s"
        await asyncio.get_running_loop().run_in_executor(None, read_all, fd)

    stuck(tmp_path, test)


def test_a_log_that_fails_says_so_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(log: RecordLog, fd: int) -> None:
        os.close(fd)
        log.write(made(0))
        await until(lambda: log._done == 1)
        log.write(made(1))
        log.close()

    stuck(tmp_path, test)
    assert [entry.getMessage() for entry in caplog.records] == ["1 records could not be written: Broken pipe"] * 2


def test_a_line_that_broke_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "pipe"

    async def test(log: RecordLog, fd: int) -> None:
        log.write(made(0))
        await until(lambda: log._done == 1)
        for number in range(1, 301):  # more than the pipe holds: the writing breaks off
            log.write(made(number))
        await until(lambda: len(log._pending) == 0)
        began = await asyncio.get_running_loop().run_in_executor(None, os.read, fd, 100_000)
        os.close(fd)
        await until(lambda: log._done == 301)
        rest = asyncio.get_running_loop().run_in_executor(None, read_all, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        log.write(made(301))
        log.close()
        lines = (began + await rest).splitlines()
        whole = [line for line in lines if line.endswith(b"}")]
        assert len(lines) == len(whole) + 1
        assert numbers(b"\n".join(whole)) == [*range(len(whole) - 1), 301]

    stuck(tmp_path, test)


def test_a_record_that_cannot_be_encoded_does_not_end_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        log = opened(tmp_path / "records.jsonl")
        log.write(Record(request_id="\ud800", started_unix_ms=0, method="GET", route="models"))
        await until(lambda: log._done == 1)
        log.write(made(1))
        log.close()
        assert numbers((tmp_path / "records.jsonl").read_bytes()) == [1]

    with caplog.at_level(logging.ERROR):
        on_uvloop(main())
    assert [entry.getMessage() for entry in caplog.records] == ["1 records could not be encoded"]


def test_a_pipe_that_nobody_reads_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    async def main() -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="No such device"):
            opened(tmp_path / "pipe")

    on_uvloop(main())


def test_a_file_that_has_been_moved_away_is_left_and_a_new_one_begun(tmp_path: Path) -> None:
    path, moved = tmp_path / "records.jsonl", tmp_path / "records.jsonl.1"

    async def main() -> None:
        log = opened(path)
        log.write(made(0))
        path.rename(moved)
        log.reopen()
        log.write(made(1))
        log.close()

    on_uvloop(main())
    assert (numbers(moved.read_bytes()), numbers(path.read_bytes())) == ([0], [1])


def test_a_file_that_cannot_be_opened_anew_is_written_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, moved = tmp_path / "here", tmp_path / "there"
    folder.mkdir()

    async def main() -> None:
        log = opened(folder / "records.jsonl")
        folder.rename(moved)
        log.reopen()
        log.write(made(0))
        log.close()

    on_uvloop(main())
    assert numbers((moved / "records.jsonl").read_bytes()) == [0]
    assert "could not be opened anew" in caplog.text
