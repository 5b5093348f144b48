"""Directories on the way to a cgroup: made where they are missing, marked, and taken away again by whoever made them.

    make("/sys/fs/cgroup/team/build/1234")         # makes and marks what of it is not there
    remove_made("/sys/fs/cgroup/team/build")       # build if it is ours and empty, then team

A cgroup that somebody else made is never removed: it may hold limits, or be waited for. What tells them apart is an
extended attribute of the directory. It lives as long as the directory does, so it needs no file, and nothing goes out
of step after a crash. (systemd marks what it has delegated in the same way.) Where the attribute can't be set, as
without CAP_SYS_ADMIN, a directory counts as somebody else's, and stays.

Others may remove a parent between two steps of ours, as they see it empty: then it is made anew.
"""

import os
import stat
from contextlib import suppress

MARK = "trusted.minirund"
MADE, KEPT = b"made", b"kept"
"""Made for what lies below it, and of no use without; or made to stay until its maker says otherwise."""
_TRIES = 100


def make(path: str, mark: bytes = MADE) -> None:
    """Make a directory and its parents, each with the mark; those that are there are left alone. Raises OSError."""
    for _ in range(_TRIES):
        try:
            os.mkdir(path, 0o755)
        except FileNotFoundError:
            make(os.path.dirname(path), mark)
        except FileExistsError:
            with suppress(FileNotFoundError):  # it has gone again: once more
                if stat.S_ISDIR(os.stat(path).st_mode):
                    return
                raise
        else:
            _set_mark(path, mark)
            return
    raise FileNotFoundError(f"{path}: its parent is removed again and again")


def remove_made(path: str, marks: tuple[bytes, ...] = (MADE,)) -> None:
    """Remove a directory and then its parents, up to the first that is in use, or has no such mark."""
    while mark_of(path) in marks:
        try:
            os.rmdir(path)
        except OSError:
            return
        path = os.path.dirname(path)


def mark_of(path: str) -> bytes | None:
    """The mark that `make` left; None for somebody else's directory, or for none."""
    try:
        return os.getxattr(path, MARK)
    except OSError:
        return None


def _set_mark(path: str, mark: bytes) -> None:
    try:
        os.setxattr(path, MARK, mark)
    except OSError:
        return
