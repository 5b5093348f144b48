"""What has been answered outlives a power cut: the database's log, brought to the disk by one thread for all who wait.

A commit leaves its pages with the kernel (store.py): enough against kill -9, not against a power cut. Who answers a
user with something that is to stay, ``await``s ``synced()``: one fdatasync(2) of the log covers every commit before it,
so ten that wait at once cost one. What goes at a reboot anyhow (starts, ends, ``--rm``) is synced within half a
second, and nobody waits. SQLite writes its log over and over in one file, which is as long as it gets from the start:
so there is no size to be recorded, and a sync is one flush of the disk and no commit of the file system's journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

log = logging.getLogger(__name__)

LENGTH = 32 + 1010 * (24 + 4096)
"""Bytes of a log that SQLite begins anew: a head, and a thousand pages with a head each (PRAGMA wal_autocheckpoint)."""
SOON = 0.5
"""Seconds until a change that nobody waits for is on the disk."""


def fsync_directory(path: str) -> None:
    """Bring the names in a directory to the disk. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def lengthen(descriptor: int) -> None:
    """Fill the log up with zeros. From then on a commit changes no size and takes no block. Nobody may be writing.

    What follows the last frame is passed over by SQLite, since its checksum is wrong (sqlite.org/walformat.html). On a
    full disk the log stays as it is.
    """
    size = os.fstat(descriptor).st_size
    try:
        while (end := os.fstat(descriptor).st_size) < LENGTH:
            os.pwrite(descriptor, bytes(min(1 << 20, LENGTH - end)), end)
        os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)


class Syncing:
    """The log's way to the disk. Owns a descriptor of it."""

    def __init__(self, path: str) -> None:
        """``path``: the log. Raises OSError. Its directory is synced: the file is there after a power cut."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        lengthen(self._descriptor)
        fsync_directory(os.path.dirname(path))
        self._directories: list[str] = []
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None

    async def synced(self, *directories: str) -> None:
        """Return when every commit until now, and the names in these directories, are on the disk.

        The log comes first: where it has grown, that commits a journal of ext4, directories and all. A disk that fails
        is logged: the change stands.
        """
        self._directories += directories
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._sync(self._running))
        await asyncio.shield(self._next)

    async def _sync(self, before: asyncio.Task[None] | None) -> None:
        """One that runs already began before the last commits: another one, after it."""
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        directories, self._directories = self._directories, []
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        try:
            await asyncio.to_thread(self._sync_now, list(dict.fromkeys(directories)))
        except OSError as error:
            log.error("the database can't be brought to the disk: %s", error)

    def _sync_now(self, directories: list[str]) -> None:
        os.fdatasync(self._descriptor)
        for path in directories:
            with contextlib.suppress(FileNotFoundError):  # removed again
                fsync_directory(path)

    def soon(self) -> None:
        """There is something to sync, and nobody waits. Without an event loop: left to who does."""
        if self._soon is None and self._next is None:
            try:
                self._soon = asyncio.get_running_loop().call_later(SOON, self._begin)
            except RuntimeError:
                return

    def _begin(self) -> None:
        self._soon = None
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._sync(self._running))

    def close(self) -> None:
        """Nothing more will be synced here. Nobody may wait any more."""
        if self._soon is not None:
            self._soon.cancel()
        os.close(self._descriptor)
