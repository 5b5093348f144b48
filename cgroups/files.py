"""The files of a cgroup: read whole, written in one go. The kernel makes the text up, and acts on what is written."""

import errno
import os

from cgroups.errors import WriteRefused

GONE = (errno.ENOENT, errno.ENODEV)  # a cgroup removed under our feet answers either


def read(path: str) -> str:
    """A whole file; kernel files end at an empty read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 65536), b"")).decode()
    finally:
        os.close(fd)


def read_or(path: str, default: str) -> str:
    """A whole file, or the default where there is no such file (any more)."""
    try:
        return read(path)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return default


def write(path: str, text: str) -> None:
    """One write to an existing file. Raises WriteRefused."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise WriteRefused(path, text, error.errno or 0) from error


def flags(text: str) -> dict[str, int]:
    """The `key number` lines of an events file."""
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def try_write(path: str, text: str) -> None:
    """A write that the kernel may refuse: who needs its effect looks for it afterwards."""
    try:
        write(path, text)
    except WriteRefused as error:
        if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, errno.EACCES, errno.EROFS, errno.EPERM):
            raise


def pread_flags(fd: int) -> dict[str, int]:
    """The events file from its beginning, which also rearms poll; {} where the cgroup has been removed."""
    try:
        return flags(os.pread(fd, 4096, 0).decode())
    except OSError as error:
        if error.errno not in GONE:
            raise
        return {}
