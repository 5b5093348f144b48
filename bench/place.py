"""Where the bench runs: namespaces, a cgroup and a disk that nobody else sees, and that end with it.

    with outside(directory) as place:   the caller's process: makes a cgroup, and removes it with all that is in it
        enter(place, program)           unshare(1): mount, network, PID and IPC namespaces
            prepare(place)              the process in there: cgroup v2 on /sys/fs/cgroup, tmpfs on /run, the disk

The first process of the PID namespace waits for the bench and reaps what engines leave behind; when it ends the kernel
ends everybody in it, then the mounts go, then the loop device, whose file has no name any more. So there is nothing
to tidy: not after Ctrl-C, not after an error, not after kill -9. Only the cgroup and an empty directory are left by
that, and the next bench sweeps them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from containment import CLONE_NEWCGROUP, raise_loopback

from cgroups.cgroup import Cgroup, find_mount

NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
DISK_BYTES = 16 << 30  # sparse
PRIVATE = ("/run", "/var/lib/cni", "/var/lib/containers", "/dev/shm")
PREFIX = "minirund-bench-"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """What is there before and after: a cgroup, and a directory for the disk's file."""

    group: str
    directory: str

    @property
    def root(self) -> Cgroup:
        """The cgroup that is the root in there. The process that waits outside has another: a root with processes in
        it can't hand controllers down."""
        return Cgroup(f"{self.group}/root")

    @property
    def outer(self) -> Cgroup:
        return Cgroup(f"{self.group}/outer")


@contextmanager
def outside(directory: str) -> Iterator[Place]:
    """Make both; both are gone afterwards."""
    mount = find_mount()
    for path in left_behind(mount):
        Cgroup(path).remove()
    for path in left_behind(directory):
        shutil.rmtree(path, ignore_errors=True)
    place = Place(f"{mount}/{PREFIX}{os.getpid()}", f"{directory}/{PREFIX}{os.getpid()}")
    os.mkdir(place.directory, 0o700)
    try:
        place.outer.create(())
        place.root.create(Cgroup(mount).controllers())
        yield place
    finally:
        Cgroup(place.group).remove()
        shutil.rmtree(place.directory, ignore_errors=True)


def left_behind(directory: str) -> list[str]:
    """What a bench that was ended by kill -9 has left in here: its pid is in the name."""
    pids = {name: name.removeprefix(PREFIX) for name in os.listdir(directory) if name.startswith(PREFIX)}
    return [f"{directory}/{name}" for name, pid in pids.items() if not os.path.exists(f"/proc/{pid}")]


def enter(place: Place, program: Sequence[str]) -> int:
    """Run a program in there, as its first process; its exit code. Ctrl-C is the program's to act on."""
    command = ["unshare", *NAMESPACES, "--propagation", "private", "--", *program]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(command, preexec_fn=lambda: _join(place.outer))  # noqa: PLW1509 - no threads yet
        signal.signal(signal.SIGTERM, lambda *_: process.kill())
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _join(group: Cgroup) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # kill -9 of the bench ends everybody too
    group.join(0)


def first_process(work: Callable[[], int]) -> int:
    """Fork the work off, and reap whoever is orphaned, until it ends; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        except KeyboardInterrupt:
            print("\nbench: interrupted", file=sys.stderr)
            code = 130
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) % 256


def prepare(place: Place) -> str:
    """Make the mounts; the directory on the disk."""
    controllers = place.root.controllers()
    place.root.join(0)
    _check(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP), "unshare the cgroup namespace")
    _run("umount", "--recursive", "--lazy", "/sys")
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    own = Cgroup("/sys/fs/cgroup/bench")
    own.create(())
    own.join(0)
    own.create(controllers)
    for path in PRIVATE:
        if os.path.isdir(path):
            _run("mount", "-t", "tmpfs", "-o", "mode=755" if path == "/run" else "mode=1777", "tmpfs", path)
    raise_loopback()
    return _disk(place.directory)


def _disk(directory: str) -> str:
    """A file as a disk, read and written past the page cache: a disk does not keep every byte in memory once more."""
    image, where = f"{directory}/disk", "/mnt"
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image)
    _run("mount", "-o", "loop,noatime", image, where)
    os.unlink(image)
    device = _run("findmnt", "--noheadings", "--output", "SOURCE", where).strip()
    subprocess.run(["losetup", "--direct-io=on", device], check=False)  # what can't be had it says itself
    return where


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
