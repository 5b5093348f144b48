"""Whether a cgroup can be made in a given place, said before anything is made.

    path = normal("team//build")                   # "/team/build"; ".." is refused
    check(Cgroup.at("/"), path)                    # PlaceRefused: .../team: it has processes of its own (12, 34) ...

Three rules of the kernel stand in the way. A cgroup other than the root either has processes or hands controllers to
its children, not both. (It can hand down cpu and pids beside its processes; but then it is the root of a threaded
subtree, and a child of it can't have processes at all.) A threaded cgroup has threads of one process only. And a name
may not be a file's.

Source: "No Internal Process Constraint" and "Threads" in the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

import os
from collections.abc import Iterable, Iterator

from cgroups.cgroup import ACCOUNTED, Cgroup
from cgroups.errors import PlaceRefused
from cgroups.files import read_or

_LONGEST, _LONGEST_PATH = 255, 1024
_SHOWN = 3


def normal(path: str) -> str:
    """An absolute or a relative path as one from the root of the hierarchy. Raises PlaceRefused."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PlaceRefused(path, "'..' is not allowed in it, name the cgroup from the root of the hierarchy")
    if any(character in path for character in "\0\n"):
        raise PlaceRefused(path, "a cgroup's name has no line breaks and no zero bytes")
    if any(len(os.fsencode(part)) > _LONGEST for part in parts):
        raise PlaceRefused(path, f"a cgroup's name has at most {_LONGEST} bytes")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise PlaceRefused(f"{path[:_LONGEST]}...", f"the path of a cgroup has at most {_LONGEST_PATH} bytes here")
    if any(part.startswith("cgroup.") for part in parts):
        raise PlaceRefused(path, "names that begin with 'cgroup.' are those of a cgroup's files, choose another")
    return "/" + "/".join(parts)


def check(root: Cgroup, path: str, wanted: Iterable[str] = ACCOUNTED) -> None:
    """Whether cgroups for processes can be made below this path, with these controllers. Raises PlaceRefused."""
    for name, directory in _way(root, path):
        if not os.path.lexists(directory):
            return
        if not os.path.isdir(directory):
            raise PlaceRefused(path, f"{name} is a file, choose another name")
        _check_type(path, name, read_or(f"{directory}/cgroup.type", "").strip())
        _check_processes(path, name, Cgroup(directory), set(wanted))


def _way(root: Cgroup, path: str) -> Iterator[tuple[str, str]]:
    """(name from the root, directory) of everything from the root to the path."""
    yield "/", root.path or "/"
    name = ""
    for part in path.strip("/").split("/"):
        if part:
            name = f"{name}/{part}"
            yield name, root.path + name


def _check_type(path: str, name: str, kind: str) -> None:
    """The real root has no cgroup.type."""
    if kind not in ("", "domain"):
        raise PlaceRefused(path, f"{name} is {kind!r} (see its cgroup.type), only a 'domain' has room for containers")


def _check_processes(path: str, name: str, group: Cgroup, wanted: set[str]) -> None:
    if not group.hosts_processes() or not wanted & group.controllers():
        return
    pids = read_or(group.file("cgroup.procs"), "").split()
    shown = ", ".join(pids[:_SHOWN]) + (", ..." if len(pids) > _SHOWN else "")
    raise PlaceRefused(
        path,
        f"{name} has processes of its own ({shown}), so it can't hand controllers down: "
        "move them to a child of it, or choose another",
    )
