"""From one set of limits to another, while processes run: which lines to write, and how to take them back. Pure.

    difference(Limits(memory=64 << 20, pids=9), Limits(memory=32 << 20))   # memory.max 33554432, pids.max max

What the old limits had and the new ones have not is lifted, by writing what the file says where nobody has written to
it. Files with a line a device (io.max, ...) keep what they are not told, so a changed line says all of its keys.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from cgroups.limits import BY_DEVICE, DEFAULT_PERIOD, Limits, Setting, settings

NEUTRAL = {  # what a file says when nobody has written to it; "max" for all others
    "memory.low": "0",
    "memory.min": "0",
    "memory.zswap.writeback": "1",
    "memory.oom.group": "0",
    "cpu.weight": "100",
    "cpu.weight.nice": "0",
    "cpu.uclamp.min": "0",
    "cpu.max": f"max {DEFAULT_PERIOD}",
    "cpu.max.burst": "0",
    "cpu.idle": "0",
    "cpuset.cpus": "\n",
    "cpuset.mems": "\n",
    "io.weight": "default",
    "io.latency": "target=0",
    "io.prio.class": "no-change",
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "rdma.max": "hca_handle=max hca_object=max",
}


def neutral(line: Setting) -> Setting:
    """The line that takes a line back."""
    text = " ".join(filter(None, (line.key[1], NEUTRAL.get(line.file, "max"))))
    if line.key == ("io.weight", "default"):
        text = "default 100"
    other = ("io.bfq.weight", text) if line.file == "io.weight" else None
    return Setting(line.file, text, "", other)


def restoring(file: str, text: str, current: str) -> str:
    """What is to be written to a file, after ``text``, to have it say again what it says now, ``current``."""
    if file not in (*BY_DEVICE, "io.bfq.weight"):
        return current.strip() or "\n"
    target = text.split(maxsplit=1)[0]
    lines = [line for line in current.splitlines() if line.split()[:1] == [target]]
    if lines:
        return lines[0]
    return current.strip() if target == "default" else f"{target} {NEUTRAL.get(file, 'default')}"


def difference(old: Limits, new: Limits) -> list[Setting]:
    """The lines that lead from the one to the other: what is new or changed, and what lifts limits that are gone.

    A line of io.max or rdma.max that changes says all of its keys: the kernel keeps those that it is not told.
    """
    before = {line.key: line for line in settings(old)}
    after = {line.key: line for line in settings(new)}
    gone = [neutral(line) for key, line in before.items() if key not in after]
    changed = [line for key, line in after.items() if line != before.get(key)]
    return gone + [completed(line) if line.key in before else line for line in changed]


def completed(line: Setting) -> Setting:
    """A line of keys and values with the neutral value of each key that it does not say."""
    if line.file not in ("io.max", "rdma.max"):
        return line
    device, *words = line.text.split()
    said = {word.partition("=")[0] for word in words}
    rest = [word for word in NEUTRAL[line.file].split() if word.partition("=")[0] not in said]
    return line._replace(text=" ".join([device, *words, *rest]))
