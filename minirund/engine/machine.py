"""What the host has of what limits divide up: processors, memory nodes, a count of swap for each cgroup.

Read anew for each container that asks for a limit: processors come and go (hotplug), and it is four small files.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, cputopology.rst and numaperf.rst.
"""

from __future__ import annotations

import os

from cgroups.cgroup import Cgroup, subdirectories
from minirund.engine import hostfiles
from minirund.engine.bounds import Machine

SYSTEM = "/sys/devices/system"


def look(root: Cgroup, system: str = SYSTEM) -> Machine:
    """The machine below a cgroup hierarchy."""
    cpus = _first(root.file("cpuset.cpus.effective"), f"{system}/cpu/online")
    nodes = _first(root.file("cpuset.mems.effective"), f"{system}/node/online")
    return Machine(os.cpu_count() or 1, cpus, nodes, counts_swap(root))


def _first(*paths: str) -> str:
    """What the first file says that says anything."""
    return next(filter(None, (hostfiles.read(path).strip() for path in paths)), "0")


def counts_swap(root: Cgroup) -> bool:
    """Whether a memory cgroup has a file for swap. Where no cgroup tells, a kernel that knows swap is believed."""
    found = has(root, "memory.swap.max")
    return os.path.exists("/proc/swaps") if found is None else found


def has(root: Cgroup, *files: str) -> bool | None:
    """Whether this kernel has one of a controller's files ("cpu.max"); None where no cgroup tells.

    The root cgroup has no files of limits. A child that has the controller tells: systemd makes some, our own parent is
    one.
    """
    controller = files[0].partition(".")[0]
    for child in subdirectories(root.path):
        if controller in hostfiles.read(f"{child}/cgroup.controllers").split():
            return any(os.path.exists(f"{child}/{file}") for file in files)
    return None
