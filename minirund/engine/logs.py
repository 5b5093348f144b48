"""Reading a container's log, the CRI lines that the shim writes (bundle.py): from the end, from a time, as they come.

Following waits for the kernel's word (inotify) that the file grew; it ends when the container has ended and all is
read.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from minirund.libc import watch_file
from minirund.wire import STDERR, STDOUT

CHUNK = 64 * 1024
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


class LogRecord(NamedTuple):
    """One line, or a part of a long one. ``stream`` 1 or 2; ``content`` with its newline if it had one."""

    stream: int
    time: str
    content: bytes


class Query(NamedTuple):
    """What is wanted. Times are seconds since 1970, 0 for no bound; ``tail`` counts lines, None for all."""

    stdout: bool = True
    stderr: bool = True
    since: float = 0
    until: float = 0
    tail: int | None = None
    follow: bool = False


def parse(line: bytes) -> LogRecord | None:
    """One line of the file, with or without its newline; None for one that is damaged."""
    try:
        time, stream, tag, content = line.removesuffix(b"\n").split(b" ", 3)
        return LogRecord(_STREAMS[stream], time.decode(), content + (b"\n" if tag == b"F" else b""))
    except (ValueError, KeyError):
        return None


def moment(seconds: float) -> str:
    """A time as the log writes it; times in the log compare as text."""
    whole, nanos = divmod(round(seconds * 1_000_000_000), 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09}Z"


class Matcher:
    """Whether a record is wanted."""

    def __init__(self, query: Query) -> None:
        self._streams = {number for number, on in ((STDOUT, query.stdout), (STDERR, query.stderr)) if on}
        self._since = moment(query.since) if query.since else ""
        self._until = moment(query.until) if query.until else "~"

    def __call__(self, record: LogRecord | None) -> bool:
        """True to show it."""
        return record is not None and record.stream in self._streams and self._since <= record.time < self._until

    def of(self, lines: list[bytes], last: str) -> tuple[list[LogRecord], bool]:
        """Those to show, and whether the rest is too late: for the query, or later than ``last`` if that is not ""."""
        found: list[LogRecord] = []
        for record in map(parse, lines):
            if record is None:
                continue
            if record.time >= self._until or (last and record.time > last):
                return found, True
            if self(record):
                found.append(record)
        return found, False


def tail_offset(descriptor: int, end: int, lines: int) -> int:
    """Where the last ``lines`` whole lines before ``end`` begin. Reads backwards, no more than it must."""
    position, seen = end, -1  # the newline that ends the last line begins none
    while position > 0:
        start = max(0, position - CHUNK)
        block = os.pread(descriptor, position - start, start)
        for index in range(len(block) - 1, -1, -1):
            if block[index] == 0x0A:
                seen += 1
                if seen == lines:
                    return start + index + 1
        position = start
    return 0


ALL = "~"
"""The end of a log that nobody writes to any more."""


async def read(path: str, query: Query, ended: Callable[[], str]) -> AsyncIterator[list[LogRecord]]:
    """The records that pass, in order, as many at once as a block of the file holds. A log that isn't there is empty.

    ``ended`` is asked whether what is followed has ended: "" for no, else the time (as in the log) after which there
    is nothing of it; ``ALL`` if nothing came after it. Following ends as well at the time that is asked for.
    """

    def over() -> str:
        return ended() or (ALL if query.until and time.time() >= query.until else "")

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        with Watch(path) if query.follow else _NoWatch() as watch:
            async for records in _records(descriptor, query, watch, over):
                yield records
    finally:
        os.close(descriptor)


async def _records(
    descriptor: int, query: Query, watch: Watch | _NoWatch, ended: Callable[[], str]
) -> AsyncIterator[list[LogRecord]]:
    match = Matcher(query)
    position = 0
    if query.tail is not None:
        position = await asyncio.to_thread(_tail, descriptor, query, match)
    rest = b""
    while True:
        last = ended()  # asked before reading: what was written until now is read below
        async for block in _blocks(descriptor, position):
            position += len(block)
            *lines, rest = (rest + block).split(b"\n")
            records, over = match.of(lines, last)
            if records:
                yield records
            if over:
                return
        if last or not query.follow or not await watch.changed(ended):
            return


async def _blocks(descriptor: int, position: int) -> AsyncIterator[bytes]:
    while block := os.pread(descriptor, CHUNK, position):
        position += len(block)
        yield block
        await asyncio.sleep(0)


def _tail(descriptor: int, query: Query, match: Matcher) -> int:
    """Where to begin so that ``tail`` matching lines come out; all streams wanted is a matter of counting newlines."""
    end, lines = os.fstat(descriptor).st_size, query.tail or 0
    if lines == 0:
        return end
    if query.stdout and query.stderr and not query.until:
        return tail_offset(descriptor, end, lines)
    starts = [start for start, line in _lines(descriptor, end) if match(parse(line))]
    return starts[-lines] if len(starts) >= lines else 0


def _lines(descriptor: int, end: int) -> Iterator[tuple[int, bytes]]:
    position, rest = 0, b""
    while position < end and (block := os.pread(descriptor, CHUNK, position)):
        start = position - len(rest)
        position += len(block)
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield start, line
            start += len(line) + 1


class _NoWatch:
    def __enter__(self) -> _NoWatch:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def changed(self, _: Callable[[], str]) -> bool:
        return False


class Watch:
    """inotify(7) on one file, on the event loop."""

    def __init__(self, path: str) -> None:
        self._descriptor = watch_file(path)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def changed(self, ended: Callable[[], str]) -> bool:
        """Wait until the file has grown, or the container has ended (looked for twice a second)."""
        loop = asyncio.get_running_loop()
        grew = asyncio.Event()
        loop.add_reader(self._descriptor, grew.set)
        try:
            while not grew.is_set() and not ended():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await grew.wait()
            if grew.is_set():
                os.read(self._descriptor, CHUNK)
            return True
        finally:
            loop.remove_reader(self._descriptor)
