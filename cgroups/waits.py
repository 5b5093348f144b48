"""What a cgroup's processes wait for, and why: two readings of its files -> sentences. Pure.

    before = parse(group.read_all(FILES)); time.sleep(1); after = parse(group.read_all(FILES))
    for wait in waits(Change(before, after, 1.0, cpus=os.cpu_count(), devices={"8:0": "sda"})):
        print(wait.text)
        # waits for CPU 48% of the time: throttled by its limit of 0.5 CPUs (in 10 of 10 periods)

How much was waited comes from PSI, the pressure files: `some` counts microseconds in which at least one process wanted
to go on and could not, `full` those in which none could. PSI doesn't say why. That is told by what else rose meanwhile:
cpu.stat counts the periods in which the quota was used up, memory.events how often memory.high and memory.max were met,
pids.events the forks that failed, io.stat the bytes of each device, which are held against io.max.

Sources: Documentation/accounting/psi.rst and Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cgroups.stats import Pressure, Share, Stats

LEAST = {"cpu": 0.05, "memory": 0.01, "io": 0.02}
"""Shares of the time below which waiting is nothing to speak of. Some waiting for a CPU is everywhere."""
NEAR = 0.75
"""The share of a limited rate from which on the limit is taken for the reason."""
BUSY = 0.9
"""The share of its CPUs from which on a cgroup has itself to blame for waiting."""
STILL = 0.1
"""The share of the time from which on it is worth a word that nobody could go on."""

_NOTHING = Pressure(Share(0.0, 0.0, 0.0, 0), Share(0.0, 0.0, 0.0, 0))
_RATES = {  # key of io.max: (key of io.stat, what is limited, a byte count?)
    "rbps": ("rbytes", "reading", True),
    "wbps": ("wbytes", "writing", True),
    "riops": ("rios", "reads", False),
    "wiops": ("wios", "writes", False),
}


class Wait(NamedTuple):
    """One thing that is waited for. `share` is of the time, 0.0 to 1.0; 0.0 where something failed without waiting."""

    resource: str
    share: float
    text: str


class Change(NamedTuple):
    """What is judged. `cpus` are the host's, `devices` names for device numbers; a number without a name stays one."""

    before: Stats
    after: Stats
    seconds: float
    cpus: int
    devices: Mapping[str, str]

    def waited(self, resource: str) -> tuple[float, float]:
        """The shares of the time in which some, and in which all, waited."""
        before, after = (one.pressure.get(resource, _NOTHING) for one in (self.before, self.after))
        return self._share(before.some, after.some), self._share(before.full, after.full)

    def _share(self, before: Share, after: Share) -> float:
        return min(max(after.total - before.total, 0) / 1e6 / self.seconds, 1.0)

    def memory_event(self, name: str) -> int:
        """How often it happened meanwhile."""
        return self.after.memory.events.get(name, 0) - self.before.memory.events.get(name, 0)

    def io(self, device: str, key: str) -> float:
        """A device's counter, a second."""
        before, after = (one.io.get(device, {}).get(key, 0) for one in (self.before, self.after))
        return max(after - before, 0) / self.seconds

    @property
    def used(self) -> float:
        """CPU time, in CPUs."""
        return (self.after.cpu.usage - self.before.cpu.usage) / 1e6 / self.seconds


def waits(change: Change) -> list[Wait]:
    """All there is to say, the longest wait first; nothing if it waits for nothing."""
    found = [*_cpu(change), *_memory(change), *_io(change), *_pids(change), *_killed(change)]
    return sorted(found, key=lambda wait: -wait.share)


def size(count: float) -> str:
    """Bytes in 1024s: 64MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{round(count, 1):g}{unit}"
        count /= 1024
    return f"{round(count, 1):g}TiB"


def _percent(share: float) -> str:
    return f"{share * 100:.0f}% of the time"


def _cpus(count: float) -> str:
    return f"{count:g} CPU{'' if count == 1 else 's'}"


def _cpu(change: Change) -> Iterator[Wait]:
    share, _ = change.waited("cpu")
    before, after = change.before.cpu, change.after.cpu
    periods, throttled = after.periods - before.periods, after.throttled_periods - before.throttled_periods
    if after.quota and throttled > 0:
        share = share if change.after.pressure else throttled / max(periods, throttled)
        why = f"throttled by its limit of {_cpus(after.quota)} (in {throttled} of {periods} periods)"
    else:
        why = _crowd(change)
    if share >= LEAST["cpu"]:
        yield Wait("cpu", share, f"waits for CPU {_percent(share)}: {why}")


def _crowd(change: Change) -> str:
    """No limit holds it back: its CPUs are taken."""
    own = change.after.cpu.cpus
    pinned = own is not None and own < change.cpus
    cpus = own if pinned and own else change.cpus
    where = f"the {_cpus(cpus)} that it may run on" if pinned else f"the host's {_cpus(cpus)}"
    if change.used >= BUSY * cpus:
        return f"its own processes want more than {where}"
    return f"others keep {where} busy, it got {change.used:.2f}"


def _memory(change: Change) -> Iterator[Wait]:
    share, full = change.waited("memory")
    if share >= LEAST["memory"]:
        yield Wait("memory", share, f"waits for memory {_percent(share)}: {_shortage(change)}{_still(full)}")


def _shortage(change: Change) -> str:
    memory = change.after.memory
    uses = f"it uses {size(memory.current)}" if memory.current is not None else "its use is not counted"
    if memory.limit is not None and change.memory_event("max") > 0:
        return f"at its limit of {size(memory.limit)}, {uses}, so the kernel takes pages back before it gives new ones"
    if memory.high is not None and change.memory_event("high") > 0:
        return f"slowed down at its memory.high of {size(memory.high)}, {uses}"
    if memory.limit is not None and memory.current is not None and memory.current >= NEAR * memory.limit:
        return f"near its limit of {size(memory.limit)}, {uses}, and pages that were taken back are wanted again"
    return f"the host is short of memory, {uses}"


def _still(full: float) -> str:
    return f"; {_percent(full)} all of it stood still" if full >= STILL else ""


def _io(change: Change) -> Iterator[Wait]:
    share, full = change.waited("io")
    if share >= LEAST["io"]:
        yield Wait("io", share, f"waits for I/O {_percent(share)}: {_slow_device(change)}{_still(full)}")


def _slow_device(change: Change) -> str:
    held = max(_held(change), default=None)
    if held is not None and held[0] >= NEAR:
        return held[1]
    busiest = max(change.after.io, key=lambda device: _bytes(change, device), default="")
    if not busiest or not _bytes(change, busiest):
        return "the disk was slow to answer"
    read, written = (f"{size(change.io(busiest, key))}/s" for key in ("rbytes", "wbytes"))
    return f"{_name(change, busiest)} was busy, it read {read} and wrote {written}"


def _bytes(change: Change, device: str) -> float:
    return change.io(device, "rbytes") + change.io(device, "wbytes")


def _held(change: Change) -> Iterator[tuple[float, str]]:
    """For every limited rate: the share of it that was used, and what to say."""
    for device, limits in change.after.io_limits.items():
        for key, limit in limits.items():
            if key in _RATES and limit:
                counter, what, is_bytes = _RATES[key]
                rate = f"{size(limit)}/s" if is_bytes else f"{limit}/s"
                say = f"held to its limit of {rate} for {what} {'on' if is_bytes else 'to'} {_name(change, device)}"
                yield change.io(device, counter) / limit, say


def _name(change: Change, device: str) -> str:
    return change.devices.get(device, device)


def _pids(change: Change) -> Iterator[Wait]:
    refused = change.after.pids.refused - change.before.pids.refused
    if refused > 0:
        limit = "a limit" if change.after.pids.limit is None else f"its limit of {change.after.pids.limit}"
        yield Wait("pids", 0.0, f"could not make {refused} process{'' if refused == 1 else 'es'} or threads: {limit}")


def _killed(change: Change) -> Iterator[Wait]:
    killed = change.memory_event("oom_kill")
    if killed > 0:
        memory = change.after.memory
        limit = "memory ran out" if memory.limit is None else f"memory ran out at its limit of {size(memory.limit)}"
        yield Wait("memory", 0.0, f"lost {killed} process{'' if killed == 1 else 'es'} to the OOM killer: {limit}")


def history(stats: Stats) -> list[str]:
    """What went wrong since the cgroup was made, whether or not it does so now."""
    found = []
    if killed := stats.memory.events.get("oom_kill", 0):
        found.append(f"the OOM killer has ended {killed} of its processes")
    if stats.pids.refused:
        found.append(f"{stats.pids.refused} processes or threads could not be made, at its limit of {stats.pids.limit}")
    return found
