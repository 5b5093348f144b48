"""What `info` says of limits, from a directory that stands for a cgroup hierarchy."""

from __future__ import annotations

from pathlib import Path

from cgroups.cgroup import Cgroup
from minirund.engine.system import WANTED_CONTROLLERS, limits, shared_sizes

ALL = ("MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit")


def hierarchy(path: Path, controllers: str, *files: str) -> Cgroup:
    child = path / "system.slice"
    child.mkdir()
    for directory in (path, child):
        (directory / "cgroup.controllers").write_text(controllers)
    for file in files:
        (child / file).touch()
    return Cgroup(str(path))


def test_a_machine_that_has_all(tmp_path: Path) -> None:
    top = hierarchy(tmp_path, " ".join(WANTED_CONTROLLERS), "memory.swap.max", "cpu.max", "io.bfq.weight")
    found, warnings = limits(top)
    assert found == dict.fromkeys(ALL, True) | {"OomKillDisable": False}
    assert warnings == []


def test_a_kernel_that_has_the_controllers_and_not_their_files(tmp_path: Path) -> None:
    found, warnings = limits(hierarchy(tmp_path, " ".join(WANTED_CONTROLLERS)))
    assert {key for key, value in found.items() if not value} == {
        "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "OomKillDisable",
    }  # fmt: skip
    assert [warning.partition(":")[2].partition(":")[0] for warning in warnings] == [
        " No swap limit support", " No cpu cfs quota support", " No io.weight support",
    ]  # fmt: skip


def test_a_controller_that_is_missing_is_one_warning(tmp_path: Path) -> None:
    found, warnings = limits(hierarchy(tmp_path, "cpu io cpuset pids", "cpu.max", "io.weight"))
    assert (found["MemoryLimit"], found["SwapLimit"], found["CpuCfsQuota"]) == (False, False, True)
    assert [warning.startswith("WARNING: No memory limit support: ") for warning in warnings] == [True]


def test_a_host_without_cgroup_v2() -> None:
    found, warnings = limits(None)
    assert not any(found.values())
    assert len(warnings) == len(WANTED_CONTROLLERS)


def test_layers_that_images_share() -> None:
    images = {"one": ("base", "a"), "two": ("base", "b"), "three": ("c",), "four": ()}
    assert shared_sizes(images, {"base": 100, "a": 10, "b": 20, "c": 5}) == {
        "one": 100,
        "two": 100,
        "three": 0,
        "four": 0,
    }
