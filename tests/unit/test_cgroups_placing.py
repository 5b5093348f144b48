"""Whether a cgroup can be made in a place: the rules, on directories that look like cgroups."""

from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from cgroups.errors import PlaceRefused
from cgroups.placing import check, normal


def node(path: Path, kind: str = "domain", procs: str = "", controllers: str = "memory pids") -> Path:
    """A directory that looks like a cgroup; without a ``kind`` like the root."""
    path.mkdir()
    (path / "cgroup.controllers").write_text(f"{controllers}\n")
    (path / "cgroup.subtree_control").write_text("\n")
    (path / "cgroup.procs").write_text(procs)
    if kind:
        (path / "cgroup.type").write_text(f"{kind}\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return node(tmp_path / "root", kind="", procs="1\n2\n")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "/a/b"),
        ("//a/./b/", "/a/b"),
        ("/", "/"),
        ("a..b", "/a..b"),
        ("x" * 255, f"/{'x' * 255}"),
    ],
)
def test_a_path_begins_at_the_root(path: str, found: str) -> None:
    assert normal(path) == found


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../a", "'..' is not allowed"),
        ("/a/../../b", "'..' is not allowed"),
        ("a\nb", "no line breaks"),
        ("a\0b", "zero bytes"),
        ("ä" * 128, "at most 255 bytes"),
        ("a/" * 513, r"^(a/)+.{0,1}\.\.\.: the path of a cgroup has at most 1024 bytes"),
        ("none/cgroup.procs", "those of a cgroup's files"),
    ],
)
def test_a_path_that_can_be_none(path: str, why: str) -> None:
    with pytest.raises(PlaceRefused, match=why):
        normal(path)


@pytest.mark.parametrize("path", ["/", "/none", "/none/below", "/empty", "/empty/none"])
def test_places_with_room(root: Path, path: str) -> None:
    node(root / "empty")
    check(Cgroup(str(root)), path)


@pytest.mark.parametrize("path", ["/team", "/team/none", "/team/child"])
def test_processes_are_in_the_way_of_controllers(root: Path, path: str) -> None:
    node(root / "team", procs="11\n12\n13\n14\n")
    node(root / "team/child", controllers="")
    with pytest.raises(PlaceRefused, match=r"/team has processes of its own \(11, 12, 13, \.\.\.\).*: move them"):
        check(Cgroup(str(root)), path)


def test_without_controllers_processes_are_in_nobodys_way(root: Path) -> None:
    node(root / "team", procs="11\n", controllers="hugetlb")
    check(Cgroup(str(root)), "/team")
    with pytest.raises(PlaceRefused, match="processes of its own"):
        check(Cgroup(str(root)), "/team", {"hugetlb"})


@pytest.mark.parametrize("kind", ["threaded", "domain threaded", "domain invalid"])
def test_threads_are_in_the_way(root: Path, kind: str) -> None:
    node(root / "team", kind=kind)
    with pytest.raises(PlaceRefused, match=f"/team is '{kind}'"):
        check(Cgroup(str(root)), "/team/build")


def test_a_name_that_is_a_files(root: Path) -> None:
    with pytest.raises(PlaceRefused, match=r"/cgroup\.procs is a file, choose another name"):
        check(Cgroup(str(root)), "/cgroup.procs/x")
