"""Remove a directory tree that a hostile container or archive has built: of any depth, with links to anywhere.

A recursive remover runs out of stack, of descriptors, or of path length (4096 bytes) in a tree that is deep enough,
and such a tree is three lines of shell. Here every directory found inside is first moved up to the top, so nothing is
ever deeper than one level, and two directories are open at a time. No link is followed.
"""

from __future__ import annotations

import os
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str | bytes | Path, *, dir_fd: int | None = None) -> None:
    """Remove the directory ``path`` and all in it; no error if it doesn't exist. Raises OSError.

    It must be on one file system: nothing mounted inside.
    """
    try:
        top = os.open(path, _OPEN, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=dir_fd)


def _empty(top: int) -> None:
    token, moved = os.urandom(8).hex(), 0
    todo = _unlink_files(top)
    while todo:
        name = todo.pop()
        fd = os.open(name, _OPEN, dir_fd=top)
        try:
            for inner in _unlink_files(fd):
                moved += 1
                todo.append(f".{token}.{moved}")
                os.rename(inner, todo[-1], src_dir_fd=fd, dst_dir_fd=top)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=top)


def _unlink_files(fd: int) -> list[str]:
    """Remove what is no directory, and the empty directories; returns the names of the others."""
    left = []
    with os.scandir(fd) as found:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in names:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError:
            left.append(name)
    return left
