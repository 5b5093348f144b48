"""What a pull is built of: work that several callers share, and a file that is read while it is written.

A ``Flight`` is one piece of work (a layer on its way) that any number of callers wait for. Everyone hears its progress,
a latecomer hears the last of it first; when the last one has lost interest, the work is cancelled.

A ``Follower`` joins two threads by a file and not by a queue: a downloaded byte is on disk at once, for a later resume,
and whoever unpacks reads it back from the page cache, as late as he likes. So the network never waits for the
unpacking, and memory holds a chunk or two however large a layer is. What he has read leaves the page cache: nobody
wants it soon, and the files that he writes can have the memory.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Generic, TypeVar

from minirund.engine.progress import Message, Sink
from minirund.errors import EngineError, InvalidArgument, MinirundError, RegistryError, StorageFull
from overlayfs.errors import BadArchive, BadDigest, DigestMismatch, OverlayError, TooLarge

T = TypeVar("T")
WINDOW = 8 << 20  # bytes; as many as the writer begins to bring to the disk at a time


class Flight(Generic[T]):
    """One piece of work in progress and who waits for it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[T] | None = None
        self.waiting = 0
        self._sinks: list[Sink] = []
        self._last: Message | None = None

    def tell(self, message: Message) -> None:
        """Pass a message on to everyone who waits."""
        self._last = message
        for sink in list(self._sinks):
            sink(message)

    def join(self, sink: Sink) -> None:
        """One more waits."""
        self.waiting += 1
        self._sinks.append(sink)
        if self._last:
            sink(self._last)

    def leave(self, sink: Sink) -> None:
        """One less waits; nobody left means the end of the work."""
        self.waiting -= 1
        self._sinks.remove(sink)
        if not self.waiting and self.task:
            self.task.cancel()


class Flights(Generic[T]):
    """The work in progress, by key."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight[T]] = {}

    def working(self, prefix: str) -> list[asyncio.Task[T]]:
        """The tasks whose keys begin with ``prefix``."""
        return [_task(flight) for key, flight in self._flights.items() if key.startswith(prefix)]

    async def share(self, key: str, work: Callable[[Flight[T]], Coroutine[Any, Any, T]], sink: Sink) -> T:
        """The result of the work on ``key``: begun now, or joined. Raises what the work raises.

        Cancelled as the last who waits, it returns when the work has stopped.
        """
        while (old := self._flights.get(key)) and not old.waiting:
            await asyncio.wait([_task(old)])
        flight = self._flights.get(key) or self._begin(key, work)
        flight.join(sink)
        try:
            return await asyncio.shield(_task(flight))
        finally:
            flight.leave(sink)
            if not flight.waiting:
                await settled(_task(flight))

    def _begin(self, key: str, work: Callable[[Flight[T]], Coroutine[Any, Any, T]]) -> Flight[T]:
        flight = self._flights[key] = Flight[T]()
        flight.task = asyncio.create_task(work(flight), name=f"transfer {key}")
        flight.task.add_done_callback(lambda task: self._ended(key, task))
        return flight

    def _ended(self, key: str, task: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # those who waited have it; with nobody left it is no longer of interest


def _task(flight: Flight[T]) -> asyncio.Task[T]:
    assert flight.task is not None  # noqa: S101 - set before anyone else sees the flight
    return flight.task


async def settled(future: asyncio.Future[Any]) -> None:
    """Wait until ``future`` is done, however it ends; a cancellation meanwhile is raised afterwards."""
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


class Stopped(Exception):
    """Raised by ``Follower.read`` when nobody wants the result any more."""


class Follower:
    """A readable stream over a file that grows: ``read`` waits for bytes that are still to come.

    One thread reads; the others say what became of the file: ``attach``, ``grew``, and at last ``finish`` or ``fail``.
    ``on_read`` is called in the reading thread with the number of bytes read so far.
    """

    def __init__(self, on_read: Callable[[int], None] | None = None) -> None:
        self.position = 0
        self._forgotten = 0
        self._on_read = on_read
        self._file: BinaryIO | None = None
        self._size = 0
        self._finished = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def attach(self, file: BinaryIO, size: int) -> None:
        """The file to read, and how many of its bytes are valid. It is closed by ``close``."""
        with self._changed:
            self._file, self._size = file, size
            self._changed.notify_all()

    def grew(self, size: int) -> None:
        """That many bytes are there now."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def finish(self) -> None:
        """All bytes are there."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """No more will come: the reader gets ``error``."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def read(self, size: int = 1 << 20, /) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises what ``fail`` was given."""
        with self._changed:
            while not (self._error or self._finished or self.position < self._size):
                self._changed.wait()
            if self._error:
                raise self._error
            file, count = self._file, min(size, self._size - self.position)
        data = os.pread(file.fileno(), count, self.position) if file and count else b""
        self.position += len(data)
        if file and self.position - self._forgotten >= WINDOW:
            self._forget(file)
        if self._on_read:
            self._on_read(self.position)
        return data

    def _forget(self, file: BinaryIO) -> None:
        """Let what was read out of the page cache. Pages on their way to the disk stay: so the window before, again."""
        start = max(self._forgotten - WINDOW, 0)
        os.posix_fadvise(file.fileno(), start, self.position - start, os.POSIX_FADV_DONTNEED)
        self._forgotten = self.position

    def close(self) -> None:
        """Close the file. The reading thread has ended before."""
        if self._file:
            os.posix_fadvise(self._file.fileno(), 0, self.position, os.POSIX_FADV_DONTNEED)
            self._file.close()


@contextmanager
def storage_errors(where: object) -> Iterator[None]:
    """Errors of the store in the daemon's own words; ``where`` is the store's directory."""
    try:
        yield
    except (OverlayError, OSError) as error:
        raise storage_error(error, where) from error


def storage_error(error: BaseException, where: object) -> MinirundError:
    """The daemon's error for one of overlayfs or of the system."""
    if isinstance(error, MinirundError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left on device: {where}")
    if isinstance(error, TooLarge):
        return InvalidArgument(f"{error} (set by --max-unpacked-size)")
    if isinstance(error, BadArchive | BadDigest):
        return InvalidArgument(str(error))
    if isinstance(error, DigestMismatch):
        return RegistryError(str(error))
    return EngineError(str(error))


async def first_error(*awaitables: Awaitable[Any]) -> list[Any]:
    """Run all; on the first failure cancel the rest, wait for them, and raise it. Results in order."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await settled(asyncio.gather(*tasks, return_exceptions=True))
        raise
