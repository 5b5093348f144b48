"""What a cgroup's processes use and wait for: the text of cgroup files -> Stats. Nothing here touches the system.

    stats = parse(group.read_all(FILES))
    stats.memory.current          # bytes; None where the controller is missing
    stats.pressure["io"].some.avg10   # percent of the last 10 s in which somebody waited for I/O (PSI)

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and Documentation/accounting/psi.rst.
"""

from collections.abc import Mapping
from typing import NamedTuple

PRESSURES = ("cpu", "memory", "io")
FILES = (
    "memory.current",
    "memory.max",
    "memory.high",
    "memory.peak",
    "memory.swap.current",
    "memory.stat",
    "memory.events",
    "cpu.stat",
    "cpu.max",
    "cpuset.cpus.effective",
    "pids.current",
    "pids.max",
    "pids.events",
    "io.stat",
    "io.max",
    *(f"{name}.pressure" for name in PRESSURES),
)


class Memory(NamedTuple):
    """Bytes. `limit` and `high` are None for none; `stat` and `events` hold the kernel's own names."""

    current: int | None
    limit: int | None
    high: int | None
    peak: int | None
    swap: int | None
    stat: dict[str, int]
    events: dict[str, int]


class Cpu(NamedTuple):
    """Times in microseconds. The kernel counts the first three without the cpu controller too.

    `quota` is how many CPUs' time it may use, `cpus` how many CPUs it may run on; None for no limit of its own.
    """

    usage: int
    user: int
    system: int
    periods: int
    throttled_periods: int
    throttled: int
    quota: float | None
    cpus: int | None


class Pids(NamedTuple):
    """Processes and threads; `limit` is None for no limit, `refused` counts the forks that failed because of it."""

    current: int | None
    limit: int | None
    refused: int


class Share(NamedTuple):
    """Percent of time waited over the last 10, 60 and 300 seconds, and microseconds since the beginning."""

    avg10: float
    avg60: float
    avg300: float
    total: int


class Pressure(NamedTuple):
    """PSI: `some` counts time in which a process waited, `full` time in which all of them did."""

    some: Share
    full: Share


class Stats(NamedTuple):
    """One reading of one cgroup.

    `io` is by device ("8:0"), with the kernel's keys (rbytes, wbytes, rios, ...), and so is `io_limits` (rbps, wbps,
    riops, wiops, in units a second; what isn't limited isn't there).
    """

    memory: Memory
    cpu: Cpu
    pids: Pids
    io: dict[str, dict[str, int]]
    io_limits: dict[str, dict[str, int]]
    pressure: dict[str, Pressure]


def number(text: str | None) -> int | None:
    """A file of one number; None for a missing file and for "max"."""
    return None if text is None or text.strip() == "max" else int(text)


def flat(text: str | None) -> dict[str, int]:
    """A "flat keyed" file: one `key value` a line."""
    return {key: int(value) for key, _, value in (line.partition(" ") for line in (text or "").splitlines())}


def nested(text: str | None) -> dict[str, dict[str, int]]:
    """A "nested keyed" file: `key sub=value sub=value` lines."""
    rows = (line.split() for line in (text or "").splitlines())
    return {key: pairs(rest) for key, *rest in rows}


def pairs(words: list[str]) -> dict[str, int]:
    """["rbytes=1", "wbps=max"] -> {"rbytes": 1}. A device with nothing counted yet may have no pairs."""
    split = (word.partition("=") for word in words)
    return {key: int(value) for key, equals, value in split if equals and value != "max"}


def quota(text: str | None) -> float | None:
    """cpu.max, `QUOTA PERIOD` in microseconds, as a number of CPUs; None for no limit."""
    allowed, _, period = (text or "max").partition(" ")
    return None if allowed.strip() == "max" else int(allowed) / int(period or 100_000)


def listed(text: str | None) -> int | None:
    """How many a list of ranges, `0-2,5`, names; None for a missing or an empty file."""
    ranges = [part.partition("-") for part in (text or "").strip().split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges) or None


def share(words: list[str]) -> Share:
    """["avg10=0.00", "avg60=...", "avg300=...", "total=..."] -> Share."""
    values = dict(word.split("=") for word in words)
    return Share(float(values["avg10"]), float(values["avg60"]), float(values["avg300"]), int(values["total"]))


def pressure(text: str) -> Pressure:
    """One *.pressure file. The system's own cpu.pressure had no `full` line before Linux 5.13: it counts as zero."""
    shares = {name: share(words) for name, *words in (line.split() for line in text.splitlines())}
    return Pressure(shares["some"], shares.get("full", Share(0.0, 0.0, 0.0, 0)))


def memory(texts: Mapping[str, str]) -> Memory:
    """The memory.* files."""
    return Memory(
        current=number(texts.get("memory.current")),
        limit=number(texts.get("memory.max")),
        high=number(texts.get("memory.high")),
        peak=number(texts.get("memory.peak")),
        swap=number(texts.get("memory.swap.current")),
        stat=flat(texts.get("memory.stat")),
        events=flat(texts.get("memory.events")),
    )


def cpu(texts: Mapping[str, str]) -> Cpu:
    """cpu.stat, cpu.max and cpuset.cpus.effective."""
    stat = flat(texts.get("cpu.stat"))
    return Cpu(
        usage=stat.get("usage_usec", 0),
        user=stat.get("user_usec", 0),
        system=stat.get("system_usec", 0),
        periods=stat.get("nr_periods", 0),
        throttled_periods=stat.get("nr_throttled", 0),
        throttled=stat.get("throttled_usec", 0),
        quota=quota(texts.get("cpu.max")),
        cpus=listed(texts.get("cpuset.cpus.effective")),
    )


def pids(texts: Mapping[str, str]) -> Pids:
    """The pids.* files."""
    refused = flat(texts.get("pids.events")).get("max", 0)
    return Pids(number(texts.get("pids.current")), number(texts.get("pids.max")), refused)


def parse(texts: Mapping[str, str]) -> Stats:
    """{file: text} -> Stats. A file that isn't there (no controller, an old kernel) reads as None or as empty."""
    return Stats(
        memory=memory(texts),
        cpu=cpu(texts),
        pids=pids(texts),
        io=nested(texts.get("io.stat")),
        io_limits=nested(texts.get("io.max")),
        pressure={name: pressure(texts[f"{name}.pressure"]) for name in PRESSURES if texts.get(f"{name}.pressure")},
    )
