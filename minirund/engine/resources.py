"""Limits, devices and resource limits: HostConfig's words into OCI's. Pure, but for a look at the devices named.

What can't be had is refused here, when a container is made, and not when it starts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from cgroups import limits
from cgroups.cgroup import Cgroup
from cgroups.devices import DEFAULT_RULES
from cgroups.errors import ControllerMissing, LimitInvalid
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported
from minirund.oci import Device, Rlimit

MIN_MEMORY = 6 * 1024 * 1024
RLIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)


def resources(host: Json) -> Json:
    """OCI's ``linux.resources``, device rules included. Raises InvalidArgument."""
    found: Json = {"devices": device_rules(host)}
    for key, section in (("memory", _memory(host)), ("cpu", _cpu(host)), ("pids", _pids(host)), ("blockIO", _io(host))):
        if section:
            found[key] = section
    return found


def check(host: Json, root: Cgroup) -> None:
    """Refuse a limit whose controller this host doesn't offer. Raises InvalidArgument, NotSupported naming it."""
    try:
        wanted = limits.from_oci({key: value for key, value in resources(host).items() if key != "devices"})
        root.require(limits.needed(wanted))
    except LimitInvalid as error:
        raise InvalidArgument(str(error)) from None
    except ControllerMissing as error:
        raise NotSupported(str(error)) from None


def _memory(host: Json) -> Json:
    section: Json = {}
    memory, swap = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    if 0 < memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory:
        section["limit"] = memory
        section["swap"] = swap or 2 * memory
    if host.get("MemoryReservation"):
        section["reservation"] = int(host["MemoryReservation"])
    return section


def _cpu(host: Json) -> Json:
    section: Json = {}
    if host.get("NanoCpus"):
        section |= _nano_cpus(int(host["NanoCpus"]))
    for key, word in (("CpuQuota", "quota"), ("CpuPeriod", "period"), ("CpuShares", "shares")):
        if host.get(key):
            section[word] = int(host[key])
    for key, word in (("CpusetCpus", "cpus"), ("CpusetMems", "mems")):
        if host.get(key):
            section[word] = host[key]
    return section


def _nano_cpus(nano: int) -> Json:
    there = os.cpu_count() or 1
    if not 10_000_000 <= nano <= there * 1_000_000_000:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")
    return {"quota": nano * 100_000 // 1_000_000_000, "period": 100_000}


def _pids(host: Json) -> Json:
    limit = host.get("PidsLimit")
    return {"limit": int(limit)} if limit and int(limit) > 0 else {}


def _io(host: Json) -> Json:
    section: Json = {}
    if host.get("BlkioWeight"):
        section["weight"] = int(host["BlkioWeight"])
    for key, word in (
        ("BlkioDeviceReadBps", "throttleReadBpsDevice"),
        ("BlkioDeviceWriteBps", "throttleWriteBpsDevice"),
        ("BlkioDeviceReadIOps", "throttleReadIOPSDevice"),
        ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice"),
    ):
        if host.get(key):
            section[word] = [_throttle(entry) for entry in host[key]]
    return section


def _throttle(entry: Json) -> Json:
    node = _node(entry["Path"])
    return {"major": os.major(node.st_rdev), "minor": os.minor(node.st_rdev), "rate": int(entry["Rate"])}


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
