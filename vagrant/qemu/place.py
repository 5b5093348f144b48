"""A place that can't stay behind: mount and PID namespaces, and a tmpfs, that end with this program.

The machine's disk, its sockets and the file systems that are being built lie on a tmpfs that only this mount namespace
has; QEMU, ssh and mmdebstrap run in a PID namespace whose first process is killed by the kernel when its parent ends,
be it by ctrl-C, SIGTERM or SIGKILL. The kernel then ends everybody in it and takes the mounts away.

Source: unshare(2), pid_namespaces(7), prctl(2) PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """The machine can't be had here. The message says why, in one line."""


def hidden(work: Path, main: Callable[[], int]) -> int:
    """The exit code of ``main``, called as process 1 of a PID namespace, with a fresh tmpfs at the directory ``work``.

    Raises Refused without root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    alive, ours = os.pipe()
    try:
        _call(libc.unshare, CLONE_NEWNS | CLONE_NEWPID)
    except OSError as error:
        raise Refused(f"namespaces can't be made: {error.strerror}; it takes root") from error
    child = os.fork()
    if child == 0:
        os.close(ours)
        os._exit(_first(libc, alive, work, main))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _first(libc: ctypes.CDLL, alive: int, work: Path, main: Callable[[], int]) -> int:
    _call(libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        return 1  # the parent ended before the kernel was asked to tell of it
    try:
        _call(libc.mount, None, b"/", None, MS_REC | MS_PRIVATE, None)
        _call(libc.mount, b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
        _call(libc.mount, b"tmpfs", os.fsencode(work), b"tmpfs", 0, b"mode=0700,size=75%")
        return main()
    except Refused as refused:
        print(refused, flush=True)
        return 1


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
