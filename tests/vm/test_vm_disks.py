"""In a whole machine: rates of disks hold up who reads and writes, weights divide a disk between those who want it.

Weights are the disk scheduler's affair: the machine's own disk has none, so there is one of the kernel's null_blk,
which has BFQ, and takes twenty milliseconds for everything: an emulated processor is never what is waited for. Run by
vagrant/test.sh in the guest; skipped elsewhere.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import DISK, IMAGE, cgroup_file, disk_number, minirun
from waiting import until

SLOW = "/dev/nullb0"
TRAITS = "nr_devices=1 gb=1 irqmode=2 completion_nsec=20000000 hw_queue_depth=1 submit_queues=1"
QUEUE = Path("/sys/block/nullb0/queue")


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """A disk whose scheduler knows weights, and divides it by them alone."""
    for module in ("bfq", f"null_blk {TRAITS}"):
        if subprocess.run(["modprobe", *module.split()], check=False).returncode:
            pytest.skip(f"this kernel has no module {module.split()[0]}")
    (QUEUE / "scheduler").write_text("bfq")
    (QUEUE / "iosched/low_latency").write_text("0")
    yield SLOW
    subprocess.run(["modprobe", "-r", "null_blk"], check=False)


def seconds(name: str, *command: str) -> float:
    started = time.monotonic()
    minirun("exec", name, *command)
    return time.monotonic() - started


def test_nobody_is_faster_than_the_rate(name: str) -> None:
    """3 MiB at 1 MiB/s, then 60 operations at 20/s; the kernel lets some of the first second's through at once."""
    minirun("run", "-d", "--name", name, "--device-write-bps", f"{DISK}:1mb", IMAGE, "sleep", "600")
    assert seconds(name, "dd", "if=/dev/zero", "of=/file", "bs=64k", "count=48", "conv=fsync") > 2
    minirun("update", "--device-write-bps", f"{DISK}:0", "--device-read-bps", f"{DISK}:1mb", name)
    assert seconds(name, "dd", "if=/file", "of=/dev/null", "bs=64k", "iflag=direct") > 2
    minirun("update", "--device-read-bps", f"{DISK}:0", "--device-read-iops", f"{DISK}:20", name)
    assert seconds(name, "dd", "if=/file", "of=/dev/null", "bs=4k", "count=60", "iflag=direct") > 2
    minirun("update", "--device-read-iops", f"{DISK}:0", "--device-write-iops", f"{DISK}:20", name)
    write = ("dd", "if=/dev/zero", "of=/file", "bs=4k", "count=60", "oflag=direct", "conv=notrunc")
    assert seconds(name, *write) > 2
    minirun("update", "--device-write-iops", f"{DISK}:0", name)
    assert cgroup_file(name, "io.max") == ""


@pytest.fixture
def second(name: str) -> Iterator[str]:
    """Another container's name."""
    yield f"{name}-second"
    minirun("rm", "-f", f"{name}-second")


def reads(name: str) -> int:
    """How many the slow disk has done for a container."""
    (line,) = [line for line in cgroup_file(name, "io.stat").splitlines() if line.startswith(f"{disk_number(SLOW)} ")]
    return int(dict(word.split("=") for word in line.split()[1:])["rios"])


def divided(names: tuple[str, str]) -> tuple[int, int]:
    """How often each reads while both together read some 250 times: what the disk does in five seconds, or in more."""
    before = [reads(name) for name in names]

    def since() -> tuple[int, int] | None:
        first, other = (reads(name) - early for name, early in zip(names, before, strict=True))
        return (first, other) if first + other >= 250 else None

    found: tuple[int, int] = until(since, "they do not read", pause=0.5)
    return found


def has_most(first: str, other: str) -> None:
    """Wait until one of them reads far more than the other: a new weight counts from a queue's next turn on."""

    def share() -> bool:
        more, less = divided((first, other))
        return more > 3 * less > 0

    until(share, f"{first} does not get more than {other}")


def test_a_disk_is_divided_by_weight_and_an_update_divides_it_anew(slow: str, name: str, second: str) -> None:
    read = f"while :; do dd if={slow} of=/dev/null bs=4k count=20000 iflag=direct; done 2>/dev/null"
    options = ("--device", f"{slow}:{slow}:r", "--blkio-weight-device")
    for each, weight in ((name, 800), (second, 100)):
        command = ("sh", "-c", f"{read} & {read}")
        minirun("run", "-d", "--name", each, *options, f"{slow}:{weight}", IMAGE, *command)
    assert f"{disk_number(slow)} 800" in cgroup_file(name, "io.bfq.weight").splitlines()
    has_most(name, second)
    minirun("update", "--blkio-weight-device", f"{slow}:100", name)
    minirun("update", "--blkio-weight-device", f"{slow}:800", second)
    has_most(second, name)
    minirun("update", "--blkio-weight-device", f"{slow}:0", second)
    assert disk_number(slow) not in cgroup_file(second, "io.bfq.weight")


def test_the_weight_of_all_disks_is_in_the_files_of_both_ways(slow: str, name: str) -> None:
    minirun("run", "-d", "--name", name, "--blkio-weight", "300", IMAGE, "sleep", "600")
    found = [cgroup_file(name, file).splitlines()[0] for file in ("io.weight", "io.bfq.weight")]
    assert found == ["default 2930", "default 300"]
    minirun("update", "--blkio-weight", "500", name)
    assert cgroup_file(name, "io.bfq.weight").splitlines()[0] == "default 500"


def test_a_disk_whose_scheduler_knows_no_weights_is_refused_by_name(name: str) -> None:
    shown = minirun("create", "--name", name, "--blkio-weight-device", f"{DISK}:300", IMAGE, code=1)
    assert f"--blkio-weight-device {DISK}:300: this disk's scheduler knows no weights, use bfq: modprobe bfq," in shown
    assert f"/sys/dev/block/{disk_number()}/queue/scheduler" in shown
    assert len(shown.splitlines()) == 1
    assert name not in minirun("ps", "-a")
