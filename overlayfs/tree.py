"""A directory tree being built from names that nobody vouches for: every name lands inside, whatever it says.

A path is walked one component at a time, each opened relative to the directory before it and without following links.
A symbolic link on the way is read and walked as part of the path, "/" and ".." ending at the tree's root, so a link
that an archive made earlier means in here what it will mean in the container. Directories stay open while the
archive stays near them: with names in the order of a tree, a file costs one open.

Nobody else writes to the tree. The owner of ``Tree`` closes it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from overlayfs.errors import BadArchive
from overlayfs.remove import remove_tree

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CACHED = 64  # open directories
MAX_DEPTH = 200  # directories; a walk holds as many descriptors
MAX_LINKS = 40  # symbolic links in one path: the kernel's own limit
OPAQUE = "trusted.overlay.opaque"


def split_name(name: bytes) -> list[bytes]:
    """An archive's name as components below the root; [] is the root itself. Raises BadArchive.

    A leading "/" and "." mean nothing. ".." takes back what is before it, and may not lead out.
    """
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        parts = _take_back(name, parts)
    if len(parts) > MAX_DEPTH:
        raise BadArchive(name, f"more than {MAX_DEPTH} directories deep")
    return parts


def _take_back(name: bytes, parts: list[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for part in parts:
        if part != b"..":
            kept.append(part)
        elif kept:
            kept.pop()
        else:
            raise BadArchive(name, 'its name leads out of the archive with ".."')
    return kept


def is_whiteout(info: os.stat_result) -> bool:
    """Overlayfs's mark for a name that is deleted: a character device 0:0 (overlayfs.rst, "whiteouts")."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


class Tree:
    """The tree under ``root``, which exists. ``implicit`` are the directories made for want of an entry of their own.

    Directories are named by their real path inside: components joined with "/", b"" for the root.
    """

    def __init__(self, root: Path) -> None:
        self.implicit: set[bytes] = set()
        self.root = os.open(root, OPEN_DIRECTORY)
        self._open: dict[bytes, int] = {b"": self.root}

    def close(self) -> None:
        """Close every descriptor."""
        self._close_all()
        os.close(self.root)

    def trim(self) -> None:
        """Between two entries: close the cached directories if they are many."""
        if len(self._open) > CACHED:
            self._close_all()

    def _close_all(self) -> None:
        for path, fd in self._open.items():
            if path:
                os.close(fd)
        self._open = {b"": self.root}

    def directory(self, path: bytes) -> tuple[int, bytes]:
        """The directory named ``path``, made if missing: its descriptor (good until ``trim``) and real path.

        Raises BadArchive if something on the way is no directory, or the links go in circles.
        """
        fd = self._open.get(path)
        if fd is not None:
            return fd, path
        return self._walk(path)

    def child(self, parent: bytes, leaf: bytes) -> bytes:
        """The path of ``leaf`` in ``parent``."""
        return parent + b"/" + leaf if parent else leaf

    def clear(self, fd: int, leaf: bytes, path: bytes) -> os.stat_result | None:
        """Remove whatever is at ``leaf`` of the directory ``fd``; returns what it was, None if nothing was."""
        try:
            info = os.stat(leaf, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(info.st_mode):
            self._drop_below(path)
            remove_tree(leaf, dir_fd=fd)
        else:
            os.unlink(leaf, dir_fd=fd)
        return info

    def _drop_below(self, path: bytes) -> None:
        """Close the cached directories at and below ``path``."""
        below = path + b"/"
        self.implicit = {name for name in self.implicit if name != path and not name.startswith(below)}
        for name in [name for name in self._open if name == path or name.startswith(below)]:
            os.close(self._open.pop(name))

    def _walk(self, path: bytes) -> tuple[int, bytes]:
        """``here`` is a real directory and, like all above it, open. So ".." is the path without its last part."""
        todo, here, links = path.split(b"/")[::-1], b"", 0
        while todo:
            part = todo.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                here = here.rpartition(b"/")[0]
                continue
            child = self.child(here, part)
            if child in self._open or self._enter(here, part, child):
                here = child
                continue
            target = os.readlink(part, dir_fd=self._open[here])
            links += 1
            if links > MAX_LINKS:
                raise BadArchive(path, "too many symbolic links in its path, or a circle of them")
            todo += target.split(b"/")[::-1]
            here = b"" if target.startswith(b"/") else here
        return self._open[here], here

    def _enter(self, here: bytes, part: bytes, child: bytes) -> bool:
        """Open a directory below ``here``, made if missing. False if it is a symbolic link."""
        if child.count(b"/") >= MAX_DEPTH:
            raise BadArchive(child, f"more than {MAX_DEPTH} directories deep")
        parent = self._open[here]
        try:
            self._open[child] = os.open(part, OPEN_DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            self.make(parent, part, child)
        except NotADirectoryError:
            info = os.stat(part, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                return False
            if not is_whiteout(info):
                raise BadArchive(child, "a file, and other entries want it to be a directory") from None
            os.unlink(part, dir_fd=parent)
            self.make(parent, part, child)
            os.setxattr(self._open[child], OPAQUE, b"y")
        return True

    def make(self, parent: int, leaf: bytes, path: bytes) -> int:
        """Make a directory, 0755 and implicit for now. Returns its descriptor, which stays the tree's."""
        os.mkdir(leaf, 0o755, dir_fd=parent)
        fd = self._open[path] = os.open(leaf, OPEN_DIRECTORY, dir_fd=parent)
        os.fchmod(fd, 0o755)
        self.implicit.add(path)
        return fd
