"""Room on the disk that is set aside for a full one: a file of zeros, given up when a fact has to be written down.

A disk that is full must not keep anybody from making space: `rm` and `rmi` write to the database before they free
anything. The same goes for what has come to pass already, the end of a container for one. Docker has no such thing, and
its users delete log files by hand.
"""

from __future__ import annotations

import os

SIZE = 1 << 20
"""Bytes: some hundred changes in the database."""
MARGIN = 8
"""Times SIZE that must be free before the reserve is taken again."""


class Reserve:
    """The file. Owns its descriptor."""

    def __init__(self, path: str) -> None:
        """Take it, if there is room. Raises OSError if the file can't be made."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.held = os.fstat(self._descriptor).st_size == SIZE
        self.take()

    def take(self) -> None:
        """Set the room aside, unless that is done or there is too little."""
        found = os.fstatvfs(self._descriptor)
        if self.held or found.f_bavail * found.f_frsize < MARGIN * SIZE:
            return
        try:
            os.posix_fallocate(self._descriptor, 0, SIZE)
            self.held = True
        except OSError:  # taken by others meanwhile
            os.ftruncate(self._descriptor, 0)

    def give_up(self) -> bool:
        """Let it go for something better; False if there was nothing."""
        was_held, self.held = self.held, False
        os.ftruncate(self._descriptor, 0)
        return was_held

    def close(self) -> None:
        """The room stays set aside."""
        os.close(self._descriptor)
