"""Cgroup files by name: which may be written, and what is said of the others. What the kernel says is in tests/api."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from minirund.engine import conf, resources, revision
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported


def check(wanted: Json, **others: Json) -> None:
    conf.check(wanted, others, lambda name: f"--{name}")


def group(path: Path, *controllers: str) -> Cgroup:
    (path / "cgroup.controllers").write_text(" ".join(controllers))
    (path / "cgroup.subtree_control").write_text(" ".join(controllers))
    return Cgroup(str(path))


@pytest.mark.parametrize(
    "file",
    ["memory.high", "memory.oom.group", "hugetlb.2MB.max", "hugetlb.1GB.rsvd.max", "cpu.idle", "cgroup.max.depth"],
)
def test_a_limit(file: str) -> None:
    check({file: "1"})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("memory.reclaim", "'memory.reclaim' is no limit of the controller memory: use memory.high, memory.low,"),
        ("cgroup.procs", "'cgroup.procs' is no limit of the controller cgroup: use cgroup.max.depth,"),
        ("cgroup.kill", "is no limit"),
        ("hugetlb.max", "is no limit"),
        ("hugetlb.SIZE.max", "is no limit"),
        ("hugetlb.2MB.current", "is no limit"),
        ("memory.2MB.max", "is no limit"),
        ("../memory.high", "'../memory.high': use a file of cgroup, cpu, cpuset,"),
        ("memory/high", "use a file of"),
        ("notify_on_release", "use a file of"),
        ("", "use a file of"),
    ],
)
def test_what_is_no_limit(file: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid --cgroup-conf: ") as caught:
        check({file: "1"})
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "1\n2", "1\0"])
def test_a_value_is_one_line(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid value for --cgroup-conf memory\.high: .*: one line is wanted"):
        check({"memory.high": text})


def test_what_another_option_writes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check({"pids.max": "5"}, pids={"limit": 9})
    assert str(caught.value) == (
        "conflicting options: --cgroup-conf pids.max, and --pids.limit writes that file too: use one"
    )
    with pytest.raises(InvalidArgument, match=r"--cgroup-conf memory\.swap\.max, and --memory-swap writes"):
        host = {"Memory": 64 << 20, "MemorySwap": 128 << 20, "CgroupConf": {"memory.swap.max": "0"}}
        resources.check(host, group(tmp_path, "memory"))


def test_a_missing_controller_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match=r"^--cgroup-conf memory\.high needs the cgroup v2 controller 'memory'"):
        resources.check({"CgroupConf": {"memory.high": "64M"}}, group(tmp_path))


def test_a_name_is_looked_at_though_there_is_nothing_to_write() -> None:
    conf.check_names(["memory.high"])
    with pytest.raises(InvalidArgument, match=r"'memory\.higher' is no limit"):
        conf.check_names(["memory.high", "memory.higher"])


def test_what_an_update_makes_of_it() -> None:
    host = {"CgroupConf": {"memory.high": "64M", "cpu.idle": "1"}}
    asked = {"CgroupConf": {"memory.high": "", "pids.max": "9"}}
    assert revision.revised(host, asked) == {"CgroupConf": {"cpu.idle": "1", "pids.max": "9"}}
    assert revision.revised({}, asked) == {"CgroupConf": {"pids.max": "9"}}
    assert host == {"CgroupConf": {"memory.high": "64M", "cpu.idle": "1"}}
