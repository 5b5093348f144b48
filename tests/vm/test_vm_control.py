"""In a whole machine: cgroup files by name, the event of the OOM killer, and what `info` says of the kernel.

Run by vagrant/test.sh in the guest (`make vm-test` boots one); skipped elsewhere (conftest.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guest import IMAGE, api, cgroup_file, disk_number, inspect, minirun
from waiting import until

from minirund.engine import conf

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
    minirun("exec", name, "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=80", "conv=fsync")  # above memory.high
    held = dict(line.split() for line in cgroup_file(name, "memory.events").splitlines())
    assert (int(held["high"]) > 0, held["oom_kill"]) == (True, "0")
    until(lambda: int(cgroup_file(name, "memory.current")) < 56 << 20, "memory.high takes nothing back", pause=0.3)


TOP = Path("/sys/fs/cgroup")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("memory.high=much", "invalid value for --cgroup-conf memory.high: 'much': the kernel says invalid argument"),
        ("hugetlb.3MB.max=0", "--cgroup-conf hugetlb.3MB.max needs the cgroup file hugetlb.3MB.max, which this kernel"),
        ("hugetlb.2MB.max=much", "--cgroup-conf hugetlb.2MB.max: 'much': the kernel says invalid argument"),
        (
            "rdma.max=mlx5_0 hca_handle=2",
            "--cgroup-conf rdma.max: 'mlx5_0 hca_handle=2': the kernel says no such device",
        ),
        ("misc.max=sev 1", "--cgroup-conf misc.max: 'sev 1': the kernel says invalid argument"),
        ("io.max=4000:1 rbps=9", "--cgroup-conf io.max: '4000:1 rbps=9': the kernel says no such device"),
    ],
)
def test_what_the_kernel_does_not_take_leaves_nothing(name: str, word: str, message: str) -> None:
    """Neither a container nor a controller that was switched on to try it."""
    before = (TOP / "cgroup.subtree_control").read_text()
    file, _, text = word.partition("=")
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"CgroupConf": {file: text}}}
    status, answer = api("POST", f"/containers/create?name={name}", body)
    assert status in (400, 501)
    assert message in answer["message"]
    assert api("GET", f"/containers/{name}/json")[0] == 404
    assert (TOP / "cgroup.subtree_control").read_text() == before
    assert list(TOP.glob("minirund-trial*")) == []


VALUES = {
    "cgroup.max.depth": "3", "cgroup.max.descendants": "9", "cpu.idle": "0", "cpu.max": "50000 100000",
    "cpu.max.burst": "0", "cpu.uclamp.max": "50.00", "cpu.uclamp.min": "1.00", "cpu.weight": "50",
    "cpu.weight.nice": "3", "cpuset.cpus": "0", "cpuset.mems": "0", "hugetlb.2MB.max": "2097152",
    "hugetlb.2MB.rsvd.max": "2097152", "io.latency": "DISK target=100", "io.max": "DISK rbps=1048576",
    "io.prio.class": "idle", "io.weight": "default 50", "memory.high": "33554432", "memory.low": "1048576",
    "memory.max": "67108864", "memory.min": "1048576", "memory.oom.group": "1", "memory.swap.high": "1048576",
    "memory.swap.max": "0", "memory.zswap.max": "0", "memory.zswap.writeback": "0", "misc.max": "sev 1",
    "pids.max": "40", "rdma.max": "mlx5_0 hca_handle=2",
}  # fmt: skip


def test_every_file_by_name_is_taken_or_refused_by_name() -> None:
    """All that docs/limits.md lists, each by itself: as far as this kernel has it."""
    listed = {f"{part}.{each}".replace("SIZE", "2MB") for part, names in conf.FILES.items() for each in names}
    assert listed == VALUES.keys()
    more = {"hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "rdma.max", "misc.max"}  # not handed on by systemd
    there = {path.name for path in (TOP / "system.slice").iterdir()} | more
    taken = set()
    for file, text in VALUES.items():
        body = {"Image": IMAGE, "HostConfig": {"CgroupConf": {file: text.replace("DISK", disk_number())}}}
        status, answer = api("POST", "/containers/create", body)
        if status == 201:
            taken.add(file)
            assert api("DELETE", f"/containers/{answer['Id']}")[0] == 204
        else:
            assert (status, f"--cgroup-conf {file}" in answer["message"]) == (400 if file in there else 501, True)
    assert taken == (there & VALUES.keys()) - {"rdma.max", "misc.max"}


def test_a_child_that_is_killed_is_told_while_the_container_lives_on(name: str) -> None:
    limits = ("--memory", "16m", "--memory-swap", "16m")
    minirun("run", "-d", "--name", name, *limits, IMAGE, "sh", "-c", f"sh -c '{HOG}'; sleep 600")
    until(lambda: events(name) == ["oom"], "no event", pause=0.3)
    assert inspect(name)["State"]["Status"] == "running"
    minirun("kill", name)
    assert events(name) == ["oom", "die"]


def test_an_end_by_the_oom_killer_is_told_once_before_it(name: str) -> None:
    limits = ("--memory", "16m", "--memory-swap", "16m", "--cgroup-conf", "memory.oom.group=1")
    minirun("run", "--name", name, *limits, IMAGE, "sh", "-c", f"sleep 600 & {HOG}", code=137)
    assert events(name) == ["oom", "die"]


def test_info_says_what_the_kernel_has() -> None:
    info = json.loads(minirun("info", "--format", "{{json .}}"))
    keys = ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CpuCfsPeriod", "PidsLimit", "CPUSet", "CPUShares")
    assert [key for key in keys if not info[key]] == []
    assert [text for text in info["Warnings"] or () if "swap" in text or "quota" in text] == []
