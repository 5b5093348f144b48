"""Removing trees of any depth and shape."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlayfs.remove import remove_tree


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "t/a/b").mkdir(parents=True)
    (tmp_path / "t/a/b/f").touch()
    (tmp_path / "t/empty").mkdir()
    (tmp_path / "t/pipe").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (tmp_path / "t/link").symlink_to(tmp_path / "outside")
    (tmp_path / "t/a/link").symlink_to("../..")
    remove_tree(tmp_path / "t")
    remove_tree(tmp_path / "t")
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["kept"]


def test_deeper_than_any_path_or_stack(tmp_path: Path) -> None:
    home = os.open(".", os.O_RDONLY)
    try:
        os.mkdir(tmp_path / "t")
        os.chdir(tmp_path / "t")
        for _ in range(3000):
            os.mkdir("d")
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY))
            os.chdir("d")
    finally:
        os.fchdir(home)
        os.close(home)
    remove_tree(tmp_path / "t")
    assert os.listdir(tmp_path) == []


def test_wide(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"t/{number}/{number}").mkdir(parents=True)
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_tree(b"t", dir_fd=parent)
    os.close(parent)
    assert os.listdir(tmp_path) == []


def test_neither_a_link_nor_a_file_is_a_tree(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "f").touch()
    for name in ("link", "f"):
        with pytest.raises(OSError, match="Not a directory"):
            remove_tree(tmp_path / name)
    assert (tmp_path / "d").exists()
