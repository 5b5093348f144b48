"""systemd's leave to have cgroups: scopes that it has delegated.

Where systemd runs, the cgroup tree is its own: it takes controllers away that no unit asked for, and what is in a
service's cgroup is the service's. A *scope* is a unit of processes that somebody else starts; one with Delegate=yes is
theirs to divide up. systemd never touches what is below it, and to stop the service is nothing to it.

    system.slice/minirund-1f2e3d4c.scope        team.slice/minirund-5b6a7988.scope   (--cgroup-parent team.slice)
      shims/   the spawner, the shims             shims/   until the container runs, who holds it; then its shim
      ID/ ...  the containers                     ID/      one container

A spawner begins its life in a scope of its own, and the containers that it starts are there too; a new spawner, of the
next daemon, has a new one. So a scope never has to be found again, or kept from going: it lives as long as a process is
in it, and systemd removes it with the last. Its name is new each time, as one that is just going is in the way of
another of its name. The processes are in ``shims``, because a cgroup that hands controllers down has none itself.

`systemd-run` asks for the scope, waits until it is there, and becomes the spawner: so the process ID, the descriptors
and the parent are what they would be without, and there is no bus to speak to. systemd answers while minirund.service
is still starting: the scope's job waits for nothing that the service has not waited for. At a shutdown all goes the
other way: the scope is stopped after the service, so the daemon sees nothing of it and restarts nothing, and before
network and file systems go.

Sources: systemd.io/CGROUP_DELEGATION, systemd.scope(5), systemd.slice(5), systemd-run(1), sd_booted(3).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from cgroups.cgroup import Cgroup, try_rmdir
from cgroups.errors import WriteRefused
from minirund.errors import EngineError, InvalidArgument

log = logging.getLogger(__name__)

SLICE = "system.slice"
SHIMS = "shims"
ANSWER_SECONDS = 30.0
LOOK_SECONDS = 0.005
PROPERTIES = (
    *("Delegate=yes", "TasksMax=infinity", "TimeoutStopSec=10s"),
    *("Before=minirund.service", "After=basic.target network.target"),
)
ENTER = 'mkdir "$0" && echo $$ >"$0/cgroup.procs" && exec "$@"'
LONGEST = 255
_OURS = re.compile(r"(?:.*/)?([^/]+\.slice)/(minirund-[0-9a-f]{8}\.scope)")


class Scope(NamedTuple):
    """A scope's slice and its own name."""

    slice: str
    unit: str

    @classmethod
    def new(cls, within: str) -> Scope:
        """One that nobody has had. Raises InvalidArgument if ``within`` is no slice's name."""
        slice_path(within)
        return cls(within, f"minirund-{secrets.token_hex(4)}.scope")

    @property
    def path(self) -> str:
        """Below the cgroup v2 mount."""
        return f"{slice_path(self.slice)}/{self.unit}"

    def shims(self, top: Cgroup) -> Cgroup:
        """The cgroup in it for processes that are in no container."""
        return Cgroup(f"{top.path}{self.path}/{SHIMS}")

    def command(self, top: Cgroup, words: list[str]) -> list[str]:
        """A command line that has the scope made, goes into its ``shims``, and there becomes ``words``."""
        return [
            *("systemd-run", "--scope", "--quiet", "--collect", "--no-ask-password"),
            *(f"--unit={self.unit}", f"--slice={self.slice}", "--description=Containers of minirund"),
            *(f"--property={each}" for each in PROPERTIES),
            *("--", "/bin/sh", "-c", ENTER, self.shims(top).path, *words),
        ]


def runs_here(top: Cgroup) -> bool:
    """Whether systemd is in charge of this hierarchy: as process 1, with cgroup v2 alone, in our cgroup namespace."""
    if not (os.path.isdir("/run/systemd/system") and top.path == "/sys/fs/cgroup" and shutil.which("systemd-run")):
        return False
    return os.path.samefile("/proc/1/ns/cgroup", "/proc/self/ns/cgroup")


def is_slice(parent: str) -> bool:
    """Whether a cgroup parent is meant as the name of a slice."""
    return parent.endswith(".slice") and "/" not in parent


def slice_path(name: str) -> str:
    """Where a slice is: "a-b.slice" is in "a.slice", and "-.slice" is the root. Raises InvalidArgument."""
    if name == "-.slice":
        return ""
    parts = name.removesuffix(".slice").split("-")
    if not all(re.fullmatch(r"[A-Za-z0-9:_.\\@]+", part) for part in parts) or len(name) > LONGEST:
        raise InvalidArgument(
            f'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice": {name!r}'
        )
    return "".join(f"/{'-'.join(parts[: number + 1])}.slice" for number in range(len(parts)))


def scope_at(path: str) -> Scope | None:
    """The scope of ours whose cgroup has this path; None for another cgroup."""
    found = _OURS.fullmatch(path)
    return Scope(found[1], found[2]) if found else None


async def entered(shims: Cgroup, pid: int, lives: Callable[[], bool]) -> bool:
    """Wait for a process to be in its scope's cgroup. False if it has ended before, or systemd takes too long."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while pid not in shims.processes():
        if not lives() or time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


@asynccontextmanager
async def held(top: Cgroup, scope: Scope, successor: Callable[[], int | None]) -> AsyncIterator[None]:
    """While this lasts, the scope is there, whoever else is in it. Raises EngineError with systemd's words.

    It is held by `cat`, which waits for the end of its input, and so ends with the daemon at the latest. At the end the
    process ``successor()``, if there is one, takes its place: with nobody there systemd would remove the container's
    cgroup as soon as it is empty, before its shim has read there whether the kernel killed for want of memory.
    """
    shims = scope.shims(top)
    process = await asyncio.to_thread(_begin, scope.command(top, ["cat"]))
    try:
        if not await entered(shims, process.pid, lambda: process.poll() is None):
            process.kill()
            raise refused(scope, _last_words(process))
        yield
        await asyncio.to_thread(_join, shims, successor)
    finally:
        await asyncio.to_thread(_end, process)
        try_rmdir(shims.path)


def _begin(words: list[str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, start_new_session=True)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr  # noqa: S101
    words = process.stderr.read().decode(errors="replace").strip()
    return words.splitlines()[-1] if words else f"no answer within {ANSWER_SECONDS:g} seconds"


def _join(shims: Cgroup, successor: Callable[[], int | None]) -> None:
    try:
        if pid := successor():
            shims.join(pid)
    except WriteRefused as error:
        if error.errno != errno.ESRCH:
            log.warning("a shim stays where the others are: %s", error)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, and wait for it."""
    with process:
        pass


def refused(scope: Scope, why: str) -> EngineError:
    """What is said when there is no scope."""
    return EngineError(f"systemd did not make the scope {scope.unit} in {scope.slice}: {why}")
