"""A Cgroup on a plain directory: which files it reads and writes. What the kernel does then is in tests/kernel."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cgroups import cgroup as module
from cgroups.cgroup import Cgroup, fix_for_host, mount_in, v1_controllers
from cgroups.errors import CgroupError, ControllerMissing, FileMissing, WriteRefused
from cgroups.limits import Limits, from_oci

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
PURE = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
ELSEWHERE = "77 23 0:26 / /mnt/cg rw - cgroup2 none rw\n"


def node(path: Path, controllers: str = "", enabled: str = "") -> Path:
    """A directory that looks like a cgroup."""
    path.mkdir()
    (path / "cgroup.controllers").write_text(f"{controllers}\n")
    (path / "cgroup.subtree_control").write_text(f"{enabled}\n")
    (path / "cgroup.procs").write_text("")
    return path


@pytest.mark.parametrize(
    ("text", "point"),
    [
        (PURE, "/sys/fs/cgroup"),
        (HYBRID, "/sys/fs/cgroup/unified"),
        (ELSEWHERE + HYBRID, "/sys/fs/cgroup/unified"),
        (ELSEWHERE, "/mnt/cg"),
        ("", None),
    ],
)
def test_the_mount_is_found_in_mountinfo(text: str, point: str | None) -> None:
    assert mount_in(text) == point


def test_apply_writes_the_files(tmp_path: Path) -> None:
    root = node(tmp_path / "root", "memory pids cpu io", "memory pids cpu io")
    child = node(root / "child", "memory pids cpu io")
    for name in ("memory.max", "pids.max", "cpu.weight", "io.max"):
        (child / name).write_text("")
    Cgroup(str(child)).apply(from_oci({"memory": {"limit": 4096}, "pids": {"limit": 3}, "cpu": {"shares": 1024}}))
    texts = {name: (child / name).read_text() for name in ("memory.max", "pids.max", "cpu.weight")}
    assert texts == {"memory.max": "4096", "pids.max": "3", "cpu.weight": "100"}


def test_lifting_a_limit_passes_where_there_is_no_such_file(tmp_path: Path) -> None:
    child = node(tmp_path / "child")
    Cgroup(str(child)).apply(Limits(memory=-1, pids=0))
    assert not (child / "memory.max").exists()


def test_change_writes_what_differs_and_knows_the_way_back(tmp_path: Path) -> None:
    child = node(tmp_path / "child", "memory pids")
    for name, text in {"memory.max": "9", "pids.max": "3"}.items():
        (child / name).write_text(text)
    group = Cgroup(str(child))
    before = group.change(Limits(memory=9, pids=3), Limits(memory=9, pids=5))
    assert before == [("pids.max", "3")]
    assert (child / "pids.max").read_text() == "5"
    group.put_back(before)
    assert (child / "pids.max").read_text() == "3"


def test_a_change_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    child = node(tmp_path / "child", "memory pids")
    (child / "memory.max").write_text("9")
    (child / "pids.max").symlink_to(tmp_path)  # there, but nothing that can be written
    with pytest.raises((WriteRefused, OSError)):
        Cgroup(str(child)).change(Limits(memory=9, pids=3), Limits(memory=5, pids=5))
    assert (child / "memory.max").read_text() == "9"


def test_a_weight_goes_to_bfq_where_there_is_nothing_else(tmp_path: Path) -> None:
    child = node(tmp_path / "child", "io")
    (child / "io.bfq.weight").write_text("default 100")
    Cgroup(str(child)).apply(Limits(io_weight=505))
    assert (child / "io.bfq.weight").read_text() == "default 505"
    assert not (child / "io.weight").exists()


@pytest.mark.parametrize("scheduler", ["io.weight", "io.bfq.weight"])
def test_one_of_two_files_for_a_weight_has_to_take_it(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are there where the kernel knows both ways; a disk takes the one that its scheduler goes by."""
    child = node(tmp_path / "child", "io")
    for name in ("io.weight", "io.bfq.weight"):
        (child / name).write_text("default 100\n")

    def write(path: str, text: str) -> None:
        if not path.endswith(f"/{scheduler}"):
            raise WriteRefused(path, text, errno.EOPNOTSUPP)
        Path(path).write_text(text)

    monkeypatch.setattr(module, "write", write)
    wanted = from_oci({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}})
    assert Cgroup(str(child)).change(Limits(), wanted) == [(scheduler, "8:0 default")]
    assert (child / scheduler).read_text() in ("8:0 4950", "8:0 500")
    Cgroup(str(child)).apply(wanted)
    monkeypatch.setattr(module, "write", lambda path, text: write(f"{path}.none", text))
    with pytest.raises(WriteRefused, match=r"io\.bfq\.weight.*: Operation not supported"):
        Cgroup(str(child)).apply(wanted)


def test_a_missing_controller_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = node(tmp_path / "root", "pids", "pids")
    child = node(root / "child", "pids")
    (child / "pids.max").write_text("before")
    with pytest.raises(ControllerMissing) as caught:
        Cgroup(str(child)).apply(from_oci({"pids": {"limit": 3}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}))
    assert (caught.value.controller, caught.value.option) == ("hugetlb", "hugepageLimits")
    assert (child / "pids.max").read_text() == "before"


def test_a_file_that_the_kernel_lacks_is_named_before_anything_is_written(tmp_path: Path) -> None:
    child = node(tmp_path / "child", "memory")
    (child / "memory.max").write_text("before")
    with pytest.raises(FileMissing, match=r"memory\.swap needs the cgroup file memory\.swap\.max"):
        Cgroup(str(child)).apply(from_oci({"memory": {"limit": 4096, "swap": 8192}}))
    assert (child / "memory.max").read_text() == "before"


def test_the_fix_names_the_parent_that_does_not_hand_a_controller_down(tmp_path: Path) -> None:
    root = node(tmp_path / "root", "pids", "")
    child = node(root / "child")
    with pytest.raises(ControllerMissing, match="processes of its own") as caught:
        Cgroup(str(child)).require({"pids": "pids.limit"})
    assert str(root) in caught.value.fix


def test_where_nothing_is_wanted_nothing_is_looked_at(tmp_path: Path) -> None:
    Cgroup(str(tmp_path / "not-there")).require({})


def test_create_asks_parents_for_what_they_offer_and_no_more(tmp_path: Path) -> None:
    root = node(tmp_path / "root", "cpu pids", "cpu")
    Cgroup(str(root / "child")).create(("cpu", "pids", "memory"))
    assert (root / "cgroup.subtree_control").read_text() == "+pids"  # over the four bytes of "cpu": a plain file
    assert (root / "child").is_dir()


def test_create_is_idempotent_and_makes_parents(tmp_path: Path) -> None:
    group = Cgroup(str(tmp_path / "a" / "b" / "c"))
    group.create()
    group.create()
    assert group.exists()


def test_open_gives_a_directory_that_is_closed_on_exec(tmp_path: Path) -> None:
    fd = Cgroup(str(tmp_path)).open()
    try:
        assert not os.get_inheritable(fd)
        assert os.path.samestat(os.fstat(fd), tmp_path.stat())
    finally:
        os.close(fd)


def test_processes_come_from_the_whole_tree(tmp_path: Path) -> None:
    root = node(tmp_path / "root")
    child = node(root / "child")
    (root / "cgroup.procs").write_text("10\n11\n")
    (child / "cgroup.procs").write_text("12\n")
    assert sorted(Cgroup(str(root)).processes()) == [10, 11, 12]


def test_remove_of_nothing_is_fine(tmp_path: Path) -> None:
    Cgroup(str(tmp_path / "nothing")).remove()


def test_join_names_the_file_that_refused(tmp_path: Path) -> None:
    with pytest.raises(WriteRefused, match=r"cgroup\.procs: No such file") as caught:
        Cgroup(str(tmp_path)).join(0)
    assert isinstance(caught.value, CgroupError)


def test_v1_controllers_are_those_with_a_hierarchy() -> None:
    text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nhugetlb\t0\t1\t1\nblkio\t8\t1\t1\n"
    assert v1_controllers(text) == {"cpu", "blkio"}


def test_the_fix_for_a_controller_that_no_kernel_has() -> None:
    assert "built without it" in fix_for_host("no-such-controller")


def test_the_import_is_cheap() -> None:
    """The fork side of a container engine imports this: none of the modules that cost most."""
    code = "import sys, cgroups.cgroup; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert not {"dataclasses", "inspect", "pathlib", "ctypes", "asyncio", "subprocess", "json"} & set(loaded)
