"""Two readings of a cgroup become what it waits for, in words. Plain data, no kernel."""

from __future__ import annotations

import pytest

from cgroups.stats import Stats, parse
from cgroups.waits import Change, history, size, waits

MIB = 1 << 20


def psi(some: int = 0, full: int = 0) -> str:
    """A pressure file: microseconds waited since the beginning."""
    line = "{} avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
    return line.format("some", some) + line.format("full", full)


def reading(**texts: str) -> Stats:
    """`cpu_stat="..."` is the file cpu.stat; quiet pressure files are always there."""
    quiet = {f"{name}.pressure": psi() for name in ("cpu", "memory", "io")}
    names = {"memory_high": "memory.high", "cpuset": "cpuset.cpus.effective"}
    return parse(quiet | {names.get(key, key.replace("_", ".")): text for key, text in texts.items()})


def said(before: Stats, after: Stats, seconds: float = 1.0, cpus: int = 2) -> list[str]:
    return [wait.text for wait in waits(Change(before, after, seconds, cpus, {"8:0": "sda"}))]


def test_one_that_waits_for_nothing_has_nothing_said_of_it() -> None:
    assert said(reading(), reading()) == []


def test_a_throttled_one_is_told_of_its_limit() -> None:
    before = reading(cpu_stat="usage_usec 0\nnr_periods 5\nnr_throttled 5\n", cpu_max="50000 100000\n")
    after = reading(
        cpu_stat="usage_usec 500000\nnr_periods 15\nnr_throttled 15\n",
        cpu_max="50000 100000\n",
        cpu_pressure=psi(480_000, 470_000),
    )
    assert said(before, after) == [
        "waits for CPU 48% of the time: throttled by its limit of 0.5 CPUs (in 10 of 10 periods)"
    ]


def test_without_psi_the_throttled_periods_tell_how_long() -> None:
    before = parse({"cpu.stat": "nr_periods 0\nnr_throttled 0\n", "cpu.max": "100000 100000\n"})
    after = parse({"cpu.stat": "nr_periods 10\nnr_throttled 4\n", "cpu.max": "100000 100000\n"})
    assert said(before, after) == [
        "waits for CPU 40% of the time: throttled by its limit of 1 CPU (in 4 of 10 periods)"
    ]


@pytest.mark.parametrize(
    ("used", "cpuset", "why"),
    [
        (2_000_000, "", "its own processes want more than the host's 2 CPUs"),
        (700_000, "", "others keep the host's 2 CPUs busy, it got 0.70"),
        (990_000, "1\n", "its own processes want more than the 1 CPU that it may run on"),
        (500_000, "1\n", "others keep the 1 CPU that it may run on busy, it got 0.50"),
    ],
)
def test_one_whose_cpus_are_taken_is_told_by_whom(used: int, cpuset: str, why: str) -> None:
    after = reading(cpu_stat=f"usage_usec {used}\n", cpu_pressure=psi(300_000), cpuset=cpuset)
    assert said(reading(), after) == [f"waits for CPU 30% of the time: {why}"]


def test_a_little_waiting_for_a_cpu_is_no_matter() -> None:
    assert said(reading(), reading(cpu_pressure=psi(40_000))) == []
    assert said(reading(), reading(cpu_pressure=psi(40_000)), seconds=0.5) != []


def test_one_at_its_memory_limit() -> None:
    before = reading(memory_events="max 3\nhigh 0\n")
    after = reading(
        memory_current=f"{63 * MIB}\n", memory_max=f"{64 * MIB}\n", memory_events="max 90\nhigh 0\n",
        memory_pressure=psi(250_000, 200_000),
    )  # fmt: skip
    assert said(before, after) == [
        "waits for memory 25% of the time: at its limit of 64MiB, it uses 63MiB, so the kernel takes pages back before "
        "it gives new ones; 20% of the time all of it stood still"
    ]


def test_one_at_its_memory_high() -> None:
    after = reading(
        memory_current=f"{33 * MIB}\n", memory_max="max\n", memory_high=f"{32 * MIB}\n", memory_events="high 12\n",
        memory_pressure=psi(900_000),
    )  # fmt: skip
    assert said(reading(), after) == [
        "waits for memory 90% of the time: slowed down at its memory.high of 32MiB, it uses 33MiB"
    ]


def test_one_near_its_limit_and_one_on_a_poor_host() -> None:
    near = reading(memory_current=f"{60 * MIB}\n", memory_max=f"{64 * MIB}\n", memory_pressure=psi(30_000))
    poor = reading(memory_current=f"{MIB}\n", memory_max="max\n", memory_pressure=psi(30_000))
    assert "near its limit of 64MiB, it uses 60MiB" in said(reading(), near)[0]
    assert said(reading(), poor) == ["waits for memory 3% of the time: the host is short of memory, it uses 1MiB"]


def test_one_whose_writes_are_held() -> None:
    limits = "8:0 rbps=max wbps=1048576 riops=max wiops=max\n"
    before = reading(io_stat="8:0 rbytes=0 wbytes=1000 rios=0 wios=1\n", io_max=limits)
    after = reading(
        io_stat=f"8:0 rbytes=0 wbytes={1000 + MIB} rios=0 wios=9\n", io_max=limits, io_pressure=psi(970_000)
    )
    assert said(before, after) == ["waits for I/O 97% of the time: held to its limit of 1MiB/s for writing on sda"]


def test_one_whose_operations_are_held() -> None:
    limits = "8:0 rbps=max wbps=max riops=100 wiops=max\n"
    before = reading(io_stat="8:0 rbytes=0 wbytes=0 rios=0 wios=0\n", io_max=limits)
    after = reading(io_stat="8:0 rbytes=4096 wbytes=0 rios=99 wios=0\n", io_max=limits, io_pressure=psi(500_000))
    assert said(before, after) == ["waits for I/O 50% of the time: held to its limit of 100/s for reads to sda"]


def test_one_whose_disk_is_slow() -> None:
    after = reading(
        io_stat="8:0 rbytes=2097152 wbytes=1024\n9:1 rbytes=1 wbytes=0\n",
        io_max="8:0 rbps=max wbps=1048576 riops=max wiops=max\n",
        io_pressure=psi(400_000),
    )
    busy = "waits for I/O 40% of the time: sda was busy, it read 2MiB/s and wrote 1KiB/s"
    assert said(reading(), after) == [busy]
    assert said(reading(), reading(io_pressure=psi(400_000))) == [
        "waits for I/O 40% of the time: the disk was slow to answer"
    ]


def test_failed_forks_and_killed_processes() -> None:
    before = reading(pids_events="max 2\n", pids_max="50\n", memory_events="oom_kill 1\n")
    after = reading(
        pids_events="max 14\n", pids_max="50\n", memory_events="oom_kill 2\n", memory_max=f"{16 * MIB}\n",
        memory_current="0\n",
    )  # fmt: skip
    assert said(before, after) == [
        "could not make 12 processes or threads: its limit of 50",
        "lost 1 process to the OOM killer: memory ran out at its limit of 16MiB",
    ]
    assert history(after) == [
        "the OOM killer has ended 2 of its processes",
        "14 processes or threads could not be made, at its limit of 50",
    ]
    assert history(reading()) == []


def test_the_longest_wait_comes_first() -> None:
    after = reading(cpu_pressure=psi(100_000), io_pressure=psi(600_000), memory_pressure=psi(300_000))
    assert [wait.resource for wait in waits(Change(reading(), after, 1.0, 2, {}))] == ["io", "memory", "cpu"]


def test_no_share_is_more_than_all_of_the_time() -> None:
    (wait,) = waits(Change(reading(), reading(io_pressure=psi(1_500_000)), 1.0, 2, {}))
    assert wait.share == 1.0


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (3 << 40, "3TiB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
