"""The top of a cgroup namespace, cleared of processes: without that, nothing below it can have a limit.

A container, or a CI job, that sees a hierarchy of its own sees its own cgroup as the root, with all its processes in
it. But that is no real root: for the kernel it is a cgroup as any other, which either has processes or hands
controllers down. So who wants to make containers in there moves the processes to a leaf first:

    make_room(Cgroup.at("/"))           # 3: so many went from / to /init

That is done at the root of a cgroup namespace alone. Elsewhere the processes are somebody else's, who knows where they
are meant to be. Source: "No Internal Process Constraint" and "Namespace" in Documentation/admin-guide/cgroup-v2.rst.
"""

import errno
from collections.abc import Iterable

from cgroups.cgroup import ACCOUNTED, Cgroup
from cgroups.errors import PlaceRefused, WriteRefused
from cgroups.files import read

LEAF = "init"
_PASSES = 20


def shows_a_namespace(mountinfo: str, point: str) -> bool:
    """Whether the text of /proc/PID/mountinfo has our cgroup namespace's own root at this mount point.

    A part of the hierarchy that was bind-mounted has another name for its root there: "/part", or "/.." for what is
    above our own.
    """
    root = ""
    for fields, _, kind in (line.partition(" - ") for line in mountinfo.splitlines()):
        if fields.split(" ")[4] == point:  # the last is on top
            root = fields.split(" ")[3] if kind.startswith("cgroup2 ") else ""
    return root == "/"


def make_room(root: Cgroup, wanted: Iterable[str] = ACCOUNTED) -> int:
    """Move the processes of a namespace's root to its child `init`, where they are in the way of wanted controllers.

    How many were moved: 0 where there is nothing to do, as in the real root. Raises PlaceRefused, CgroupError, OSError.
    """
    if not root.hosts_processes() or not set(wanted) & root.controllers():
        return 0
    if not shows_a_namespace(read("/proc/self/mountinfo"), root.path):
        return 0
    leaf = Cgroup(root.file(LEAF))
    leaf.create(())
    return _move_all(root, leaf)


def _move_all(root: Cgroup, leaf: Cgroup) -> int:
    """In several passes, as they may fork meanwhile."""
    moved = 0
    for _ in range(_PASSES):
        pids = [int(pid) for pid in read(root.file("cgroup.procs")).split()]
        if not pids:
            return moved
        if not any(pids):
            break
        moved += sum(_move(pid, leaf) for pid in pids if pid)
    raise PlaceRefused(
        "/", f"processes from outside our PID namespace keep it from handing controllers down to {leaf.path}"
    )


def _move(pid: int, leaf: Cgroup) -> bool:
    """False for one that has ended meanwhile."""
    try:
        leaf.join(pid)
    except WriteRefused as error:
        if error.errno != errno.ESRCH:
            raise
        return False
    return True
