"""container.log: every byte that a container prints, in the Kubernetes CRI form, and its way back.

    2026-01-31T12:00:00.123456789Z stdout F a whole line
    2026-01-31T12:00:01.000000000Z stderr P a part: 16 KiB of a longer line, or output that ended without a newline

One read of the container's output becomes one write here, whatever the number of lines in it: the head of a record is
put behind every newline by one ``bytes.replace``. A line that is not complete waits for its rest.

A full disk must not stop the container. What can't be written is counted and let go; when there is room again a record
says how much is missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from minirund.wire import STDERR, STDOUT

NAMES = {STDOUT: b"stdout", STDERR: b"stderr"}
PART = 16 * 1024
CHUNK = 64 * 1024


def stamp(now: int) -> bytes:
    """Nanoseconds since 1970 -> RFC 3339 in UTC."""
    seconds, rest = divmod(now, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def records(stream: int, data: bytes, now: int) -> bytes:
    """Whole lines (each with its newline) as records."""
    head = b"%b %b F " % (stamp(now), NAMES[stream])
    if has_long_line(data):
        return b"".join(cut(line, head) for line in data[:-1].split(b"\n"))
    return (head + data[:-1]).replace(b"\n", b"\n" + head) + b"\n"  # in this order: what grows is copied once


def has_long_line(data: bytes) -> bool:
    """Whether a line is longer than a record may be. Looks at few places only: the last newline in every 16 KiB."""
    start = 0
    while len(data) - start > PART + 1:
        end = data.rfind(b"\n", start, start + PART + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def cut(line: bytes, head: bytes) -> bytes:
    """One line without its newline as records: parts, then the full one."""
    part = head[:-2] + b"P "
    count = max(0, len(line) - 1) // PART
    pieces = [part + line[index * PART : (index + 1) * PART] + b"\n" for index in range(count)]
    return b"".join(pieces) + head + line[count * PART :] + b"\n"


def parse(record: bytes) -> tuple[int, bytes]:
    """A record without its newline -> stream and the bytes that were printed."""
    _time, stream, tag, content = record.split(b" ", 3)
    return (STDERR if stream == b"stderr" else STDOUT), content if tag == b"P" else content + b"\n"


class LogWriter:
    """Appends to a log. Owns the descriptor."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        self._open_lines = {STDOUT: b"", STDERR: b""}
        self._lost = 0

    def write(self, stream: int, data: bytes) -> None:
        """Record what was printed. Never raises for want of space."""
        end = data.rfind(b"\n") + 1
        waiting = self._open_lines[stream]
        if not end:
            self._open_lines[stream] = self._flush_parts(stream, waiting + data)
            return
        complete = waiting + data[:end] if waiting else data[:end]
        self._open_lines[stream] = data[end:]
        self._append(records(stream, complete, time.time_ns()), len(complete))

    def _flush_parts(self, stream: int, line: bytes) -> bytes:
        """Write the full parts of a line that has not ended; returns its rest."""
        while len(line) > PART:
            self._append(self._part(stream, line[:PART]), PART)
            line = line[PART:]
        return line

    def _part(self, stream: int, content: bytes) -> bytes:
        return b"%b %b P %b\n" % (stamp(time.time_ns()), NAMES[stream], content)

    def waiting(self) -> Iterator[tuple[int, bytes]]:
        """What was printed and is not in the file yet: the beginnings of lines."""
        yield from ((stream, line) for stream, line in self._open_lines.items() if line)

    def finish(self) -> None:
        """The output has ended: what waits for a newline is written without one."""
        for stream, line in self.waiting():
            self._append(self._part(stream, line), len(line))
        self._open_lines = {STDOUT: b"", STDERR: b""}

    def _append(self, text: bytes, printed: int) -> None:
        """Whole records or nothing. ``printed`` is how many of the container's bytes they hold."""
        if self._lost:
            text = b"%b stderr F minirund: %d bytes of output are missing here: no space was left\n%b" % (
                stamp(time.time_ns()),
                self._lost,
                text,
            )
        size = os.fstat(self._descriptor).st_size if self._lost else -1
        try:
            written = os.write(self._descriptor, text)
        except OSError as error:
            self._lose(error, printed)
            return
        if written == len(text):
            self._lost = 0
            return
        self._take_back(size, written)
        self._lose(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), printed)

    def _take_back(self, size: int, written: int) -> None:
        """Remove the part of a record that was written, so that the log stays readable."""
        end = size if size >= 0 else os.fstat(self._descriptor).st_size - written
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, end)

    def _lose(self, error: OSError, printed: int) -> None:
        if not self._lost:
            with contextlib.suppress(OSError):
                os.write(2, f"{self.path}: {error.strerror}: output is not recorded until there is room\n".encode())
        self._lost += printed

    def close(self) -> None:
        """Write what waits, and close."""
        self.finish()
        os.close(self._descriptor)


class LogReader:
    """Reads a log back, chunk by chunk, up to where it ends now. Owns the descriptor."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""

    def read(self) -> list[tuple[int, bytes]]:
        """The next (stream, bytes) pairs, neighbours of one stream put together; [] at the end."""
        data = os.read(self._descriptor, CHUNK)
        while data:
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            if lines:
                return join(parse(line) for line in lines)
            data = os.read(self._descriptor, CHUNK)
        return []

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def join(pairs: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Put neighbours of one stream together."""
    found: list[tuple[int, list[bytes]]] = []
    for stream, content in pairs:
        if not found or found[-1][0] != stream:
            found.append((stream, []))
        found[-1][1].append(content)
    return [(stream, b"".join(contents)) for stream, contents in found]
