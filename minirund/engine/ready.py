"""Directories for containers that are still to come: made and on the disk before somebody waits for that.

    take()  <---  [id] [id] ...  <---  a thread: make some, fsync their names, until there are ``SIZE``

A container that is to outlive a power cut needs its directory on the disk, and that is a commit of the file system's
journal and three flushes of the disk: most of what a create took. These are made ahead; what a create waits for then is
its record alone (syncing.py), one flush. The container takes its ID from the directory.

They are an offer, no promise: with none left, or no room on the disk, a create makes its own. The daemon removes them
when it ends; those of one that was killed are, to the next, directories that no record knows (recover.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil

from minirund.engine.names import new_id
from minirund.engine.syncing import fsync_directory
from minirund.errors import StorageFull
from overlayfs.mount import create_rw

log = logging.getLogger(__name__)

SIZE = 8
LEAST = 64 << 10
"""Bytes that must be free for a container to be made."""
SOON = 0.3
"""Seconds until more are made: not at the same time as the start of who took one."""


def require_room(directory: str) -> None:
    """Whether anything new fits there. Directory and record would: they have their room already. Raises StorageFull."""
    found = os.statvfs(directory)
    if found.f_bfree * found.f_frsize < LEAST:
        raise StorageFull(f"the disk is full: there is no space left in {directory}")


class Ready:
    """The IDs whose directories wait. Belongs to the event loop, and makes no use of it before the first ``fill``."""

    def __init__(self, directory: str) -> None:
        """``directory``: where containers have theirs."""
        self._directory = directory
        self._ready: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    def take(self) -> str | None:
        """An ID with a directory, which is the caller's from now on; None if there is none at the moment."""
        found = self._ready.pop() if self._ready else None
        if len(self._ready) <= SIZE // 2:
            self.fill()
        return found

    def fill(self) -> None:
        """See to it that there are some, soon."""
        if self._timer is None and self._work is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(SOON, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._work = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        wanted = [new_id() for _ in range(SIZE - len(self._ready))]
        try:
            self._ready += await asyncio.to_thread(self._make, wanted)
        finally:
            self._work = None

    def _make(self, wanted: list[str]) -> list[str]:
        """All of them, and on the disk; or none."""
        try:
            for ident in wanted:
                create_rw(f"{self._directory}/{ident}/rw")
            for ident in wanted:
                fsync_directory(f"{self._directory}/{ident}/rw")
                fsync_directory(f"{self._directory}/{ident}")
            fsync_directory(self._directory)
        except OSError as error:
            log.debug("no directories are made ahead: %s", error)
            self._remove(wanted)
            return []
        return wanted

    def _remove(self, idents: list[str]) -> None:
        for ident in idents:
            with contextlib.suppress(OSError):
                shutil.rmtree(f"{self._directory}/{ident}")

    async def close(self) -> None:
        """Remove what nobody has taken."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            await asyncio.wait([self._work])
        await asyncio.to_thread(self._remove, self._ready)
        self._ready = []
