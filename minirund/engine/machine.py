"""What the host has of what limits divide up: processors, memory nodes, a count of swap for each cgroup.

Read anew for each container that asks for a limit: processors come and go (hotplug), and it is four small files.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, cputopology.rst and numaperf.rst.
"""

from __future__ import annotations

import os

from cgroups.cgroup import Cgroup
from minirund.engine.bounds import Machine

SYSTEM = "/sys/devices/system"


def look(root: Cgroup, system: str = SYSTEM) -> Machine:
    """The machine below a cgroup hierarchy."""
    cpus = _read(root.file("cpuset.cpus.effective")) or _read(f"{system}/cpu/online") or "0"
    nodes = _read(root.file("cpuset.mems.effective")) or _read(f"{system}/node/online") or "0"
    return Machine(os.cpu_count() or 1, cpus, nodes, counts_swap(root))


def counts_swap(root: Cgroup) -> bool:
    """Whether a memory cgroup has a file for swap.

    The root cgroup has no files of limits: a child that has the controller tells (systemd makes some, our own parent is
    one). Where there is none yet, a kernel that knows swap is taken at its word.
    """
    with os.scandir(root.path) as found:
        children = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
    for child in children:
        if os.path.exists(f"{child}/memory.max"):
            return os.path.exists(f"{child}/memory.swap.max")
    return os.path.exists("/proc/swaps")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
