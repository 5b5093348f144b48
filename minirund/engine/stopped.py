"""Processes that a start waits for: the spawner, its zygote, a shim; the container's last shim. And if they don't move?

    spawner ──▶ zygote ──▶ the shim that waits, and those that have a container

Those that somebody has stopped (SIGSTOP) are killed, for then others take their place and the start goes on: see "What
kill -9 does" in docs/architecture.md. One that is slow, or that a debugger holds, is waited for; the shims of other
containers are not touched. Source: proc_pid_stat(5), proc_tid_children(5).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from minirund.bundle import Bundle
from minirund.engine import hostfiles
from minirund.errors import Unavailable

log = logging.getLogger(__name__)

STOPPED = "T"
PATIENCE, DISK_PATIENCE = 15.0, 60.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05  # seconds


async def let_go(bundle: Bundle, name: str) -> None:
    """Wait until the shim of the container's last run has unmounted the root: two mounts must not write to one upper
    directory. Then there is no shim.pid any more, or no such process.

    Raises Unavailable after a minute: its disk hangs, or is very slow.
    """
    begun, pause = time.monotonic(), FIRST_PAUSE
    while (pid := bundle.read_shim_pid()) is not None:
        waited = time.monotonic() - begun
        if waited > PATIENCE and _kill_if_stopped(pid):
            log.warning(
                "the last shim of %s, process %d, is stopped, and it is to start: the shim is killed", name, pid
            )
        if waited > DISK_PATIENCE:
            raise Unavailable(
                f"container {name}: the shim of its last run (process {pid}) is still unmounting the root, "
                "as the disk is slow or hangs: look into dmesg, and start it again"
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def end(spawner: int, container_id: str) -> None:
    """SIGKILL to those that are stopped, of all that a start of this container may wait for."""
    for pid in (spawner, *_helpers(spawner, container_id)):
        title = _title(pid)
        if pid and _kill_if_stopped(pid):
            log.warning("process %d (%s) is stopped, and a container is to start: it is killed", pid, title)


def _helpers(spawner: int, container_id: str) -> Iterator[int]:
    """The zygote, and its children but for those that are other containers'."""
    for zygote in _children(spawner):
        yield zygote
        for shim in _children(zygote):
            if _title(shim) in {_title(zygote), f"minirund-shim {container_id}"}:
                yield shim


def _kill_if_stopped(pid: int) -> bool:
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            if state(pid) == STOPPED:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False


def state(pid: int) -> str:
    """R, S, D, T ...; "" for a process that has gone."""
    return hostfiles.read(f"/proc/{pid}/stat").rpartition(")")[2][1:2]


def _children(pid: int) -> list[int]:
    return [int(child) for child in hostfiles.read(f"/proc/{pid}/task/{pid}/children").split()]


def _title(pid: int) -> str:
    return hostfiles.read(f"/proc/{pid}/cmdline").rstrip("\0")
