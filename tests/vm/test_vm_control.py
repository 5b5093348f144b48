"""In a whole machine: cgroup files by name, the event of the OOM killer, and what `info` says of the kernel.

Run by vagrant/test.sh in the guest (`make vm-test` boots one); skipped elsewhere (conftest.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guest import IMAGE, cgroup_file, inspect, minirun
from waiting import until

PATIENCE = 120
HOG = "x=0123456789abcdef; while true; do x=$x$x; done"


def events(name: str) -> list[str]:
    """What has happened to a container, of what matters here."""
    shown = minirun("events", "--since", "0", "--until", "0s", "-f", f"container={name}", "--format", "{{.Action}}")
    return [action for action in shown.split() if action in ("oom", "die")]


def test_files_by_name_and_their_update(name: str) -> None:
    files = {"memory.high": str(32 << 20), "memory.oom.group": "1", "cpu.idle": "1", "memory.swap.high": "max"}
    options = [word for file, text in files.items() for word in ("--cgroup-conf", f"{file}={text}")]
    minirun("run", "-d", "--name", name, *options, IMAGE, "sleep", "600")
    assert {file: cgroup_file(name, file) for file in files} == files
    changes = ("memory.high=48M", "memory.oom.group=", "cpu.idle=0", "memory.min=4M")
    minirun("update", *(word for change in changes for word in ("--cgroup-conf", change)), name)
    changed = {"memory.high": str(48 << 20), "memory.oom.group": "0", "cpu.idle": "0", "memory.min": str(4 << 20)}
    assert {file: cgroup_file(name, file) for file in changed} == changed
    minirun("restart", "-t", "0", name)
    assert {file: cgroup_file(name, file) for file in changed} == changed


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("memory.high=much", "invalid value for --cgroup-conf memory.high: 'much': the kernel says invalid argument"),
        ("hugetlb.3MB.max=0", "--cgroup-conf hugetlb.3MB.max"),  # no file, or no controller
    ],
)
def test_what_the_kernel_does_not_take_leaves_nothing(name: str, word: str, message: str) -> None:
    assert message in minirun("create", "--name", name, "--cgroup-conf", word, IMAGE, code=1)
    assert name not in minirun("ps", "-a")


def test_a_child_that_is_killed_is_told_while_the_container_lives_on(name: str) -> None:
    limits = ("--memory", "16m", "--memory-swap", "16m")
    minirun("run", "-d", "--name", name, *limits, IMAGE, "sh", "-c", f"sh -c '{HOG}'; sleep 600")
    until(lambda: events(name) == ["oom"], "no event", PATIENCE, pause=0.3)
    assert inspect(name)["State"]["Status"] == "running"
    minirun("kill", name)
    assert events(name) == ["oom", "die"]


def test_an_end_by_the_oom_killer_is_told_once_before_it(name: str) -> None:
    limits = ("--memory", "16m", "--memory-swap", "16m", "--cgroup-conf", "memory.oom.group=1")
    minirun("run", "--name", name, *limits, IMAGE, "sh", "-c", f"sleep 600 & {HOG}", code=137)
    assert events(name) == ["oom", "die"]


def test_a_weight_is_in_its_file_or_refused_by_name(name: str) -> None:
    """The kernel has the file, and says no to a line of a disk whose scheduler knows no weights."""
    if not Path("/sys/fs/cgroup/system.slice/io.weight").exists():
        shown = minirun("create", "--name", name, "--blkio-weight", "500", IMAGE, code=1)
        assert "--blkio-weight needs the cgroup file io.weight, which this kernel does not have" in shown
        assert name not in minirun("ps", "-a")
        return
    minirun("run", "-d", "--name", name, "--blkio-weight", "500", IMAGE, "sleep", "600")
    assert cgroup_file(name, "io.weight") == "default 4950"
    shown = minirun("update", "--blkio-weight-device", "/dev/vda:300", name, code=1)
    assert "io.weight: Operation not supported" in shown
    assert cgroup_file(name, "io.weight") == "default 4950"


def test_info_says_what_the_kernel_has() -> None:
    info = json.loads(minirun("info", "--format", "{{json .}}"))
    keys = ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CpuCfsPeriod", "PidsLimit", "CPUSet", "CPUShares")
    assert [key for key in keys if not info[key]] == []
    assert [text for text in info["Warnings"] or () if "swap" in text or "quota" in text] == []
