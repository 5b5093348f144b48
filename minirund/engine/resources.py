"""Limits, devices and resource limits: HostConfig's words into OCI's. Pure, but for a look at the devices named.

What can't be had is refused here, when a container is made, and not when it starts, by the name of the option that a
user typed. What a value may be: bounds.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from cgroups import limits
from cgroups.cgroup import Cgroup
from cgroups.devices import DEFAULT_RULES
from cgroups.errors import ControllerMissing, LimitInvalid
from minirund.engine import bounds, machine
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported
from minirund.oci import Device, Rlimit

RLIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)
PERIOD = 100_000  # microseconds: of --cpus
THROTTLES = (
    ("BlkioDeviceReadBps", "throttleReadBpsDevice", "--device-read-bps"),
    ("BlkioDeviceWriteBps", "throttleWriteBpsDevice", "--device-write-bps"),
    ("BlkioDeviceReadIOps", "throttleReadIOPSDevice", "--device-read-iops"),
    ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice", "--device-write-iops"),
)
OPTIONS = {
    "memory.limit": "--memory", "memory.reservation": "--memory-reservation", "memory.swap": "--memory-swap",
    "cpu.shares": "--cpu-shares", "cpu.period": "--cpu-period", "cpu.cpus": "--cpuset-cpus",
    "cpu.mems": "--cpuset-mems", "pids.limit": "--pids-limit", "blockIO.weight": "--blkio-weight",
    "blockIO.weightDevice": "--blkio-weight-device",
}  # fmt: skip
"""OCI's name of a limit -> the option that asks for it, where there is but one."""


def resources(host: Json) -> Json:
    """OCI's ``linux.resources``, device rules included. Raises InvalidArgument."""
    return {"devices": device_rules(host), **limited(host)}


def limited(host: Json) -> Json:
    """OCI's ``linux.resources`` without the devices: what becomes cgroup files. Raises InvalidArgument."""
    sections = {"memory": _memory(host), "cpu": _cpu(host), "pids": _pids(host), "blockIO": _io(host)}
    return {name: section for name, section in sections.items() if section}


def check(host: Json, root: Cgroup) -> list[str]:
    """Refuse what can't be, then what this host can't enforce: InvalidArgument, NotSupported. Warnings.

    ``host`` is made, in place, what will be kept: see `bounds.settle`.
    """
    warnings: list[str] = []
    if any(host.get(key) is not None for key in bounds.KEYS):
        there = machine.look(root)
        bounds.check(host, there)
        warnings = bounds.settle(host, there)
    try:
        root.require(limits.needed(limits.from_oci(resources(host))))
    except LimitInvalid as error:
        raise InvalidArgument(str(error)) from None
    except ControllerMissing as error:
        named = ControllerMissing(error.controller, option(error.option, host), error.fix)
        raise NotSupported(str(named)) from None
    return warnings


def option(name: str, host: Json) -> str:
    """The option by which a user asked for OCI's name of a limit."""
    if name == "cpu.quota":
        return "--cpus" if host.get("NanoCpus") else "--cpu-quota"
    if name == "blockIO.throttle":
        return next(word for key, _, word in THROTTLES if host.get(key))
    return OPTIONS[name]


def _memory(host: Json) -> Json:
    memory, swap = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    section: Json = {"limit": memory, "swap": swap or 2 * memory} if memory else {}
    if host.get("MemoryReservation"):
        section["reservation"] = int(host["MemoryReservation"])
    return section


def _cpu(host: Json) -> Json:
    section: Json = {}
    if host.get("NanoCpus"):
        section |= {"quota": int(host["NanoCpus"]) * PERIOD // 1_000_000_000, "period": PERIOD}
    for key, word in (("CpuQuota", "quota"), ("CpuPeriod", "period"), ("CpuShares", "shares")):
        if host.get(key):
            section[word] = int(host[key])
    for key, word in (("CpusetCpus", "cpus"), ("CpusetMems", "mems")):
        if host.get(key):
            section[word] = host[key]
    return section


def _pids(host: Json) -> Json:
    limit = host.get("PidsLimit")
    return {"limit": int(limit)} if limit and int(limit) > 0 else {}


def _io(host: Json) -> Json:
    section: Json = {}
    if host.get("BlkioWeight"):
        section["weight"] = int(host["BlkioWeight"])
    if host.get("BlkioWeightDevice"):
        weights = host["BlkioWeightDevice"]
        section["weightDevice"] = [_disk(entry) | {"weight": int(entry.get("Weight") or 0)} for entry in weights]
    for key, word, _ in THROTTLES:
        if host.get(key):
            section[word] = [_disk(entry) | {"rate": int(entry["Rate"])} for entry in host[key]]
    return section


def _disk(entry: Json) -> Json:
    node = _node(entry["Path"])
    return {"major": os.major(node.st_rdev), "minor": os.minor(node.st_rdev)}


def device_rules(host: Json) -> list[Json]:
    """OCI's ``linux.resources.devices``: all for a privileged container, else the defaults and what is named."""
    if host.get("Privileged"):
        return [{"allow": True, "access": "rwm"}]
    named = [
        {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
        for kind, major, minor, access in map(_rule_of, host.get("Devices") or ())
    ]
    return [*(dict(rule) for rule in DEFAULT_RULES), *named, *map(_cgroup_rule, host.get("DeviceCgroupRules") or ())]


def _rule_of(device: Json) -> tuple[str, int, int, str]:
    node = _node(device["PathOnHost"])
    kind = "b" if stat.S_ISBLK(node.st_mode) else "c"
    access = device.get("CgroupPermissions") or "rwm"
    if set(access) - set("rwm"):
        raise InvalidArgument(f"invalid device mode: {access}: use some of r, w and m")
    return kind, os.major(node.st_rdev), os.minor(node.st_rdev), access


def _cgroup_rule(text: str) -> Json:
    try:
        kind, numbers, access = text.split()
        major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
        assert kind in {"a", "b", "c"} and not set(access) - set("rwm")  # noqa: S101
    except (ValueError, AssertionError):
        raise InvalidArgument(f"invalid device cgroup rule: {text!r}: expected e.g. 'c 1:3 rwm'") from None
    rule: Json = {"allow": True, "type": kind, "access": access}
    return rule | {key: value for key, value in (("major", major), ("minor", minor)) if value is not None}


def devices(host: Json) -> list[Device]:
    """OCI's ``linux.devices``: the nodes that HostConfig names; all of the host's for a privileged container."""
    if host.get("Privileged"):
        return [_device(path, path) for path in _all_nodes("/dev")]
    return [_device(entry["PathOnHost"], entry.get("PathInContainer") or entry["PathOnHost"])
            for entry in host.get("Devices") or ()]  # fmt: skip


def _device(source: str, destination: str) -> Device:
    node = _node(source)
    return Device(
        path=destination, type="b" if stat.S_ISBLK(node.st_mode) else "c", major=os.major(node.st_rdev),
        minor=os.minor(node.st_rdev), fileMode=stat.S_IMODE(node.st_mode), uid=node.st_uid, gid=node.st_gid,
    )  # fmt: skip


def _node(path: str) -> os.stat_result:
    try:
        node = os.stat(path)
    except OSError:
        raise InvalidArgument(f'error gathering device information: "{path}": no such file or directory') from None
    if not (stat.S_ISBLK(node.st_mode) or stat.S_ISCHR(node.st_mode)):
        raise InvalidArgument(f'error gathering device information: "{path}": not a device node')
    return node


_RUNTIMES_OWN = frozenset(
    "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
)


def _all_nodes(directory: str) -> Iterable[str]:
    for entry in sorted(os.scandir(directory), key=lambda item: item.name):
        if directory == "/dev" and entry.name in _RUNTIMES_OWN:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _all_nodes(entry.path)
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
                yield entry.path


def rlimits(host: Json) -> list[Rlimit]:
    """OCI's ``process.rlimits``. Raises InvalidArgument."""
    return [_rlimit(entry) for entry in host.get("Ulimits") or ()]


def _rlimit(entry: Json) -> Rlimit:
    name, soft, hard = entry["Name"], int(entry["Soft"]), int(entry["Hard"])
    if name not in RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    if hard != -1 and (soft > hard or soft == -1):
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Rlimit(type=f"RLIMIT_{name.upper()}", soft=soft, hard=hard)
