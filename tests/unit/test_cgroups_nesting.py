"""Which mount shows the root of one's own cgroup namespace; and a root that needs nothing done."""

from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from cgroups.nesting import make_room, shows_a_namespace

ROW = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("root", "point", "own"),
    [
        ("/", "/sys/fs/cgroup", True),
        ("/part", "/sys/fs/cgroup", False),
        ("/..", "/sys/fs/cgroup", False),
        ("/", "/mnt", False),
    ],
)
def test_a_namespaces_own_root_is_known_by_its_name(root: str, point: str, own: bool) -> None:
    assert shows_a_namespace(ROW.format(root=root), point) is own
    assert not shows_a_namespace(ROW.format(root=root) + ROW.format(root="/on/top"), point)
    assert not shows_a_namespace(ROW.format(root=root).replace("cgroup2 cgroup2", "cgroup cgroup"), point)


@pytest.mark.parametrize(("kind", "procs"), [("", "1\n2\n"), ("domain", "")])
def test_the_real_root_and_an_empty_one_need_nothing(tmp_path: Path, kind: str, procs: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    (tmp_path / "cgroup.procs").write_text(procs)
    if kind:
        (tmp_path / "cgroup.type").write_text(f"{kind}\n")
    assert make_room(Cgroup(str(tmp_path))) == 0
    assert not (tmp_path / "init").exists()
