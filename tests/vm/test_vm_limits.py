"""In a whole machine: every limit that `run` and `update` offer is in the container's cgroup. What it does to a program
that goes over it: test_vm_over_limits.py, test_vm_disks.py, test_vm_processes.py.

Run by vagrant/test.sh in the guest (`make vm-test` boots one); skipped elsewhere (conftest.py). A start costs an
emulated processor seconds: many limits share a container.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from guest import DISK, IMAGE, MINIRUN, cgroup_file, disk_number, inspect, minirun

from minirund.cli.update import NAMES

MIB = 1 << 20
HOG = "x=0123456789abcdef; while true; do x=$x$x; done"
V1_ONLY = {"cpu-rt-period", "cpu-rt-runtime", "kernel-memory"}
LIFTED = "rbps=max wbps=max riops=max wiops=max"


def test_options_are_cgroup_files(name: str) -> None:
    rates = (f"--device-{what} {DISK}:{rate}" for what, rate in (("read-bps", "3mb"), ("write-bps", "2mb")))
    counts = (f"--device-{what} {DISK}:{rate}" for what, rate in (("read-iops", "300"), ("write-iops", "200")))
    options = (
        "--memory 64m --memory-reservation 32m --pids-limit 50 --cpus 0.5 --cpu-shares 2048 --cpuset-cpus 0 "
        f"--cpuset-mems 0 --blkio-weight 500 {' '.join((*rates, *counts))}"
    )
    minirun("run", "-d", "--name", name, *options.split(), IMAGE, "sleep", "600")
    files = {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(64 * MIB),
        "memory.low": str(32 * MIB),
        "pids.max": "50",
        "cpu.max": "50000 100000",
        "cpu.weight": "174",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
        "io.weight": "default 4950",
        "io.max": f"{disk_number()} rbps={3 * MIB} wbps={2 * MIB} riops=300 wiops=200",
    }
    assert {file: cgroup_file(name, file) for file in files} == files


@pytest.fixture(scope="module")
def lasting() -> Iterator[str]:
    """A container that is changed again and again while it runs; it sees its own cgroup."""
    options = ("--memory", "80m", "--memory-swap", "80m", "--cpu-quota", "20000", "--cpu-period", "50000")
    minirun("run", "-d", "--name", "lasting", *options, IMAGE, "sleep", "600")
    yield "lasting"
    subprocess.run([MINIRUN, "rm", "-f", "lasting"], check=False, capture_output=True)


UPDATES = (
    ("--memory 64m --memory-swap -1", {"memory.max": str(64 * MIB), "memory.swap.max": "max"}),
    ("--memory 32m --memory-swap 48m", {"memory.max": str(32 * MIB), "memory.swap.max": str(16 * MIB)}),
    ("--memory-reservation 16m", {"memory.low": str(16 * MIB)}),
    ("--cpu-period 100000", {"cpu.max": "20000 100000"}),
    ("--cpu-quota -1", {"cpu.max": "max 100000"}),
    ("--cpu-shares 2048", {"cpu.weight": "174"}),
    ("--cpuset-cpus 1 --cpuset-mems 0", {"cpuset.cpus": "1", "cpuset.mems": "0"}),
    ("--pids-limit 7", {"pids.max": "7"}),
    ("--pids-limit -1", {"pids.max": "max"}),
    ("--blkio-weight 500", {"io.weight": "default 4950"}),
    (f"--device-write-bps {DISK}:1mb", {"io.max": f"rbps=max wbps={MIB} riops=max wiops=max"}),
    (
        f"--device-read-bps {DISK}:2mb --device-read-iops {DISK}:30 --device-write-iops {DISK}:20",
        {"io.max": f"rbps={2 * MIB} wbps={MIB} riops=30 wiops=20"},
    ),
    (f"--device-write-bps {DISK}:0", {"io.max": f"rbps={2 * MIB} wbps=max riops=30 wiops=20"}),
    ("--cgroup-conf memory.high=24M", {"memory.high": str(24 * MIB)}),
    ("--cgroup-conf memory.high= --cgroup-conf cpu.idle=1", {"memory.high": "max", "cpu.idle": "1"}),
)


@pytest.mark.parametrize(("options", "files"), UPDATES, ids=lambda value: value if isinstance(value, str) else "")
def test_update_changes_the_files_of_a_running_container(lasting: str, options: str, files: dict[str, str]) -> None:
    pid = inspect(lasting)["State"]["Pid"]
    assert minirun("update", *options.split(), lasting) == f"{lasting}\n"
    found = {file: cgroup_file(lasting, file).removeprefix(f"{disk_number()} ") for file in files}
    assert found == files
    assert inspect(lasting)["State"]["Pid"] == pid


def test_what_was_changed_is_so_after_a_restart(lasting: str) -> None:
    names = {file for _, files in UPDATES for file in files}
    before = {file: cgroup_file(lasting, file) for file in names}
    minirun("restart", "-t", "0", lasting)
    assert {file: cgroup_file(lasting, file) for file in names} == before


def test_every_option_of_update_is_tried() -> None:
    """A disk's weight is in test_vm_disks.py, where a disk has a scheduler that knows weights."""
    tried = {word.removeprefix("--") for options, _ in UPDATES for word in options.split() if word.startswith("--")}
    assert tried == NAMES - V1_ONLY - {"restart", "cpus", "blkio-weight-device"}  # --cpus: test_vm_over_limits.py


def test_an_update_that_the_kernel_refuses_changes_nothing(lasting: str) -> None:
    """The good half of it neither: not in the cgroup, and not in what the next start reads."""
    before = {file: cgroup_file(lasting, file) for file in ("pids.max", "memory.high", "io.max")}
    for words, message in (
        ("--pids-limit 9 --cgroup-conf memory.high=much", "memory.high: 'much': the kernel says invalid argument"),
        (f"--pids-limit 9 --blkio-weight-device {DISK}:300", "this disk's scheduler knows no weights, use bfq:"),
        ("--pids-limit 9 --device-read-bps /dev/nope:1mb", '"/dev/nope": no such file or directory'),
    ):
        shown = minirun("update", *words.split(), lasting, code=1)
        assert message in shown
        assert len(shown.splitlines()) == 1
    assert {file: cgroup_file(lasting, file) for file in before} == before
    assert inspect(lasting)["HostConfig"]["PidsLimit"] == -1


def test_a_program_meets_the_limits_of_an_update(name: str) -> None:
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    minirun("update", "--pids-limit", "4", name)
    assert "can't fork" in minirun("exec", name, "sh", "-c", bomb, code=2)
    minirun("restart", "-t", "0", name)
    minirun("update", "--pids-limit", "-1", "--memory", "16m", "--memory-swap", "16m", name)
    minirun("exec", name, "sh", "-c", HOG, code=137)


def test_who_exceeds_the_memory_limit_is_killed_and_said_so(name: str) -> None:
    """64 MiB, and a program that wants 128."""
    minirun("run", "--name", name, "--memory", "64m", "--memory-swap", "64m", IMAGE, "sh", "-c", HOG, code=137)
    assert inspect(name)["State"]["OOMKilled"] is True


def test_a_fork_bomb_stops_at_the_pids_limit(name: str) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    shown = minirun("run", "--name", name, "--pids-limit", "4", IMAGE, "sh", "-c", bomb, code=2)
    assert "can't fork" in shown
