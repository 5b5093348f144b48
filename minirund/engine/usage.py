"""How much room a container's read-write layer takes: the sum of its files.

The container may be running and be hostile: it exchanges directories for links while we look, or nests them without
end. So every directory is opened below its parent's descriptor, never through a link; what is too deep doesn't count.
"""

from __future__ import annotations

import contextlib
import os
import stat

MAX_DEPTH = 200
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Seen = set[tuple[int, int]]


def disk_usage(directory: str) -> int:
    """Bytes of the regular files below a directory; a file with several names counts once. Gone or unreadable is 0."""
    return _below(directory, None, set(), 0)


def _below(name: str, parent: int | None, seen: Seen, depth: int) -> int:
    if depth > MAX_DEPTH:
        return 0
    with contextlib.suppress(OSError):
        descriptor = os.open(name, _OPEN, dir_fd=parent)
        try:
            return sum(_entry(entry, descriptor, seen, depth) for entry in os.listdir(descriptor))
        finally:
            os.close(descriptor)
    return 0


def _entry(name: str, parent: int, seen: Seen, depth: int) -> int:
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(found.st_mode):
        return _below(name, parent, seen, depth + 1)
    key = (found.st_dev, found.st_ino)
    if key in seen:
        return 0
    seen.add(key)
    return found.st_size
