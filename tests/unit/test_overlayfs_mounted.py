"""Which mount a directory is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlayfs.mounted import Mount, mount_of, mount_of_descriptor


def test_the_mount_that_a_directory_is_on(tmp_path: Path) -> None:
    assert mount_of("/proc/self") == Mount("/proc", "proc", "proc")
    assert mount_of("/dev/shm").kind == "tmpfs"
    assert str(tmp_path).startswith(mount_of(str(tmp_path)).point)


def test_the_mount_of_an_open_file() -> None:
    with open("/proc/self/stat", "rb") as file:
        assert mount_of_descriptor(file.fileno()).kind == "proc"


def test_one_that_is_on_no_mount() -> None:
    descriptor = os.memfd_create("none")
    assert mount_of_descriptor(descriptor).kind == "an unknown file system"
    os.close(descriptor)


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        mount_of(str(tmp_path / "file"))
