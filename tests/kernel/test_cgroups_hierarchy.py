"""Cgroups of the real v2 hierarchy: birth, freezing, killing, limits. Needs root."""

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE

from cgroups.cgroup import ACCOUNTED, Cgroup, find_mount, subdirectories
from cgroups.errors import CgroupTimeout, ControllerMissing, WriteRefused
from cgroups.files import read, write
from cgroups.limits import Limits, from_oci
from cgroups.stats import FILES, parse

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making cgroups needs root")
FORKER = "import os, time\nfor _ in range(6): os.fork()\nprint('up', flush=True)\ntime.sleep(600)"
SPAWNER = "import os, sys\nsys.stdin.read(1)\nwhile True:\n    if os.fork(): os._exit(0)"


@pytest.fixture
def sleeper(group: Cgroup) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        group.join(process.pid)
        yield process
        process.kill()


def test_the_mount_is_a_cgroup2() -> None:
    assert os.path.exists(f"{find_mount()}/cgroup.controllers")


def test_join_and_processes(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    assert group.processes() == [sleeper.pid]
    assert f"0::/{os.path.basename(group.path)}" in read(f"/proc/{sleeper.pid}/cgroup").split("\n")
    assert group.events()["populated"] == 1


def test_freeze_stops_and_thaw_lets_run_on(group: Cgroup) -> None:
    ticker = "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.005)"
    with subprocess.Popen([sys.executable, "-c", ticker], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        group.join(process.pid)
        process.stdout.readline()
        group.freeze()
        assert group.frozen
        drain(process.stdout.fileno())
        assert not select.select([process.stdout], [], [], 0.2)[0]
        group.thaw()
        assert not group.frozen
        assert select.select([process.stdout], [], [], PATIENCE)[0]
        process.kill()


def drain(fd: int) -> None:
    """Take what a pipe holds already."""
    os.set_blocking(fd, False)
    try:
        while os.read(fd, 65536):
            continue
    except BlockingIOError:
        os.set_blocking(fd, True)


def test_freezing_nothing_is_frozen_at_once(group: Cgroup) -> None:
    group.freeze()
    assert group.frozen
    group.thaw()


def test_thaw_below_a_frozen_parent_times_out(group: Cgroup) -> None:
    child = Cgroup(f"{group.path}/child")
    child.create()
    child.freeze()
    group.freeze()
    with pytest.raises(CgroupTimeout, match="frozen 0"):
        child.thaw(timeout=0.05)
    group.thaw()


def test_a_freeze_that_times_out_is_taken_back(group: Cgroup, sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    class Stuck(Cgroup):
        """A kernel that does not get there, as with a process in an uninterruptible wait."""

        def file(self, name: str) -> str:
            return str(tmp_path / name) if name == "cgroup.freeze" else super().file(name)

    (tmp_path / "cgroup.freeze").write_text("")
    with pytest.raises(CgroupTimeout, match="frozen 1"):
        Stuck(group.path).freeze(timeout=0.05)
    assert (tmp_path / "cgroup.freeze").read_text() == "0"
    assert sleeper.poll() is None


def test_kill_ends_frozen_processes_too(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    group.freeze()
    group.kill()
    assert sleeper.wait(PATIENCE) == -signal.SIGKILL
    group.wait_empty()


def test_kill_each_ends_who_forks_faster(group: Cgroup) -> None:
    """The way of kernels before 5.14 against a process that is somebody else every moment."""
    with subprocess.Popen([sys.executable, "-S", "-c", SPAWNER], stdin=subprocess.PIPE) as first:
        group.join(first.pid)
        first.communicate(b"x")
        group.kill_each(PATIENCE)
    assert group.processes() == []


def test_kill_falls_back_where_the_kernel_has_no_cgroup_kill(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    class Old(Cgroup):
        """A kernel without the file: every write to it answers ENOENT."""

        def file(self, name: str) -> str:
            return super().file("no-such-file" if name == "cgroup.kill" else name)

    Old(group.path).kill()
    assert sleeper.wait(PATIENCE) == -signal.SIGKILL


def test_remove_takes_processes_and_descendants(group: Cgroup) -> None:
    Cgroup(f"{group.path}/a/b").create()
    Cgroup(f"{group.path}/c").create()
    code = f"import sys; sys.stdin.read(1)\n{FORKER}"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as many:
        Cgroup(f"{group.path}/a/b").join(many.pid)
        assert many.stdin is not None and many.stdout is not None
        many.stdin.write(b"x")
        many.stdin.flush()
        many.stdout.readline()
        assert len(group.processes()) > 1
        group.remove()
        assert not group.exists()
    group.remove()


def test_wait_empty_times_out_while_somebody_is_there(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    with pytest.raises(CgroupTimeout, match="populated 0"):
        group.wait_empty(timeout=0.05)
    assert sleeper.poll() is None


def test_wait_empty_wakes_up_at_the_end(group: Cgroup) -> None:
    with subprocess.Popen(["sleep", "0.2"]) as process:
        group.join(process.pid)
        group.wait_empty()
    assert group.processes() == []


def test_a_removed_cgroup_is_empty_and_has_no_processes(group: Cgroup) -> None:
    group.remove()
    group.wait_empty()
    assert group.processes() == []
    group.kill()


def test_join_of_nobody_is_refused(group: Cgroup) -> None:
    with pytest.raises(WriteRefused) as caught:
        group.join(2**22 + 5)
    assert caught.value.errno == errno.ESRCH


def test_statistics_of_a_busy_process(group: Cgroup) -> None:
    code = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-S", "-c", f"input()\n{code}"], stdin=subprocess.PIPE) as busy:
        group.join(busy.pid)
        busy.communicate(b"go\n")
    assert busy.returncode == 0
    stats = parse(group.read_all(FILES))
    assert stats.cpu.usage >= 50_000
    assert stats.cpu.user + stats.cpu.system <= stats.cpu.usage + 20_000


# --- controllers: which ones there are differs from host to host; each test asks --------------------------------------


def offered() -> set[str]:
    return set(read(f"{find_mount()}/cgroup.controllers").split())


@pytest.fixture
def restored() -> Iterator[None]:
    """Turn off again at the top what a test turned on, where nobody else has come to use it."""
    path = f"{find_mount()}/cgroup.subtree_control"
    before = set(read(path).split())
    yield
    for controller in set(read(path).split()) - before:
        write(path, f"-{controller}")


@pytest.mark.parametrize(
    ("controller", "resources"),
    [
        ("memory", {"memory": {"limit": 64 << 20}}),
        ("cpu", {"cpu": {"quota": 50_000}}),
        ("cpuset", {"cpu": {"cpus": "0"}}),
        ("pids", {"pids": {"limit": 50}}),
        ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 << 20}]}),
    ],
)
@pytest.mark.usefixtures("restored")
def test_a_limit_is_in_force_or_refused(group: Cgroup, controller: str, resources: dict[str, object]) -> None:
    limits = from_oci(resources)
    if controller in offered():
        group.apply(limits)
        assert controller in group.controllers()
        for file, text in {"memory.max": str(64 << 20), "pids.max": "50", "hugetlb.2MB.max": str(2 << 20)}.items():
            assert not file.startswith(f"{controller}.") or read(group.file(file)).strip() == text
        group.remove()
    else:
        with pytest.raises(ControllerMissing) as caught:
            group.apply(limits)
        assert caught.value.controller == controller
        assert "cgroup_no_v1" in str(caught.value) or "built without" in str(caught.value)


def test_create_gives_what_the_host_offers(group: Cgroup) -> None:
    assert set(ACCOUNTED) & offered() <= group.controllers()


@pytest.mark.usefixtures("restored")
def test_a_parent_with_processes_cannot_hand_a_controller_down(group: Cgroup, sleeper: subprocess.Popen[bytes]) -> None:
    if "hugetlb" not in offered():
        pytest.skip("this host keeps hugetlb on v1")
    child = Cgroup(f"{group.path}/child")
    child.create()
    with pytest.raises(ControllerMissing, match="processes of its own"):
        child.apply(Limits(hugetlb=(("2MB", 0),)))
    assert sleeper.poll() is None
    group.remove()
    assert subdirectories(group.path) == []


def run_inside(group: Cgroup, code: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process that joined the group first; "-S" and no other imports keep it small."""
    joined = f"open({group.file('cgroup.procs')!r}, 'w').write('0')\n{code}"
    return subprocess.run([sys.executable, "-S", "-c", joined], check=False, capture_output=True, text=True)


def controlled(group: Cgroup, controller: str, resources: dict[str, object]) -> None:
    if controller not in offered():
        pytest.skip(f"this host keeps {controller} on v1")
    group.apply(from_oci(resources))


def test_who_exceeds_the_memory_limit_is_killed_and_counted(group: Cgroup) -> None:
    controlled(group, "memory", {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    ended = run_inside(group, "block = bytearray(64 << 20)")
    assert ended.returncode == -signal.SIGKILL
    assert group.events("memory.events")["oom_kill"] == 1
    stats = parse(group.read_all(FILES))
    assert stats.memory.limit == 16 << 20
    assert stats.memory.events["oom_kill"] == 1


def test_forks_beyond_the_pids_limit_fail(group: Cgroup) -> None:
    controlled(group, "pids", {"pids": {"limit": 3}})
    code = "import os, sys\nfor count in range(9):\n  if not os.fork(): sys.stdin.read(); os._exit(0)"
    ended = run_inside(group, f"try:\n  exec({code!r})\nexcept BlockingIOError: print(count)")
    assert ended.stdout == "2\n", ended.stderr
    assert group.events("pids.events")["max"] == 1


def test_a_cpu_quota_throttles(group: Cgroup) -> None:
    controlled(group, "cpu", {"cpu": {"quota": 5_000, "period": 50_000, "shares": 2048}})
    assert read(group.file("cpu.weight")).strip() == "174"
    run_inside(group, "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass")
    cpu = parse(group.read_all(FILES)).cpu
    assert cpu.throttled_periods >= 1
    assert cpu.throttled > 0


def test_a_cpuset_pins(group: Cgroup) -> None:
    controlled(group, "cpuset", {"cpu": {"cpus": "0", "mems": "0"}})
    assert run_inside(group, "import os; print(os.sched_getaffinity(0))").stdout == "{0}\n"


def test_limits_are_lifted_again(group: Cgroup) -> None:
    controlled(group, "memory", {"memory": {"limit": 16 << 20, "swap": 32 << 20}})
    group.apply(from_oci({"memory": {"limit": -1, "swap": -1}}))
    assert {read(group.file(name)).strip() for name in ("memory.max", "memory.swap.max")} == {"max"}


def test_a_device_that_is_not_there_is_refused_by_name(group: Cgroup) -> None:
    with pytest.raises((WriteRefused, ControllerMissing), match=r"io\.max|'io'"):
        group.apply(from_oci({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 1}]}}))


def test_timing_of_a_whole_life(group: Cgroup) -> None:
    """Not asserted: printed with -s. mkdir to rmdir of an empty cgroup."""
    begin = time.perf_counter()
    one = Cgroup(f"{group.path}/one")
    one.create()
    one.remove()
    print(f"create + remove: {(time.perf_counter() - begin) * 1e6:.0f} us")
    assert not one.exists()
