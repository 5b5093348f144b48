"""A stream taken apart: one thread reads, decompresses and hashes, another parses and writes files.

The two meet at a short queue of chunks. ``Pump`` is the first thread; ``Chunks`` gives the second what it needs: so
many bytes, views of so many bytes without a copy, or none of them. ``Budget`` stops both at the caller's limit.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Self, cast

from overlayfs.compression import Readable, decompress
from overlayfs.errors import BadArchive, TooLarge

CHUNK = 1 << 20
AHEAD = 6  # chunks


class Budget:
    """Bytes that may still come: what is read of an archive, and what it makes us write beyond that (holes, copies)."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.used = limit, 0

    def charge(self, count: int) -> None:
        """Count ``count`` bytes. Raises TooLarge."""
        self.used += count
        if self.limit is not None and self.used > self.limit:
            raise TooLarge(self.limit)


class Pump:
    """Reads ``stream`` to its end in a thread: decompressed, hashed, in chunks. A context manager; leaving it joins.

    Iterating gives the chunks and raises what the reading raised. ``digest()`` is that of all chunks, once they are
    through. Leaving early stops the thread after the read that it is in.
    """

    def __init__(self, stream: Readable, algorithm: str, progress: Callable[[int], None] | None = None) -> None:
        self._queue: queue.Queue[memoryview | BaseException] = queue.Queue(AHEAD)
        self._free = [bytearray(CHUNK) for _ in range(AHEAD + 2)]  # one being filled, one being read
        self._hash, self._stop = hashlib.new(algorithm), False
        self._thread = threading.Thread(target=self._run, args=(stream, progress), name="unpack-read", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        while self._thread.is_alive():  # room for the chunk that the thread may be holding
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[memoryview]:
        """The chunks; each is good until the next one is asked for."""
        while chunk := self._queue.get():
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            self._free.append(cast("bytearray", chunk.obj))

    def digest(self) -> str:
        """Hex digits."""
        return self._hash.hexdigest()

    def _run(self, stream: Readable, progress: Callable[[int], None] | None) -> None:
        try:
            plain = decompress(stream, progress)
            while not self._stop and (chunk := _fill(plain, memoryview(self._free.pop()))):
                self._hash.update(chunk)
                self._queue.put(chunk)
            self._queue.put(memoryview(b""))
        except BaseException as error:  # it is raised where the chunks are read
            self._queue.put(error)


def _fill(plain: BinaryIO, buffer: memoryview) -> memoryview:
    """As much of ``buffer`` as the stream still fills: decompressors give their output in smaller pieces."""
    filled = 0
    while filled < len(buffer) and (count := plain.readinto(buffer[filled:])):  # type: ignore[attr-defined]
        filled += count
    return buffer[:filled]


class Chunks:
    """Chunks of bytes, read as one run of them. ``position`` is the number of bytes behind us."""

    def __init__(self, chunks: Iterator[bytes | memoryview], budget: Budget) -> None:
        self._chunks, self._budget = chunks, budget
        self._data, self._at, self._before = memoryview(b""), 0, 0

    @property
    def position(self) -> int:
        """Bytes read or skipped so far."""
        return self._before + self._at

    def take(self, count: int) -> bytes:
        """``count`` bytes. Raises BadArchive if the stream ends before."""
        data = self.take_or_end(count)
        if len(data) < count:
            raise BadArchive("", "truncated: it ends in the middle of an entry")
        return data

    def take_or_end(self, count: int) -> bytes:
        """``count`` bytes, or all that is left."""
        end = self._at + count
        if end <= len(self._data):
            data = bytes(self._data[self._at : end])
            self._at = end
            return data
        return b"".join(map(bytes, self._views(count)))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """``count`` bytes as views, uncopied, each good until the next. Raises BadArchive if the stream ends before."""
        for view in self._views(count):
            count -= len(view)
            yield view
        if count:
            raise BadArchive("", "truncated: it ends in the middle of an entry")

    def skip(self, count: int) -> None:
        """Leave out ``count`` bytes. Raises BadArchive if the stream ends before."""
        end = self._at + count
        if end <= len(self._data):
            self._at = end
        else:
            for _ in self.pieces(count):
                pass

    def drain(self) -> None:
        """Leave out all that is left."""
        self._at = len(self._data)
        while self._next():
            self._at = len(self._data)

    def _views(self, count: int) -> Iterator[memoryview]:
        while count:
            if self._at == len(self._data) and not self._next():
                return
            start, self._at = self._at, min(len(self._data), self._at + count)
            count -= self._at - start
            yield self._data[start : self._at]

    def _next(self) -> bool:
        self._before += len(self._data)
        self._data, self._at = memoryview(next(self._chunks, b"")), 0
        self._budget.charge(len(self._data))
        return bool(self._data)
