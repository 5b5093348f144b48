"""Cgroup files by name: ``HostConfig.CgroupConf``, {file: what is to be written}. The command's --cgroup-conf.

For what Docker's options have no word for: memory.high, memory.oom.group, hugetlb.2MB.max. Only files that limit are
taken; those that say who is in a cgroup, freeze it or kill it are the engine's. A file that another option of the same
container writes is refused: nobody could tell which of the two counts.

What may be in a file, the kernel knows best, and which files there are. So when a container is made, its files are
written to a cgroup with nobody in it, which is removed again at once. A daemon that is killed in between leaves an
empty directory behind; the next one clears it up (`sweep`).

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst; OCI runtime-spec config-linux.md, "Unified";
podman-run(1), --cgroup-conf.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable

from cgroups import limits
from cgroups.cgroup import Cgroup, subdirectories, try_rmdir
from cgroups.errors import CgroupError, ControllerMissing, FileMissing, WriteRefused
from minirund.engine.records import Json
from minirund.errors import EngineError, InvalidArgument, NotSupported

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
_TRIAL = "minirund-trial"


def check(wanted: Json, others: Json, option_of: Callable[[str], str]) -> None:
    """Raises InvalidArgument for a file that is none, a value that can't be one, and what is said twice.

    ``others`` is OCI's ``linux.resources`` of the container's other options; ``option_of`` makes its words theirs.
    """
    for file, text in wanted.items():
        _check_file(file)
        if not text.strip() or not text.isprintable():
            raise InvalidArgument(f"invalid value for {OPTION} {file}: {text!r}: one line is wanted")
    for line in limits.settings(limits.from_oci(others)):
        if line.file in wanted:
            raise InvalidArgument(
                f"conflicting options: {OPTION} {line.file}, and {option_of(line.option)} writes that file too: use one"
            )


def _check_file(file: str) -> None:
    controller, _, name = file.partition(".")
    if controller not in FILES:
        raise InvalidArgument(f"invalid {OPTION}: {file!r}: use a file of {', '.join(sorted(FILES))}")
    names = FILES[controller]
    if _SIZE.sub("SIZE.", name) not in names or name.startswith("SIZE."):
        known = ", ".join(f"{controller}.{each}" for each in names)
        raise InvalidArgument(f"invalid {OPTION}: {file!r} is no limit of the controller {controller}: use {known}")


def attempt(wanted: Json, root: Cgroup) -> None:
    """Have the kernel judge, in a cgroup of its own below ``root`` that is gone when this returns.

    Raises InvalidArgument, NotSupported, EngineError, which name the file.
    """
    group = Cgroup(f"{root.path}/{_TRIAL}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        group.create(())
        for file, text in wanted.items():
            _attempt(group, file, text)
    except OSError as error:
        raise EngineError(f"{OPTION} can't be tried out in {group.path}: {error.strerror}") from error
    finally:
        try_rmdir(group.path)


def _attempt(group: Cgroup, file: str, text: str) -> None:
    try:
        group.apply(limits.Limits(unified=((file, text),)))
    except FileMissing:
        raise NotSupported(f"{OPTION} {file}: this kernel does not have that file") from None
    except ControllerMissing as error:
        raise NotSupported(str(ControllerMissing(error.controller, f"{OPTION} {file}", error.fix))) from None
    except WriteRefused as error:
        words = os.strerror(error.errno).lower()
        raise InvalidArgument(f"invalid value for {OPTION} {file}: {text!r}: the kernel says {words}") from None
    except CgroupError as error:
        raise EngineError(f"{OPTION} {file}: {error}") from error


def sweep(root: Cgroup) -> None:
    """Remove what daemons that are no more have left of an `attempt`."""
    for path in subdirectories(root.path):
        found = re.fullmatch(rf"{_TRIAL}-([0-9]+)-[0-9a-f]+", os.path.basename(path))
        if found and not os.path.exists(f"/proc/{found[1]}"):
            try_rmdir(path)
