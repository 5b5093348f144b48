"""Which mount a directory is on: where, of what kind, from what. Source: proc_pid_mountinfo(5), proc_pid_fdinfo(5).

The kernel has a number for each mount, and says that of an open descriptor. A device's number would not do: subvolumes
of btrfs have devices of their own, which no mount has.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Mount(NamedTuple):
    """Where a directory is: the mount point, the type of the file system, its device."""

    point: str
    kind: str
    source: str


def mount_of(directory: str) -> Mount:
    """The mount that a directory is on. Raises OSError."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mount_of_descriptor(fd)
    finally:
        os.close(fd)


def mount_of_descriptor(fd: int) -> Mount:
    """The mount that an open file is on."""
    number = next(line.split()[1] for line in _lines(f"/proc/self/fdinfo/{fd}") if line.startswith("mnt_id:"))
    for line in _lines("/proc/self/mountinfo"):
        words, _, rest = line.partition(" - ")
        if words.split()[0] == number:
            kind, source = rest.split()[:2]
            return Mount(words.split()[4], kind, source)
    return Mount("/", "an unknown file system", "none")


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()
