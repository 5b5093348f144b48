"""What an update makes of a HostConfig: the one that is and the fields that are asked for, into the one that will be.

A field that is left out, or 0, stays as it is: in Docker's API an update can't take a value back by 0. So -1 lifts a
limit (CpuQuota, MemorySwap, PidsLimit), and so do a rate or weight of 0 for a disk, and nothing for a
cgroup file by name. Pure.
Source: Docker Engine API, ContainerUpdate; what dockerd 20.10 refuses is refused in its words.
"""

from __future__ import annotations

from minirund.engine.records import Json
from minirund.errors import Conflict, InvalidArgument

BY_DISK = {
    "BlkioDeviceReadBps": "Rate", "BlkioDeviceWriteBps": "Rate", "BlkioDeviceReadIOps": "Rate",
    "BlkioDeviceWriteIOps": "Rate", "BlkioWeightDevice": "Weight",
}  # fmt: skip
"""The fields that are lists with an entry a disk, and what an entry gives it."""
LIMITS = (
    "BlkioWeight", "CgroupConf", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "CpusetMems", "Memory",
    "MemoryReservation", "MemorySwap", "NanoCpus", "PidsLimit", *BY_DISK,
)  # fmt: skip
"""The fields of HostConfig that become cgroup files, and so can change while processes run."""
AGAINST = (  # what somebody asks for, what the container has, and what is said
    ("NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
    ("CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
)


def check_fields(asked: Json) -> None:
    """Refuse a field that no update changes. Raises InvalidArgument, which names it."""
    for key in asked:
        if key not in (*LIMITS, "RestartPolicy"):
            raise InvalidArgument(f"{key} can't be changed by an update: make a new container with it")


def revised(host: Json, asked: Json) -> Json:
    """The new HostConfig; neither of the two is touched. Raises Conflict."""
    _check_cpus(host, asked)
    _check_swap(host, asked)
    wanted = {key: value for key, value in asked.items() if key in LIMITS}
    found = {**host, **wanted, **_disks(host, wanted), **_by_name(host, wanted)}
    if "NanoCpus" in wanted and found.get("CpuQuota", 0) < 0:  # a quota that is none would win
        del found["CpuQuota"]
    elif wanted.get("CpuQuota", 0) < 0:
        found.pop("NanoCpus", None)
    return found


def _check_cpus(host: Json, asked: Json) -> None:
    for wanted, there, message in AGAINST:
        if (asked.get(wanted) or 0) > 0 and (host.get(there) or 0) > 0:
            raise Conflict(f"Conflicting options: {message}")


def _check_swap(host: Json, asked: Json) -> None:
    """Memory alone can't go beyond what memory and swap may be together, where somebody has said what that is."""
    if 0 < (host.get("MemorySwap") or 0) < (asked.get("Memory") or 0) and not asked.get("MemorySwap"):
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )


def _disks(host: Json, wanted: Json) -> Json:
    """The disks that are named get what is asked for, or nothing for 0; the others keep theirs."""
    found: Json = {}
    for key, value in BY_DISK.items():
        if key in wanted:
            entries = {entry.get("Path"): entry for entry in (*(host.get(key) or ()), *wanted[key])}
            found[key] = [entry for entry in entries.values() if entry.get(value)]
    return found


def _by_name(host: Json, wanted: Json) -> Json:
    """The cgroup files that are named get what is asked for, or what they said before anybody wrote to them for ""."""
    if "CgroupConf" not in wanted:
        return {}
    files = {**(host.get("CgroupConf") or {}), **wanted["CgroupConf"]}
    return {"CgroupConf": {file: text for file, text in files.items() if text}}
