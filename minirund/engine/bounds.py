"""What a limit may be: Docker's minima and maxima, in its words, and what cgroup v2 has no file for.

A value out of bounds is refused, before anybody asks whether the host could enforce it. What can't be had but does no
harm is taken out of the request with a warning, as Docker does. docs/limits.md has the whole table.
Pure: the machine's processors and memory nodes are told. Source: Docker Engine API, HostConfig; docker run(1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from minirund.engine.records import Json
from minirund.errors import InvalidArgument

MIN_MEMORY = 6 << 20
MIN_QUOTA, PERIODS = 1000, range(1000, 1_000_001)  # microseconds
WEIGHTS = range(10, 1001)
SEE_USAGE = "see usage"
REALTIME = (("CpuRealtimeRuntime", "--cpu-rt-runtime"), ("CpuRealtimePeriod", "--cpu-rt-period"))
KERNEL_MEMORY = (("KernelMemory", "--kernel-memory"), ("KernelMemoryTCP", "--kernel-memory-tcp"))

KEYS = (
    "Memory", "MemorySwap", "MemoryReservation", "MemorySwappiness", "OomKillDisable", "OomScoreAdj",
    "NanoCpus", "CpuPeriod", "CpuQuota", "CpuShares", "CpuPercent", "CpusetCpus", "CpusetMems",
    *(key for key, _ in REALTIME), *(key for key, _ in KERNEL_MEMORY),
    "BlkioWeight", "BlkioWeightDevice", "IOMaximumBandwidth", "IOMaximumIOps",
)  # fmt: skip
"""What the checks look at: of a HostConfig that has none of it, there is nothing to check."""


class Machine(NamedTuple):
    """What there is: lists as the kernel writes them, "0-3,7"."""

    cpus: int
    cpu_list: str
    node_list: str
    swap: bool  # whether the kernel counts swap for each cgroup


def check(host: Json, machine: Machine) -> None:
    """Raises InvalidArgument for a value that no host would take, or this one has too little for."""
    for each in CHECKS:
        each(host, machine)


def settle(host: Json, machine: Machine) -> list[str]:
    """Make the HostConfig, in place, what will be kept: defaults written out, what can't be had left out. Warnings."""
    if _number(host, "Memory") > 0 and not _number(host, "MemorySwap"):
        host["MemorySwap"] = 2 * _number(host, "Memory")
    return [warning for drop in DROPS for warning in drop(host, machine)]


def _number(host: Json, key: str) -> int:
    return int(host.get(key) or 0)


# --- checks


def _memory(host: Json, _machine: Machine) -> None:
    memory, swap, reserved = (_number(host, key) for key in ("Memory", "MemorySwap", "MemoryReservation"))
    if memory < 0 or reserved < 0:
        raise InvalidArgument(f"invalid memory size: {min(memory, reserved)}: use 0 for no limit")
    if memory and memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if swap < -1:
        raise InvalidArgument(f"invalid value for MemorySwap: {swap}: a size, or -1 for no limit")
    if swap > 0 and not memory:
        raise InvalidArgument(f"You should always set the Memory limit when using Memoryswap limit, {SEE_USAGE}")
    if 0 < swap < memory:
        raise InvalidArgument(f"Minimum memoryswap limit should be larger than memory limit, {SEE_USAGE}")
    if reserved and reserved < MIN_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reserved:
        raise InvalidArgument(f"Minimum memory limit can not be less than memory reservation limit, {SEE_USAGE}")


def _swappiness(host: Json, _machine: Machine) -> None:
    given = host.get("MemorySwappiness")
    if given is not None and not -1 <= given <= 100:  # -1: what docker's command sends when it is not asked for one
        raise InvalidArgument(f"Invalid value: {given}, valid memory swappiness range is 0-100")


def _cpus(host: Json, machine: Machine) -> None:
    nano, there = _number(host, "NanoCpus"), machine.cpus
    for key, word in (("CpuPeriod", "CPU Period"), ("CpuQuota", "CPU Quota")):
        if nano and _number(host, key) > 0:
            raise InvalidArgument(f"Conflicting options: Nano CPUs and {word} cannot both be set")
    if nano and not 10_000_000 <= nano <= there * 1_000_000_000:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")


def _quota(host: Json, _machine: Machine) -> None:
    period, quota, shares = (_number(host, key) for key in ("CpuPeriod", "CpuQuota", "CpuShares"))
    if period and period not in PERIODS:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if quota and quota != -1 and quota < MIN_QUOTA:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({shares}): value must be a positive integer")


def _v1_only(host: Json, _machine: Machine) -> None:
    check_v1_only(host)


def check_v1_only(host: Json) -> None:
    """Raises InvalidArgument for what cgroup v2 has no file for, and Docker warns of at best."""
    for key, option in REALTIME:
        if host.get(key):
            raise InvalidArgument(
                f"Your kernel does not support CPU real-time scheduler: {option} exists on cgroup v1 only"
            )
    for key, option in KERNEL_MEMORY:
        if _number(host, key) > 0:
            raise InvalidArgument(
                f"{option} exists on cgroup v1 only: leave it out, --memory counts the kernel's memory too"
            )
    if host.get("IOMaximumBandwidth") or host.get("IOMaximumIOps"):
        raise InvalidArgument("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")


def _cpuset(host: Json, machine: Machine) -> None:
    _subset(host.get("CpusetCpus") or "", machine.cpu_list, "cpuset cpus", "CPUs")
    _subset(host.get("CpusetMems") or "", machine.node_list, "cpuset mems", "memory nodes")


def _subset(asked: str, there: str, what: str, things: str) -> None:
    try:
        beyond = numbers(asked) - numbers(there)
    except ValueError:
        raise InvalidArgument(f"Invalid value {asked} for {what}: use a list like 0-2,4") from None
    if beyond:
        raise InvalidArgument(f"Requested {things} are not available - requested {asked}, available: {there}")


def numbers(text: str) -> set[int]:
    """The numbers of the kernel's list format: "0-2,7" -> {0, 1, 2, 7}. Raises ValueError."""
    if not text.isascii():  # digits of other scripts
        raise ValueError(text)
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)) or int(last or first) > 0xFFFF:
            raise ValueError(text)
        if int(last or first) < int(first):
            raise ValueError(text)
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _weights(host: Json, _machine: Machine) -> None:
    if _number(host, "BlkioWeight") and host["BlkioWeight"] not in WEIGHTS:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for entry in host.get("BlkioWeightDevice") or ():
        if entry.get("Weight") and entry["Weight"] not in WEIGHTS:
            raise InvalidArgument(f"Range of blkio weight is from 10 to 1000, for {entry.get('Path')} too")


def _oom_score(host: Json, _machine: Machine) -> None:
    score = _number(host, "OomScoreAdj")
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")


CHECKS: tuple[Callable[[Json, Machine], None], ...] = (
    _memory, _swappiness, _cpus, _quota, _v1_only, _cpuset, _weights, _oom_score
)  # fmt: skip


# --- what is left out, with a warning


def _drop_swappiness(host: Json, _machine: Machine) -> Iterator[str]:
    if host.pop("MemorySwappiness", None) not in (None, -1):
        yield (
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
            "Memory swappiness discarded."
        )


def _drop_oom_kill_disable(host: Json, _machine: Machine) -> Iterator[str]:
    if host.pop("OomKillDisable", None):
        yield "Your kernel does not support OomKillDisable. OomKillDisable discarded."


def _drop_percent(host: Json, _machine: Machine) -> Iterator[str]:
    if host.pop("CpuPercent", None):
        yield "linux does not support CPU percent. Percent discarded."


def _drop_swap(host: Json, machine: Machine) -> Iterator[str]:
    if not machine.swap and _number(host, "Memory") > 0 and _number(host, "MemorySwap") != -1:
        host["MemorySwap"] = -1
        yield (
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )


DROPS: tuple[Callable[[Json, Machine], Iterator[str]], ...] = (
    _drop_swappiness, _drop_oom_kill_disable, _drop_percent, _drop_swap
)  # fmt: skip
