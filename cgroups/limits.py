"""Limits as data: an OCI `linux.resources` object -> Limits -> {cgroup file: text}. Nothing here touches the system.

    limits = from_oci({"memory": {"limit": 64 << 20}, "pids": {"limit": 100}})
    files(limits)    # {"memory.max": "67108864", "pids.max": "100"}
    needed(limits)   # {"memory": "memory.limit", "pids": "pids.limit"}

One small function a controller says which files it writes; the table CONTROLLERS holds them. OCI's words are those of
cgroup v1, so three values are converted on the way: swap, cpu shares and the block I/O weight.

The fork side of a container engine imports this module: a NamedTuple costs it a tenth of what `dataclasses` would.
Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst; OCI runtime-spec config-linux.md, "Control groups".
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cgroups.errors import ControllerMissing, LimitInvalid

__all__ = [
    "BY_DEVICE",
    "CONTROLLERS",
    "DEFAULT_PERIOD",
    "ControllerMissing",
    "Limits",
    "Setting",
    "files",
    "from_oci",
    "needed",
    "needed_by",
    "settings",
]

UNLIMITED = -1
DEFAULT_PERIOD = 100_000  # microseconds; the kernel's own default in cpu.max
BY_DEVICE = ("io.weight", "io.max", "io.latency", "rdma.max", "misc.max")


class IoMax(NamedTuple):
    """One device's ceilings in io.max; a field that is None stays as it is."""

    device: str  # "MAJOR:MINOR"
    rbps: int | None = None
    wbps: int | None = None
    riops: int | None = None
    wiops: int | None = None


class Limits(NamedTuple):
    """What a cgroup's processes may use together. None leaves a limit alone, -1 lifts it. Sizes are in bytes."""

    memory: int | None = None
    memory_high: int | None = None
    memory_low: int | None = None
    memory_swap: int | None = None  # memory and swap together, as OCI and Docker count
    memory_oom_group: bool | None = None  # whether the OOM killer takes all of them or the worst one
    cpu_quota: int | None = None  # microseconds of CPU time in every period
    cpu_period: int | None = None  # microseconds
    cpu_burst: int | None = None  # microseconds
    cpu_shares: int | None = None  # cgroup v1's scale, 2..262144
    cpu_idle: int | None = None
    cpus: str | None = None  # "0-2,7"
    mems: str | None = None
    pids: int | None = None
    io_weight: int | None = None  # blkio's scale, 10..1000
    io_device_weights: tuple[tuple[str, int], ...] = ()
    io_max: tuple[IoMax, ...] = ()
    hugetlb: tuple[tuple[str, int], ...] = ()  # ("2MB", bytes)
    rdma: tuple[tuple[str, int | None, int | None], ...] = ()  # device, handles, objects
    unified: tuple[tuple[str, str], ...] = ()  # files and texts, written as they are and last


class Setting(NamedTuple):
    """One line for one file, and the option that asked for it, "" for a line that takes another back.

    ``other`` is the file and the text by which the BFQ scheduler knows the same.
    """

    file: str
    text: str
    option: str
    other: tuple[str, str] | None = None

    @property
    def controller(self) -> str:
        """The file's first word names its controller."""
        return self.file.partition(".")[0]

    @property
    def lifts(self) -> bool:
        """Whether it only lifts a limit: where the controller is missing there is none to lift."""
        return not self.option or self.text.split()[0] == "max"

    @property
    def key(self) -> tuple[str, str]:
        """What the line is about: a file, and in files with a line a device, which one ("default" is all)."""
        return self.file, self.text.split()[0] if self.file in BY_DEVICE else ""


def amount(value: int) -> str:
    """A number as cgroup files want it; a negative one is no limit."""
    return "max" if value < 0 else str(value)


def swap_only(memory: int | None, both: int) -> int:
    """The swap's share of OCI's memory+swap. Raises LimitInvalid where that can't be told."""
    if both < 0:
        return UNLIMITED
    if memory is None or memory < 0:
        raise LimitInvalid("memory.swap counts memory and swap together: it needs a memory.limit beside it")
    if both < memory:
        raise LimitInvalid(f"memory.swap counts memory and swap together: {both} is less than memory.limit {memory}")
    return both - memory


def weight_from_shares(shares: int) -> int:
    """cpu.shares 2..262144 (default 1024) -> cpu.weight 1..10000 (default 100).

    A curve through (2, 1), (1024, 100) and (262144, 10000), so that either scale's default meets the other's. It is
    the conversion that the OCI runtimes agreed on in 2025 (before that: a line, on which 1024 became 39).
    """
    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power - 126) / 612))


def io_weight_from_blkio(weight: int) -> int:
    """blkio.weight 10..1000 -> io.weight 1..10000, on a line."""
    if not 10 <= weight <= 1000:
        raise LimitInvalid(f"blockIO.weight must be between 10 and 1000, not {weight}")
    return 1 + (weight - 10) * 9999 // 990


def weight(target: str, blkio: int, option: str) -> Setting:
    """One line of io.weight. Where devices have the BFQ scheduler it is io.bfq.weight that counts, on blkio's scale."""
    return Setting(
        "io.weight", f"{target} {io_weight_from_blkio(blkio)}", option, ("io.bfq.weight", f"{target} {blkio}")
    )


def memory(limits: Limits) -> Iterator[Setting]:
    """The hard ceiling, the soft one, the protected part, swap (which v2 counts on its own), who goes at an OOM."""
    if limits.memory is not None:
        yield Setting("memory.max", amount(limits.memory), "memory.limit")
    if limits.memory_high is not None:
        yield Setting("memory.high", amount(limits.memory_high), "memory.high")
    if limits.memory_low is not None:
        yield Setting("memory.low", amount(limits.memory_low), "memory.reservation")
    if limits.memory_swap is not None:
        yield Setting("memory.swap.max", amount(swap_only(limits.memory, limits.memory_swap)), "memory.swap")
    if limits.memory_oom_group is not None:
        yield Setting("memory.oom.group", str(int(limits.memory_oom_group)), "memory.oom.group")


def cpu(limits: Limits) -> Iterator[Setting]:
    """The weight among siblings, and time per period; burst may not exceed the quota, so it comes after."""
    if limits.cpu_shares is not None:
        yield Setting("cpu.weight", str(weight_from_shares(limits.cpu_shares)), "cpu.shares")
    if limits.cpu_quota is not None or limits.cpu_period is not None:
        quota = UNLIMITED if limits.cpu_quota is None else limits.cpu_quota
        text = f"{amount(quota)} {limits.cpu_period or DEFAULT_PERIOD}"
        yield Setting("cpu.max", text, "cpu.quota" if limits.cpu_quota is not None else "cpu.period")
    if limits.cpu_burst is not None:
        yield Setting("cpu.max.burst", str(limits.cpu_burst), "cpu.burst")
    if limits.cpu_idle is not None:
        yield Setting("cpu.idle", str(limits.cpu_idle), "cpu.idle")


def cpuset(limits: Limits) -> Iterator[Setting]:
    """The CPUs and memory nodes that may be used."""
    if limits.cpus is not None:
        yield Setting("cpuset.cpus", limits.cpus, "cpu.cpus")
    if limits.mems is not None:
        yield Setting("cpuset.mems", limits.mems, "cpu.mems")


def pids(limits: Limits) -> Iterator[Setting]:
    """Processes and threads together; OCI's 0 means no limit too."""
    if limits.pids is not None:
        yield Setting("pids.max", amount(limits.pids or UNLIMITED), "pids.limit")


def io(limits: Limits) -> Iterator[Setting]:
    """A weight for all devices or one, and ceilings by device. The kernel takes one device in one write."""
    if limits.io_weight is not None:
        yield weight("default", limits.io_weight, "blockIO.weight")
    for device, share in limits.io_device_weights:
        yield weight(device, share, "blockIO.weightDevice")
    for ceiling in limits.io_max:
        pairs = [f"{key}={amount(value)}" for key, value in ceiling._asdict().items() if isinstance(value, int)]
        yield Setting("io.max", " ".join([ceiling.device, *pairs]), "blockIO.throttle")


def hugetlb(limits: Limits) -> Iterator[Setting]:
    """Huge pages in use, and those reserved by mmap, by page size."""
    for size, limit in limits.hugetlb:
        yield Setting(f"hugetlb.{size}.max", amount(limit), "hugepageLimits")
        yield Setting(f"hugetlb.{size}.rsvd.max", amount(limit), "hugepageLimits")


def rdma(limits: Limits) -> Iterator[Setting]:
    """Handles and objects of a network card that reads memory by itself."""
    for device, handles, objects in limits.rdma:
        pairs = (("hca_handle", handles), ("hca_object", objects))
        words = [f"{key}={amount(value)}" for key, value in pairs if value is not None]
        yield Setting("rdma.max", " ".join([device, *words]), "rdma")


CONTROLLERS: Mapping[str, Callable[[Limits], Iterator[Setting]]] = {
    "cpuset": cpuset,
    "memory": memory,
    "cpu": cpu,
    "pids": pids,
    "io": io,
    "hugetlb": hugetlb,
    "rdma": rdma,
}


def settings(limits: Limits) -> list[Setting]:
    """Every line to write, in order; OCI's `unified` entries come last and so win. Raises LimitInvalid."""
    lines = [line for controller in CONTROLLERS.values() for line in controller(limits)]
    return lines + [Setting(file, text, f"unified {file}") for file, text in limits.unified]


def files(limits: Limits) -> dict[str, str]:
    """{file in the cgroup's directory: text}; a text of several lines is written line by line."""
    texts: dict[str, str] = {}
    for line in settings(limits):
        several = line.file in texts and line.file in BY_DEVICE and not line.option.startswith("unified")
        texts[line.file] = f"{texts[line.file]}\n{line.text}" if several else line.text
    return texts


def needed(limits: Limits) -> dict[str, str]:
    """{controller: the option that asked for it}. What only lifts a limit needs no controller."""
    return needed_by(settings(limits))


def needed_by(lines: Iterable[Setting]) -> dict[str, str]:
    """The same for lines. The files cgroup.* are in every cgroup."""
    wanted: dict[str, str] = {}
    for line in lines:
        if not line.lifts and line.controller != "cgroup":
            wanted.setdefault(line.controller, line.option)
    return wanted


# --- from OCI's words ------------------------------------------------------------------------------------------------

# cgroup v1 only, with the value that means "not asked for". (section, key): neutral values.
V1_ONLY: Mapping[tuple[str, str], tuple[object, ...]] = {
    ("memory", "kernel"): (None, 0, -1),
    ("memory", "kernelTCP"): (None, 0, -1),
    ("memory", "swappiness"): (None, -1),
    ("memory", "disableOOMKiller"): (None, False),
    ("cpu", "realtimeRuntime"): (None, 0),
    ("cpu", "realtimePeriod"): (None, 0),
    ("blockIO", "leafWeight"): (None, 0),
    ("network", "classID"): (None, 0),
    ("network", "priorities"): (None, [], ()),
}
THROTTLES = {  # OCI's name -> io.max's key
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


def refuse_v1_only(resources: Mapping[str, Any]) -> None:
    """Raise LimitInvalid for what cgroup v2 can't do: better than to look as if it were done."""
    for (section, key), neutral in V1_ONLY.items():
        if (resources.get(section) or {}).get(key) not in neutral:
            raise LimitInvalid(f"{section}.{key} exists on cgroup v1 only: leave it out")


def some(section: Mapping[str, Any], key: str) -> Any:
    """A value, or None where OCI's writers mean "not set": absent, null, 0 and ""."""
    return section.get(key) or None


def device_number(entry: Mapping[str, Any]) -> str:
    """ "MAJOR:MINOR" of an OCI device entry."""
    return f"{entry['major']}:{entry['minor']}"


def io_ceilings(block: Mapping[str, Any]) -> tuple[IoMax, ...]:
    """OCI's four lists of device rates -> one line a device."""
    found: dict[str, dict[str, int]] = {}
    for name, key in THROTTLES.items():
        for entry in block.get(name) or ():
            found.setdefault(device_number(entry), {})[key] = entry["rate"] or UNLIMITED
    return tuple(IoMax(device, **rates) for device, rates in found.items())


def from_oci(resources: Mapping[str, Any]) -> Limits:
    """OCI's `linux.resources` -> Limits, `devices` apart. Raises LimitInvalid for what only cgroup v1 has."""
    refuse_v1_only(resources)
    memory, cpu, block = (resources.get(key) or {} for key in ("memory", "cpu", "blockIO"))
    return Limits(
        memory=some(memory, "limit"),
        memory_low=some(memory, "reservation"),
        memory_swap=some(memory, "swap"),
        cpu_quota=some(cpu, "quota"),
        cpu_period=some(cpu, "period"),
        cpu_burst=some(cpu, "burst"),
        cpu_shares=some(cpu, "shares"),
        cpu_idle=cpu.get("idle"),
        cpus=some(cpu, "cpus"),
        mems=some(cpu, "mems"),
        pids=(resources.get("pids") or {}).get("limit"),
        io_weight=some(block, "weight"),
        io_device_weights=tuple(
            (device_number(entry), entry["weight"])
            for entry in block.get("weightDevice") or ()
            if some(entry, "weight")
        ),
        io_max=io_ceilings(block),
        hugetlb=tuple((entry["pageSize"], entry["limit"]) for entry in resources.get("hugepageLimits") or ()),
        rdma=tuple(
            (device, entry.get("hcaHandles"), entry.get("hcaObjects"))
            for device, entry in (resources.get("rdma") or {}).items()
        ),
        unified=tuple((resources.get("unified") or {}).items()),
    )
