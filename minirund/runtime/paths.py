"""Paths in a container's root, opened so that nothing in it leads outside: the one module that does this.

An image decides what its files are. /etc may be a link to /, /dev a link to /etc, /tmp/x a link to ../../../../etc: an
``open`` by name would follow them out of the container, with the host's root privileges. openat2(2) with
RESOLVE_IN_ROOT resolves a whole path as if the directory were the root of all there is: an absolute link starts over
there, ".." stops there, and magic links (/proc/PID/root) are not followed at all. What comes back is a descriptor. It
is what is mounted on, written to, made into: the name is never used a second time.

Who calls: mounts, devices, masks, users, the working directory. Descriptors are the caller's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from minirund.errors import StepFailed
from minirund.runtime.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
MAX_LINKS = 40  # as many as the kernel follows in one path


def open_in(root: int, path: str, flags: int = os.O_PATH, mode: int = 0, links: bool = True) -> int:
    """Open ``path`` inside the directory ``root``. With ``links=False`` a symbolic link anywhere in it is refused.

    Raises OSError: ENOENT; ELOOP for a link that is refused or leads nowhere.
    """
    return opened_or_raise(look_in(root, path, flags, mode, links), path)


def opened_or_raise(found: int, path: str) -> int:
    """What ``look_in`` has found, where it must be there after all. Raises OSError."""
    if found < 0:
        raise OSError(-found, os.strerror(-found), path)
    return found


def look_in(root: int, path: str, flags: int = os.O_PATH, mode: int = 0, links: bool = True) -> int:
    """``open_in`` for what need not be there: the negative errno where that raises."""
    resolve = INSIDE if links else INSIDE | RESOLVE_NO_SYMLINKS
    found = -errno.EAGAIN
    while found == -errno.EAGAIN:  # a rename elsewhere raced with a ".." in the path
        found = openat2(root, path or "/", flags, resolve, mode)
    return found


@contextmanager
def opened(root: int, path: str, flags: int = os.O_PATH, mode: int = 0, links: bool = True) -> Iterator[int]:
    """``open_in`` for a ``with``: closed at its end."""
    descriptor = open_in(root, path, flags, mode, links)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_in(root: int, path: str, limit: int = 4 << 20) -> bytes | None:
    """A regular file's first ``limit`` bytes, or None if there is no such file. Never blocks on a FIFO or a device."""
    try:
        descriptor = open_in(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        return os.read(descriptor, min(found.st_size, limit)) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(descriptor)


def make_directories(root: int, path: str, mode: int = 0o755) -> int:
    """mkdir -p inside ``root``; returns the last directory (O_PATH).

    Links on the way are followed inside the root, and what a dangling one points to is made there.
    """
    found = look_in(root, path, os.O_PATH | os.O_DIRECTORY)
    if found == -errno.ENOENT:
        return _make_last(root, path, mode) or _make_missing(root, path, mode)
    return opened_or_raise(found, path)


def _make_last(root: int, path: str, mode: int) -> int:
    """The common case: only the last directory is missing, and no link has its name. 0 where it is another case."""
    above, name = os.path.split(path.rstrip("/"))
    parent = look_in(root, above, os.O_PATH | os.O_DIRECTORY)
    if parent < 0:
        return 0
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except OSError:
        return 0
    else:
        return max(0, openat2(parent, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, INSIDE))
    finally:
        os.close(parent)


def _make_missing(root: int, path: str, mode: int) -> int:
    """Component by component; ``todo`` holds what is still to be walked, ``walked`` where we are, links resolved."""
    todo, walked, followed = parts(path), "/", 0
    while todo:
        name = todo.pop(0)
        if name == "..":
            walked = os.path.dirname(walked)
            continue
        with opened(root, walked, os.O_PATH | os.O_DIRECTORY) as parent:
            target = _make_one(parent, name, mode)
        if target is None:
            walked = os.path.join(walked, name)
            continue
        followed += 1
        if followed > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        walked = "/" if target.startswith("/") else walked
        todo = [*parts(target), *todo]
    return open_in(root, walked, os.O_PATH | os.O_DIRECTORY)


def _make_one(parent: int, name: str, mode: int) -> str | None:
    """Have the directory ``name``; if it is a link, say where it points to instead."""
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError:
            return None
    return None


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """Have an (empty) file to mount over, with its directories; returns it (O_PATH).

    A dangling link (many an image's /etc/resolv.conf) is followed inside the root, and its target made.
    """
    for _ in range(MAX_LINKS):
        try:
            return open_in(root, path)
        except FileNotFoundError:
            path = _make_file_or_follow(root, "/" + path.strip("/"), mode)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _make_file_or_follow(root: int, path: str, mode: int) -> str:
    """Make the file; or, where a link has its name, say what that points to."""
    directory, name = os.path.split(path)
    parent = make_directories(root, directory)
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=parent))
    except FileExistsError:
        return os.path.join(directory, os.readlink(name, dir_fd=parent))
    finally:
        os.close(parent)
    return path


def make_target(root: int, path: str, directory: bool, links: bool = True) -> int:
    """Have something to mount on: a directory or a file, as what is mounted is. Raises StepFailed."""
    try:
        if not links:
            return _make_without_links(root, path)
        return make_directories(root, path) if directory else make_file(root, path)
    except OSError as error:
        raise StepFailed("make the mount point", error.errno or 0, path) from error


def _make_without_links(root: int, path: str) -> int:
    """A directory whose path holds no link, made if it is missing; anything else is refused."""
    try:
        return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=False)
    except FileNotFoundError:
        os.close(make_directories(root, path))
        return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=False)
    except OSError as error:
        raise StepFailed("must be mounted on an ordinary directory", error.errno or 0, path) from error


def parts(path: str) -> list[str]:
    """The names in a path, without empty ones and "."."""
    return [part for part in path.split("/") if part not in ("", ".")]


def proc_path(descriptor: int) -> str:
    """A path for calls that only take paths: the kernel goes straight to what is open, by no name.

    Needs the host's /proc, so it works until the root is changed.
    """
    return f"/proc/self/fd/{descriptor}"
