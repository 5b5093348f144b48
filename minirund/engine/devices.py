"""Devices: HostConfig's words into OCI's. Nodes to make, and the rules that say which may be opened.

A device is a type and two numbers; the host's node at a path tells them, so each path that is named is looked at, when
the container is made and again when it starts. A directory stands for all nodes below it, links not followed. What is
not there, or is no device, is refused in Docker's words.
Sources: Docker Engine API, HostConfig; docker run(1), --device and --device-cgroup-rule; OCI runtime-spec
config-linux.md, "Devices" and "Allowed Device list".
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from cgroups.devices import DEFAULT_RULES
from minirund.engine.records import Json
from minirund.errors import InvalidArgument
from minirund.oci import Device

ADDING = "error gathering device information while adding custom device"
_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})", re.ASCII)
_RUNTIMES_OWN = frozenset(
    "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
)
"""What every container has at these names in /dev, made for itself."""


def rules(host: Json) -> list[Json]:
    """OCI's ``linux.resources.devices``: the defaults and what is named; all for a privileged container.

    Raises InvalidArgument.
    """
    named = [rule for entry in host.get("Devices") or () for rule in _rules_of(entry)]
    more = [_cgroup_rule(text) for text in host.get("DeviceCgroupRules") or ()]
    if host.get("Privileged"):
        return [{"allow": True, "access": "rwm"}]
    return [*(dict(rule) for rule in DEFAULT_RULES), *named, *more]


def nodes(host: Json) -> list[Device]:
    """OCI's ``linux.devices``: the nodes that HostConfig names; for a privileged container, the host's and those that
    it names otherwise than the host does. Raises InvalidArgument."""
    pairs = [pair for entry in host.get("Devices") or () for pair in _pairs(entry)]
    if host.get("Privileged"):
        own = [(path, path) for path in _below("/dev")]
        pairs = own + [(source, target) for source, target in pairs if source != target]
    return [_device(_node(source, _adding(source)), target) for source, target in pairs]


def disk(path: str, option: str) -> Json:
    """{"major": ..., "minor": ...} of a whole disk, as limits of I/O want it. Raises InvalidArgument."""
    what = f'invalid device for {option}: "{path}"'
    found = _node(path, what)
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidArgument(f"{what}: not a block device")
    major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    if os.path.exists(f"/sys/dev/block/{major}:{minor}/partition"):
        raise InvalidArgument(f"{what}: a partition: the kernel limits whole disks, name the one that it is on")
    return {"major": major, "minor": minor}


def _adding(path: str) -> str:
    return f'{ADDING} "{path}"'


def _rules_of(entry: Json) -> Iterator[Json]:
    access = entry.get("CgroupPermissions") or "rwm"
    if set(access) - set("rwm"):
        raise InvalidArgument(f"invalid device mode: {access}: use some of r, w and m")
    for source, _ in _pairs(entry):
        found = _node(source, _adding(source))
        major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)
        yield {"allow": True, "type": _kind(found.st_mode), "major": major, "minor": minor, "access": access}


def _cgroup_rule(text: str) -> Json:
    found = _RULE.fullmatch(text)
    if not found:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}': use one like 'c 42:* rmw'")
    kind, major, minor, access = found.groups()
    rule: Json = {"allow": True, "type": kind, "access": access}
    return rule | {key: int(value) for key, value in (("major", major), ("minor", minor)) if value != "*"}


def _pairs(entry: Json) -> list[tuple[str, str]]:
    """(path on the host, path in the container) of each node that an entry of HostConfig.Devices stands for."""
    source = entry.get("PathOnHost") or ""
    target = entry.get("PathInContainer") or source
    if not os.path.isdir(source):
        _node(source, _adding(source))
        return [(source, _absolute(target))]
    top, found = source.rstrip("/"), list(_below(source.rstrip("/") or "/"))
    if not found:
        raise InvalidArgument(f"{_adding(source)}: not a device node, and there is none below it")
    return [(path, _absolute(target).rstrip("/") + path.removeprefix(top)) for path in found]


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid device: {path} is not an absolute path")
    return path


def _device(node: os.stat_result, path: str) -> Device:
    return Device(
        path=path, type=_kind(node.st_mode), major=os.major(node.st_rdev),
        minor=os.minor(node.st_rdev), fileMode=stat.S_IMODE(node.st_mode), uid=node.st_uid, gid=node.st_gid,
    )  # fmt: skip


def _node(path: str, what: str) -> os.stat_result:
    """The device node at a path. Raises InvalidArgument, which begins with ``what``."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidArgument(f"{what}: {os.strerror(error.errno or 0).lower()}") from None
    if not _is_device(found.st_mode):
        raise InvalidArgument(f"{what}: not a device node")
    return found


def _is_device(mode: int) -> bool:
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


def _kind(mode: int) -> str:
    return "b" if stat.S_ISBLK(mode) else "c"


def _below(directory: str) -> Iterator[str]:
    """Every device node below a directory, sorted; of /dev, without those that a container has of its own."""
    try:
        entries = sorted(os.scandir(directory), key=lambda item: item.name)
    except OSError:  # unplugged meanwhile
        return
    for entry in entries:
        if directory == "/dev" and entry.name in _RUNTIMES_OWN:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path)
        elif _is_device(_mode(entry)):
            yield entry.path


def _mode(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0
