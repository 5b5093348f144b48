"""Deleting without making anyone wait: a directory is renamed into the trash, and deleted whenever there is time.

What a crash leaves in the trash is deleted at the next start. A container's quota goes here too, with its directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from minirund.bundle import Bundle
from overlayfs import quota
from overlayfs.remove import remove_tree

log = logging.getLogger(__name__)


class Trash:
    """A directory on the file system of what is thrown away."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="trash")
        for name in os.listdir(directory):
            self._delete_soon(name)

    def put(self, path: str) -> None:
        """Take a directory out of sight; one that isn't there is fine."""
        name = secrets.token_hex(8)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{self.directory}/{name}")
            self._delete_soon(name)

    def _delete_soon(self, name: str) -> None:
        self._worker.submit(self._delete, f"{self.directory}/{name}")

    def _delete(self, path: str) -> None:
        try:
            quota.lift(Bundle(path, "").rw_path)
            remove_tree(path)
        except OSError as error:
            log.warning("%s stays behind: %s", path, error)

    async def close(self) -> None:
        """Finish the deleting."""
        await asyncio.to_thread(self._worker.shutdown)
