"""Paths inside a root: whatever the links say, nothing outside is opened or made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirund.errors import StepFailed
from minirund.runtime import paths


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    inside = tmp_path / "root"
    inside.mkdir()
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor, inside
    os.close(descriptor)
    assert os.listdir(tmp_path) == ["root"], "something was made outside"


def where(descriptor: int) -> str:
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    return path


@pytest.mark.parametrize(
    ("links", "path", "made"),
    [
        ({}, "/a/b/c", "a/b/c"),
        ({}, "a/./b//c/", "a/b/c"),
        ({}, "/../../a/../b", "b"),
        ({"l": "/"}, "/l/a", "a"),
        ({"l": "../../../.."}, "/l/a", "a"),
        ({"l": "/x/y"}, "/l/a", "x/y/a"),
        ({"l": "m", "m": "n"}, "/l/a", "n/a"),
        ({"l": "x/../../y"}, "/l/a", "y/a"),
    ],
)
def test_directories_are_made_inside(root: tuple[int, Path], links: dict[str, str], path: str, made: str) -> None:
    descriptor, inside = root
    for name, target in links.items():
        (inside / name).symlink_to(target)
    assert where(paths.make_directories(descriptor, path)) == str(inside / made)
    assert where(paths.make_directories(descriptor, path)) == str(inside / made)


def test_files_are_made_inside(root: tuple[int, Path]) -> None:
    descriptor, inside = root
    (inside / "etc").mkdir()
    (inside / "etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    assert where(paths.make_file(descriptor, "/etc/resolv.conf")) == str(inside / "run/systemd/resolv.conf")
    (inside / "out").symlink_to("../../../../../evil")
    assert where(paths.make_file(descriptor, "/out")) == str(inside / "evil")


def test_loops_end(root: tuple[int, Path]) -> None:
    descriptor, inside = root
    (inside / "a").symlink_to("b")
    (inside / "b").symlink_to("a")
    for make in (paths.make_directories, paths.make_file):
        with pytest.raises(OSError, match="levels of symbolic links"):
            make(descriptor, "/a")


def test_a_strict_target_refuses_links(root: tuple[int, Path]) -> None:
    descriptor, inside = root
    (inside / "proc").symlink_to("elsewhere")
    (inside / "elsewhere").mkdir()
    with pytest.raises(StepFailed, match="ordinary directory"):
        paths.make_target(descriptor, "/proc", directory=True, links=False)
    assert where(paths.make_target(descriptor, "/sys", directory=True, links=False)) == str(inside / "sys")


def test_a_file_in_the_way(root: tuple[int, Path]) -> None:
    descriptor, inside = root
    (inside / "file").write_text("")
    with pytest.raises(StepFailed):
        paths.make_target(descriptor, "/file/below", directory=True)


def test_reading(root: tuple[int, Path]) -> None:
    descriptor, inside = root
    (inside / "file").write_text("content")
    (inside / "link").symlink_to("/../file")
    os.mkfifo(inside / "fifo")
    assert paths.read_in(descriptor, "/link") == b"content"
    assert paths.read_in(descriptor, "/file", limit=3) == b"con"
    assert paths.read_in(descriptor, "/fifo") is None
    assert paths.read_in(descriptor, "/none") is None
    assert paths.read_in(descriptor, "/") is None


def test_magic_links_are_not_followed(root: tuple[int, Path]) -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError, match="symbolic links"):
        paths.open_in(proc, "/self/root/etc")
    os.close(proc)
