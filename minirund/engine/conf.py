"""Cgroup files by name: ``HostConfig.CgroupConf``, {file: what is to be written}. The command's --cgroup-conf.

For what Docker's options have no word for: memory.high, memory.oom.group, hugetlb.2MB.max. Only files that limit are
taken; those that say who is in a cgroup, freeze it or kill it are the engine's. A file that another option of the same
container writes is refused: nobody could tell which of the two counts.

What may be in a file, the kernel knows best, and which files there are: it is asked (trial.py).

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst; OCI runtime-spec config-linux.md, "Unified";
podman-run(1), --cgroup-conf.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cgroups import limits
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

OPTION = "--cgroup-conf"
FILES = {
    "cgroup": ("max.depth", "max.descendants"),
    "cpu": ("idle", "max", "max.burst", "uclamp.max", "uclamp.min", "weight", "weight.nice"),
    "cpuset": ("cpus", "mems"),
    "hugetlb": ("SIZE.max", "SIZE.rsvd.max"),
    "io": ("latency", "max", "prio.class", "weight"),
    "memory": (
        "high", "low", "max", "min", "oom.group", "swap.high", "swap.max", "zswap.max", "zswap.writeback"
    ),
    "misc": ("max",),
    "pids": ("max",),
    "rdma": ("max",),
}  # fmt: skip
"""Controller -> its files that may be written. SIZE is one of huge pages, 2MB."""
_SIZE = re.compile(r"^[0-9]+[KMG]B\.")


def check(wanted: Json, others: Json, option_of: Callable[[str], str]) -> None:
    """Raises InvalidArgument for a file that is none, a value that can't be one, and what is said twice.

    ``others`` is OCI's ``linux.resources`` of the container's other options; ``option_of`` makes its words theirs.
    """
    check_names(wanted)
    for file, text in wanted.items():
        if not text.strip() or not text.isprintable():
            raise InvalidArgument(f"invalid value for {OPTION} {file}: {text!r}: one line is wanted")
    for line in limits.settings(limits.from_oci(others)):
        if line.file in wanted:
            raise InvalidArgument(
                f"conflicting options: {OPTION} {line.file}, and {option_of(line.option)} writes that file too: use one"
            )


def check_names(files: Iterable[str]) -> None:
    """Raises InvalidArgument for a file that is none, or no limit."""
    for file in files:
        _check_file(file)


def _check_file(file: str) -> None:
    controller, _, name = file.partition(".")
    if controller not in FILES:
        raise InvalidArgument(f"invalid {OPTION}: {file!r}: use a file of {', '.join(sorted(FILES))}")
    names = FILES[controller]
    if _SIZE.sub("SIZE.", name) not in names or name.startswith("SIZE."):
        known = ", ".join(f"{controller}.{each}" for each in names)
        raise InvalidArgument(f"invalid {OPTION}: {file!r} is no limit of the controller {controller}: use {known}")
