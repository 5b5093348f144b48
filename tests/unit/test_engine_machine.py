"""What the host has, from plain directories that stand for a cgroup hierarchy and for /sys."""

from __future__ import annotations

import os
from pathlib import Path

from cgroups.cgroup import Cgroup
from minirund.engine.machine import counts_swap, has, look


def test_what_the_root_cgroup_says_goes_before_sys(tmp_path: Path) -> None:
    for name, text in (("cpu", "0-7"), ("node", "0-1")):
        (tmp_path / "sys" / name).mkdir(parents=True)
        (tmp_path / "sys" / name / "online").write_text(f"{text}\n")
    root = Cgroup(str(tmp_path))
    there = look(root, str(tmp_path / "sys"))
    assert (there.cpus, there.cpu_list, there.node_list) == (os.cpu_count(), "0-7", "0-1")
    (tmp_path / "cpuset.cpus.effective").write_text("0-3\n")
    (tmp_path / "cpuset.mems.effective").write_text("0\n")
    assert look(root, str(tmp_path / "sys"))[1:3] == ("0-3", "0")


def test_this_machine_has_a_first_processor_and_node(tmp_path: Path) -> None:
    there = look(Cgroup(str(tmp_path)))
    assert there.cpu_list.startswith("0") and there.node_list.startswith("0")


def test_a_child_with_the_memory_controller_tells_whether_swap_is_counted(tmp_path: Path) -> None:
    root = Cgroup(str(tmp_path))
    (tmp_path / "without").mkdir()
    assert counts_swap(root) is os.path.exists("/proc/swaps")
    (tmp_path / "system.slice").mkdir()
    (tmp_path / "system.slice" / "cgroup.controllers").write_text("cpu memory\n")
    assert counts_swap(root) is False
    (tmp_path / "system.slice" / "memory.swap.max").touch()
    assert counts_swap(root) is True


def test_a_file_of_a_controller_is_there_is_not_or_nobody_knows(tmp_path: Path) -> None:
    root, child = Cgroup(str(tmp_path)), tmp_path / "system.slice"
    assert has(root, "io.weight", "io.bfq.weight") is None
    child.mkdir()
    (child / "cgroup.controllers").write_text("io\n")
    assert has(root, "io.weight", "io.bfq.weight") is False
    assert has(root, "cpu.max") is None
    (child / "io.bfq.weight").touch()
    assert has(root, "io.weight", "io.bfq.weight") is True
