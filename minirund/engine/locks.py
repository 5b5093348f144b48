"""Locks: one daemon a data root, an exec root, a bridge; and a wait for starts that a dead daemon left under way.

A daemon that is killed in the middle of a start leaves a Launch in the spawner's socket, or a shim that has no door
yet. A new daemon that looked now would find nothing, clear up, and give the address away; and then the container would
come. So every Launch carries a token: a descriptor of the file ``starts.lock``, which is locked. The lock belongs to
the open file and not to a process: it is held until the kernel has closed the last copy, in whatever process or socket
that one is. The shim closes its own when the start is over. To get the lock is to know that no start is under way.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time

from minirund.errors import EngineError

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds for a start that is under way; a container that comes later is found by the next daemon only."""


def lock_or_refuse(path: str, what: str, option: str) -> int:
    """The descriptor that holds the lock; close it to let go. Raises EngineError if another daemon holds it."""
    descriptor = _open(path)
    if not _try(descriptor):
        os.close(descriptor)
        raise EngineError(f"{what} {os.path.dirname(path)} is in use by another minirund: choose {option}")
    return descriptor


def claim_bridge(name: str) -> int:
    """The descriptor that says that a bridge is ours; close it to let go. Raises EngineError if it is another daemon's.

    An abstract socket's name is of one network namespace, as the bridge itself is, and ends with its process.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0minirund/bridge/{name}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise EngineError(f"bridge {name}: {error.strerror}") from error
            raise EngineError(f"bridge {name} is in use by another minirund: choose --bridge") from None
        return claim.detach()


def wait_for_starts(exec_root: str, patience: float = PATIENCE) -> int:
    """Wait until no start of an earlier daemon is under way. A new token, of which every Launch gets a copy."""
    descriptor = _open(f"{exec_root}/starts.lock")
    deadline = time.monotonic() + patience
    while not _try(descriptor):
        if time.monotonic() > deadline:
            log.warning(
                "a start that an earlier minirund began has not ended after %.0f s: going on without it", patience
            )
            break
        time.sleep(0.002)
    return descriptor


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
