"""In a whole machine: what a program meets that wants more than its container has.

Run by vagrant/test.sh in the guest (`make vm-test` boots one); skipped elsewhere (conftest.py). Processor time is read
from cpu.stat, which counts what was given and not how fast that was. An emulator that is given no processor itself for
a second spoils what was counted meanwhile: then it is counted again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import DISK, IMAGE, PYTHON, cgroup_file, disk_number, minirun
from waiting import until

SPIN = ("sh", "-c", "while :; do :; done")
PERIOD = 100_000
"""Microseconds of a period, where --cpus says what part of it."""
SWAP = Path("/var/tmp/swap-of-the-tests")


def processor(name: str) -> dict[str, int]:
    """What the container has had so far: the microseconds, and the periods of its quota."""
    return {key: int(number) for key, number in (line.split() for line in cgroup_file(name, "cpu.stat").splitlines())}


def holds(name: str, cpus: float) -> bool:
    """Whether its quota, that of this many CPUs, was used up and no more in some forty periods of it."""
    before = processor(name)
    time.sleep(4)
    after = processor(name)
    used, periods, held = (after[key] - before[key] for key in ("usage_usec", "nr_periods", "nr_throttled"))
    print(f"{used} microseconds in {periods} periods, {held} of them held up")
    return held > 0.8 * periods > 0 and used / periods == pytest.approx(cpus * PERIOD, rel=0.1)


@pytest.fixture
def second(name: str) -> Iterator[str]:
    """Another container's name."""
    yield f"{name}-second"
    minirun("rm", "-f", f"{name}-second")


@pytest.fixture
def swap() -> Iterator[None]:
    """The machine has 128 MiB of swap."""
    for words in (
        ("dd", "if=/dev/zero", f"of={SWAP}", "bs=1M", "count=128", "status=none"),
        ("chmod", "600", str(SWAP)),
        ("mkswap", "--quiet", str(SWAP)),
        ("swapon", str(SWAP)),
    ):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    yield
    subprocess.run(("swapoff", str(SWAP)), check=True)
    SWAP.unlink()


def test_half_a_processor_is_half_of_one(name: str) -> None:
    minirun("run", "-d", "--name", name, "--cpus", "0.5", IMAGE, *SPIN)
    until(lambda: holds(name, 0.5), "it is not held to half a processor")
    minirun("update", "--cpus", "0.25", name)
    until(lambda: holds(name, 0.25), "it is not held to a quarter")


def test_two_that_compete_get_what_their_shares_say(name: str, second: str) -> None:
    """Four to one, in shares; the kernel goes by weights, which are not quite that. An update turns it round."""
    for each, weight in ((name, "2048"), (second, "512")):
        minirun("run", "-d", "--name", each, "--cpuset-cpus", "0", "--cpu-shares", weight, IMAGE, *SPIN)
    until(lambda: competes(name, second), "its shares are not four times the other's")
    for each, weight in ((name, "512"), (second, "2048")):
        minirun("update", "--cpu-shares", weight, each)
    until(lambda: competes(second, name), "the update has not turned it round")


def competes(first: str, other: str) -> bool:
    """Whether for a while the first gets more of the one processor, as much more as its weight is greater."""
    weights = [int(cgroup_file(each, "cpu.weight")) for each in (first, other)]
    assert weights[0] > weights[1]
    started = time.monotonic()
    before = [processor(each)["usage_usec"] for each in (first, other)]
    time.sleep(3)
    more, less = (processor(each)["usage_usec"] - early for each, early in zip((first, other), before, strict=True))
    share = (more + less) / 1e6 / (time.monotonic() - started)
    print(f"{more} and {less} microseconds, {share:.2f} of a processor")
    return share <= 1 and more == pytest.approx(less * weights[0] / weights[1], rel=0.3)


def test_memory_beyond_the_limit_goes_to_swap_as_far_as_that_is_allowed(name: str, swap: None) -> None:
    """40 MiB in 24: with 64 of both it fits, with 32 the kernel kills."""
    fill = ("dd", "if=/dev/zero", "of=/dev/shm/file", "bs=1M", "count=40")
    minirun("run", "-d", "--name", name, "--memory", "24m", "--memory-swap", "64m", IMAGE, "sleep", "600")
    minirun("exec", name, *fill)
    assert int(cgroup_file(name, "memory.swap.current")) > 12 << 20
    assert int(cgroup_file(name, "memory.current")) <= 24 << 20
    minirun("exec", name, "rm", "/dev/shm/file")
    minirun("update", "--memory", "24m", "--memory-swap", "32m", name)
    minirun("exec", name, *fill, code=137)


def test_memory_that_is_reserved_is_not_taken_while_others_have_some(name: str, second: str) -> None:
    """Both have written a file of 24 MiB. When 16 MiB are wanted back, it is the other that has to give."""
    for each in (name, second):
        minirun("run", "-d", "--name", each, "--cgroup-parent", "/reserving", IMAGE, "sleep", "600")
        minirun("exec", each, "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=24", "conv=fsync")
    minirun("update", "--memory-reservation", "32m", name)
    Path("/sys/fs/cgroup/reserving/memory.reclaim").write_text(str(16 << 20))
    kept, taken = (int(cgroup_file(each, "memory.current")) for each in (name, second))
    assert kept >= 24 << 20
    assert taken <= 16 << 20


def nodes(name: str) -> set[str]:
    """The memory nodes that have pages of its programs."""
    (line,) = [line for line in cgroup_file(name, "memory.numa_stat").splitlines() if line.startswith("anon ")]
    return {node for node, size in (word.split("=") for word in line.split()[1:]) if int(size) > 1 << 20}


@pytest.mark.skipif(not Path("/sys/devices/system/node/node1").exists(), reason="this machine has one memory node")
def test_memory_comes_from_the_nodes_of_the_cpuset_alone(name: str) -> None:
    hold = ("sh", "-c", "x=0123456789abcdef; while [ ${#x} -lt 5000000 ]; do x=$x$x; done; sleep 600; :")
    minirun("run", "-d", "--name", name, "--cpuset-mems", "1", "--cpuset-cpus", "0", IMAGE, *hold)
    until(lambda: nodes(name) != set(), "no memory", pause=0.3)
    assert nodes(name) == {"N1"}
    minirun("update", "--cpuset-mems", "0", name)
    until(lambda: nodes(name) == {"N0"}, "its memory has not moved", pause=0.3)


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """The machine keeps five huge pages of 2 MiB."""
    pages = Path("/proc/sys/vm/nr_hugepages")
    pages.write_text("5")
    if int(pages.read_text()) != 5:
        pytest.skip("this machine has no room for five huge pages")
    yield
    pages.write_text("0")


def test_huge_pages_beyond_the_limit_are_a_bus_error(name: str, huge_pages: None) -> None:
    """Three are touched, two are allowed; then three. What is reserved has a limit of its own, which mmap(2) meets."""
    map_private_anonymous_huge = 0x40022
    code = f"""
import mmap
pages = mmap.mmap(-1, 6 << 20, flags={map_private_anonymous_huge})
for at in 0, 2, 4:
    pages[at << 20] = 1
    print(at, flush=True)
"""
    touch = ("python3", "-c", code)
    minirun("run", "-d", "--name", name, "--cgroup-conf", "hugetlb.2MB.max=4M", *PYTHON, IMAGE, "sleep", "600")
    assert minirun("exec", name, *touch, code=135) == "0\n2\n"
    assert cgroup_file(name, "hugetlb.2MB.events") == "max 1"
    minirun("update", "--cgroup-conf", "hugetlb.2MB.max=6M", name)
    assert minirun("exec", name, *touch) == "0\n2\n4\n"
    minirun("update", "--cgroup-conf", "hugetlb.2MB.rsvd.max=4M", name)
    assert "Cannot allocate memory" in minirun("exec", name, *touch, code=1)


def last_on(pid: str) -> str:
    """The processor that a process runs on, or ran on last."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[36]


def both(name: str) -> list[str]:
    """The processes of a container."""
    return [line.split()[1] for line in minirun("top", name).splitlines()[1:]]


def test_one_on_a_processor_is_seen_on_no_other(name: str) -> None:
    minirun("run", "-d", "--name", name, "--cpuset-cpus", "1", IMAGE, "sh", "-c", f"{SPIN[2]} & {SPIN[2]}")
    until(lambda: len(both(name)) == 2, "it does not fork")
    pids = both(name)
    for _ in range(5):
        assert {last_on(pid) for pid in pids} == {"1"}
        time.sleep(0.2)
    minirun("update", "--cpuset-cpus", "0", name)
    until(lambda: {last_on(pid) for pid in pids} == {"0"}, "they have not moved", pause=0.2)


def test_a_device_outside_the_list_can_not_be_opened(name: str) -> None:
    """To make its node is allowed, as with Docker; the list is about what opens it."""
    number = disk_number().replace(":", " ")
    shell = f"mknod /disk b {number} && head -c 512 /disk"
    assert "Operation not permitted" in minirun("run", "--name", name, IMAGE, "sh", "-c", shell, code=1)


def test_a_device_of_the_list_opens_as_far_as_its_letters_say(name: str) -> None:
    minirun("run", "-d", "--name", name, "--device", f"{DISK}:/dev/disk:r", IMAGE, "sleep", "600")
    assert minirun("exec", name, "sh", "-c", "head -c 512 /dev/disk | wc -c") == "512\n"
    assert "Operation not permitted" in minirun("exec", name, "sh", "-c", ": >>/dev/disk", code=1)


def test_the_machine_does_not_notice_a_fork_bomb(name: str) -> None:
    """It has filled its container, and others start as before."""
    minirun("run", "-d", "--name", name, "--pids-limit", "30", IMAGE, "sleep", "600")
    assert "can't fork" in minirun("exec", name, "sh", "-c", "while :; do sleep 60 & done", code=2)
    assert minirun("run", "--rm", IMAGE, "echo", "works") == "works\n"
    assert int(cgroup_file(name, "pids.current")) in {29, 30}
    assert "max 0" not in cgroup_file(name, "pids.events")
