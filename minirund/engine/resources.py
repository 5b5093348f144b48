"""Limits: HostConfig's words into OCI's, for the cgroup and for each process. Pure, but for a look at the disks named.

What can't be had is refused here, when a container is made, and not when it starts, by the name of the option that a
user typed. What a value may be: bounds.py; the devices: devices.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cgroups import limits
from cgroups.cgroup import Cgroup
from cgroups.errors import ControllerMissing, FileMissing, LimitInvalid
from minirund.engine import bounds, conf, devices, machine, trial
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported
from minirund.oci import Rlimit

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
    return {"devices": devices.rules(host), **limited(host)}


def limited(host: Json) -> Json:
    """OCI's ``linux.resources`` without the devices: what becomes cgroup files. Raises InvalidArgument."""
    return _ours(host) | ({"unified": dict(host["CgroupConf"])} if host.get("CgroupConf") else {})


def _ours(host: Json) -> Json:
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
    by_name = host.get("CgroupConf") or {}
    if by_name:
        conf.check(by_name, _ours(host), option_of=lambda name: option(name, host))
    try:
        lines = limits.settings(limits.from_oci(limited(host)))
        root.require(limits.needed_by(lines))
        _check_files(lines, root)
    except LimitInvalid as error:
        raise InvalidArgument(str(error)) from None
    except ControllerMissing as error:
        named = ControllerMissing(error.controller, option(error.option, host), error.fix)
        raise NotSupported(str(named)) from None
    except FileMissing as error:
        raise NotSupported(str(FileMissing(error.file, option(error.option, host)))) from None
    if tries := [*_tries(host)]:
        trial.attempt(tries, root)
    return warnings


HOSTS_PATHS = ("Binds", "Mounts", "Devices", "BlkioWeightDevice", *(key for key, _, _ in THROTTLES))
"""The fields of HostConfig that name paths of the host, which may be of a server that has gone: seen in a thread."""
SLOW = (*HOSTS_PATHS, "CgroupConf")
"""Those, and what only the kernel can judge: it takes milliseconds."""


def _tries(host: Json) -> Iterator[trial.Try]:
    for file, text in (host.get("CgroupConf") or {}).items():
        yield trial.Try(f"{conf.OPTION} {file}", text, limits.Limits(unified=((file, text),)))
    for entry in host.get("BlkioWeightDevice") or ():
        if entry.get("Weight"):
            block = _io({"BlkioWeightDevice": [entry]})
            value = f"{entry['Path']}:{entry['Weight']}"
            yield trial.Try("--blkio-weight-device", value, limits.from_oci({"blockIO": block}))


def check_disks(host: Json, asked: Json) -> None:
    """An update names disks, or what the container has already, be it gone from the host. Raises InvalidArgument."""
    for key, option in (("BlkioWeightDevice", "--blkio-weight-device"), *((key, word) for key, _, word in THROTTLES)):
        known = {entry.get("Path") for entry in host.get(key) or ()}
        for entry in asked.get(key) or ():
            if entry.get("Path") not in known:
                devices.disk(entry.get("Path") or "", option)


def _check_files(lines: Iterable[limits.Setting], root: Cgroup) -> None:
    """Raises FileMissing for what this kernel's controllers have no file for."""
    for line in lines:
        files = (line.file, *(line.other or ())[:1])
        if not line.lifts and machine.has(root, *files) is False:
            raise FileMissing(line.file, line.option)


def option(name: str, host: Json) -> str:
    """The option by which a user asked for OCI's name of a limit."""
    if name == "cpu.quota":
        return "--cpus" if host.get("NanoCpus") else "--cpu-quota"
    if name.startswith("unified "):
        return f"{conf.OPTION} {name.removeprefix('unified ')}"
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
        section["weightDevice"] = _by_disk(host["BlkioWeightDevice"], "--blkio-weight-device", "Weight")
    for key, word, option in THROTTLES:
        if host.get(key):
            section[word] = _by_disk(host[key], option, "Rate")
    return section


def _by_disk(entries: Iterable[Json], option: str, field: str) -> list[Json]:
    """Entries of HostConfig that give a disk a number, in OCI's words. Raises InvalidArgument."""
    return [
        devices.disk(entry.get("Path") or "", option) | {field.lower(): _number(entry, option, field)}
        for entry in entries
    ]


def _number(entry: Json, option: str, field: str) -> int:
    number = int(entry.get(field) or 0)
    if field == "Rate" and number == 1:
        raise InvalidArgument(f"invalid rate for {option}: 1: the kernel takes 2 a second and more, 0 sets no limit")
    return number


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
