"""The two system calls that move a thread between network namespaces.

``os.unshare`` and ``os.setns`` came with Python 3.12; 3.11 is supported, so ctypes it is. Both act on the calling
*thread* alone, which is what makes them usable in a process with many: see ``namespace.run_in``.
"""

import ctypes
import os

CLONE_NEWNET = 0x40000000


def _checked(result: int, call: str) -> None:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")


def unshare_net() -> None:
    """Put the calling thread into a new network namespace (unshare(2)); OSError: EPERM without CAP_SYS_ADMIN."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWNET), "unshare network namespace")


def setns_net(fd: int) -> None:
    """Move the calling thread into the network namespace behind ``fd`` (setns(2)); OSError: EINVAL if it is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.setns(fd, CLONE_NEWNET), "setns network namespace")
