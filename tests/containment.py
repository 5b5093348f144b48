"""A machine of one's own inside this one, so that a test session can neither meet others nor leave anything behind.

    cgroup     everything that is started lives below one cgroup; its v2 mount shows that cgroup as the root
    mounts     a private mount namespace
    network    a network namespace with nothing but `lo`

What is still there at the end (``Leftovers``) is therefore ours, whatever else runs on the machine. ``Place`` takes the
calling process in; ``python containment.py CGROUP DIRECTORY`` is a process that holds such a place for others
(see daemon.py) until its standard input ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

if __name__ == "__main__":  # run as a program, from anywhere
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cgroups.cgroup import Cgroup, find_mount, subdirectories
from cgroups.files import read

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWNET = 0x00020000, 0x02000000, 0x40000000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 1 << 18, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
OWN = (
    "self"  # the cgroup below the new root in which the process itself then lives: a root with processes can't delegate
)
PREFIX = "minirund-test-"  # of the cgroups: then the pid of who made it
GRACE = 60.0  # seconds: the kernel takes namespaces apart behind the last process, one after the other


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def raise_loopback() -> None:
    """`ip link set lo up`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


class Place:
    """The namespaces and the cgroup that this process is in. ``root`` is the cgroup as the new mount shows it."""

    def __init__(self, name: str) -> None:
        mount = find_mount()
        controllers = Cgroup(mount).controllers()
        group = Cgroup(f"{mount}/{name}")
        group.create(controllers)
        self._claim = claim(group.path)
        # Opened before we enter: the way out, where the new cgroup namespace shows none.
        self._home = os.open(Cgroup.at(own_cgroup()).file("cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
        self._above = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = name
        group.join(0)
        unshare(mount)
        self.root = Cgroup(mount)
        own = Cgroup(f"{mount}/{OWN}")
        own.create(())
        own.join(0)
        own.create(controllers)

    def leave(self) -> None:
        """Go home with the cgroup, end everybody left inside, and remove it. The namespaces end with the process."""
        os.write(self._home, b"0")
        for path in subdirectories(self.root.path):
            Cgroup(path).remove()
        os.rmdir(self._name, dir_fd=self._above)
        for descriptor in (self._home, self._above, self._claim):
            os.close(descriptor)


def own_cgroup() -> str:
    """The v2 cgroup of this process, from the mount."""
    return next(line[3:] for line in read("/proc/self/cgroup").splitlines() if line.startswith("0::"))


def unshare(mount: str) -> None:
    """New namespaces, in which the cgroup v2 mount shows this process's cgroup as its root, and `lo` is up."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWNET), "unshare")
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "mount --make-rprivate /")
    _check(libc.umount2(mount.encode(), MNT_DETACH), f"umount {mount}")  # the same twice over is EBUSY
    _check(libc.mount(b"cgroup2", mount.encode(), b"cgroup2", ctypes.c_ulong(0), None), f"mount cgroup2 on {mount}")
    raise_loopback()


def claim(path: str) -> int:
    """A descriptor of a cgroup that says that somebody lives there. Raises BlockingIOError if somebody else does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def sweep() -> None:
    """Remove the cgroups, and end the processes, that a session killed midway has left.

    Its pid is in their name, but a session in another pid namespace has a pid that we can't look up: its claim is what
    both can see. The pid protects a cgroup that is not claimed yet.
    """
    for path in subdirectories(find_mount()):
        name = os.path.basename(path)
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            with suppress(BlockingIOError, FileNotFoundError):
                os.close(claim(path))
                Cgroup(path).remove()


@dataclass(frozen=True)
class Leftovers:
    """What a place holds. Subtract what it held at first."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]

    def __sub__(self, other: Leftovers) -> Leftovers:
        return Leftovers(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__dataclass_fields__)

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {entry}" for name in self.__dataclass_fields__ for entry in sorted(getattr(self, name))
        )


def describe(pid: int) -> str:
    """A process, recognisable: its pid and command line."""
    try:
        return f"{pid} " + read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    except OSError:
        return f"{pid} (ended)"


def descriptors(pid: int) -> list[str]:
    """What a process has open. What it closes meanwhile is left out."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sorted(found)


def observe(root: Cgroup, keepers: frozenset[int], enter_with: tuple[str, ...] = (), pid: str = "self") -> Leftovers:
    """Look around below a cgroup and in the namespaces of a process; ``enter_with`` is how a command gets there.

    ``keepers`` are the processes that belong there: those that hold the place.
    """

    def lines(*command: str) -> frozenset[str]:
        shown = subprocess.run([*enter_with, *command], check=True, capture_output=True, text=True).stdout
        return frozenset(line.strip() for line in shown.splitlines())

    return Leftovers(
        processes=frozenset(describe(each) for each in set(root.processes()) - keepers),
        mounts=frozenset(line.split(" ")[4] for line in read(f"/proc/{pid}/mountinfo").splitlines()),
        links=frozenset(line.split(": ")[1] for line in lines("ip", "-o", "link")),
        tables=lines("nft", "list", "tables") if shutil.which("nft") else frozenset(),
        cgroups=frozenset(subdirectories(root.path)) - {f"{root.path}/{OWN}"},
    )


def settle(look: Callable[[], Leftovers], before: Leftovers) -> Leftovers:
    """What is there that wasn't before, once the kernel has had time to take things apart."""
    deadline = time.monotonic() + GRACE
    while (left := look() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def hold() -> None:
    """Hold a place until standard input ends. Arguments: the cgroup's name, a directory to become a tmpfs there."""
    name, directory = sys.argv[1:]
    Place(name)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tmpfs", directory], check=True)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold()
