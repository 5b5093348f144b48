"""From one set of limits to another: the lines, and how they are taken back. No root, no cgroup."""

from __future__ import annotations

import pytest

from cgroups.changes import difference, neutral, restoring
from cgroups.limits import IoMax, Limits, settings


def lines(old: Limits, new: Limits) -> list[tuple[str, str]]:
    return [(line.file, line.text) for line in difference(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Limits(memory=9), Limits(memory=9), []),
        (Limits(memory=9), Limits(memory=5), [("memory.max", "5")]),
        (Limits(memory=9, pids=3), Limits(memory=9), [("pids.max", "max")]),
        (Limits(), Limits(cpu_shares=1024), [("cpu.weight", "100")]),
        (Limits(cpu_shares=2), Limits(), [("cpu.weight", "100")]),
        (Limits(cpu_quota=5), Limits(), [("cpu.max", "max 100000")]),
        (Limits(cpus="0", mems="0"), Limits(mems="0"), [("cpuset.cpus", "\n")]),
        (Limits(memory_low=5), Limits(), [("memory.low", "0")]),
        (Limits(io_weight=10), Limits(), [("io.weight", "default 100")]),
        (Limits(io_device_weights=(("8:0", 10),)), Limits(), [("io.weight", "8:0 default")]),
        (
            Limits(io_max=(IoMax("8:0", rbps=1), IoMax("8:1", rbps=1))),
            Limits(io_max=(IoMax("8:0", wbps=5),)),
            [
                ("io.max", "8:1 rbps=max wbps=max riops=max wiops=max"),
                ("io.max", "8:0 wbps=5 rbps=max riops=max wiops=max"),
            ],
        ),
        (Limits(), Limits(io_max=(IoMax("8:0", wbps=5),)), [("io.max", "8:0 wbps=5")]),
        (Limits(memory=9, memory_swap=18), Limits(memory=9, memory_swap=-1), [("memory.swap.max", "max")]),
    ],
)
def test_the_lines_that_lead_from_one_to_the_other(old: Limits, new: Limits, expected: list[tuple[str, str]]) -> None:
    assert lines(old, new) == expected


def test_what_is_gone_needs_no_controller() -> None:
    assert all(line.lifts for line in difference(Limits(1, 1, 1, cpu_shares=5, cpus="0", io_weight=10), Limits()))


def test_a_weight_goes_from_both_schedulers() -> None:
    (line,) = settings(Limits(io_weight=10))
    assert neutral(line).other == ("io.bfq.weight", "default 100")


@pytest.mark.parametrize(
    ("file", "text", "current", "expected"),
    [
        ("memory.max", "5", "max\n", "max"),
        ("cpu.max", "5 100000", "max 100000\n", "max 100000"),
        ("cpuset.cpus", "0", "\n", "\n"),
        ("io.weight", "default 5", "default 100\n8:0 50\n", "default 100"),
        ("io.weight", "8:0 5", "default 100\n8:0 50\n", "8:0 50"),
        ("io.weight", "8:1 5", "default 100\n8:0 50\n", "8:1 default"),
        ("io.bfq.weight", "default 5", "100\n", "100"),
        (
            "io.max",
            "8:0 rbps=5",
            "8:0 rbps=2 wbps=max riops=max wiops=max\n",
            "8:0 rbps=2 wbps=max riops=max wiops=max",
        ),
        ("io.max", "8:0 rbps=5", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
    ],
)
def test_what_restores_a_file(file: str, text: str, current: str, expected: str) -> None:
    assert restoring(file, text, current) == expected
