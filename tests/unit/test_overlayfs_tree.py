"""Walking inside a tree whose names nobody vouches for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlayfs.errors import BadArchive
from overlayfs.tree import CACHED, MAX_DEPTH, Tree, is_whiteout, split_name


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "root").mkdir()
    tree = Tree(tmp_path / "root")
    yield tree
    tree.close()


def where(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}").partition("/root")[2]


def test_split_name() -> None:
    assert split_name(b"./a//b/.") == [b"a", b"b"]
    assert split_name(b"/a/../b") == [b"b"]
    assert split_name(b"") == split_name(b"/") == split_name(b"a/..") == []
    assert split_name(b"..a/b..") == [b"..a", b"b.."]
    for name in (b"..", b"/..", b"a/../../b", b"a/b/" + b"../" * 3):
        with pytest.raises(BadArchive, match="leads out"):
            split_name(name)
    split_name(b"d/" * MAX_DEPTH)
    with pytest.raises(BadArchive, match="deep"):
        split_name(b"d/" * (MAX_DEPTH + 1))


def test_directories_are_made_and_remembered(tree: Tree) -> None:
    fd, path = tree.directory(b"a/b/c")
    assert (where(fd), path) == ("/a/b/c", b"a/b/c")
    assert tree.directory(b"a/b/c") == (fd, path)
    assert tree.implicit == {b"a", b"a/b", b"a/b/c"}
    assert os.fstat(fd).st_mode == 0o40755


def test_links_stay_inside(tree: Tree, tmp_path: Path) -> None:
    for name, target in {"abs": "/x", "up": "../../../x", "rel": "abs/y", "dot": "."}.items():
        (tmp_path / "root" / name).symlink_to(target)
    for asked, real in {b"abs": b"x", b"up": b"x", b"rel/z": b"x/y/z", b"dot/dot/rel": b"x/y"}.items():
        fd, path = tree.directory(asked)
        assert (where(fd), path) == ("/" + real.decode(), real)


def test_circles(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "root/a").symlink_to("b")
    (tmp_path / "root/b").symlink_to("a")
    with pytest.raises(BadArchive, match="circle"):
        tree.directory(b"a/x")


def test_a_file_on_the_way(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "root/f").touch()
    with pytest.raises(BadArchive, match="a file"):
        tree.directory(b"f/x")


def test_few_descriptors_stay_open(tree: Tree) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5 * CACHED):
        tree.trim()
        tree.directory(b"d/%d" % number)
    assert len(os.listdir("/proc/self/fd")) <= before + CACHED + 3
    tree.close()
    tree.root = os.open("/", os.O_RDONLY)  # for the fixture to close
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_is_replaced_is_forgotten(tree: Tree) -> None:
    top, _ = tree.directory(b"")
    tree.directory(b"a/b/c")
    tree.directory(b"ab")
    assert tree.clear(top, b"a", b"a")
    assert tree.clear(top, b"a", b"a") is None
    assert tree.implicit == {b"ab"}
    fd, _ = tree.directory(b"a/b")
    assert os.listdir(fd) == []


def test_is_whiteout() -> None:
    assert not is_whiteout(os.stat("/dev/null"))
    assert not is_whiteout(os.stat("/"))
