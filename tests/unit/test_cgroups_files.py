"""Reading and writing the files of a cgroup: what a removed one answers, and how a refusal is told."""

import errno
import os
from pathlib import Path

import pytest

from cgroups.errors import WriteRefused
from cgroups.files import flags, pread_flags, read, read_or, try_write, write


def test_a_file_is_read_whole_and_a_missing_one_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 200_000)
    assert read(f"{tmp_path}/long") == "x" * 200_000
    assert read_or(f"{tmp_path}/none", "default") == "default"
    with pytest.raises(NotADirectoryError):
        read_or(f"{tmp_path}/long/below", "")


def test_a_write_that_fails_names_file_and_text(tmp_path: Path) -> None:
    with pytest.raises(WriteRefused, match=f"^write '5' to {tmp_path}/none: No such file") as refused:
        write(f"{tmp_path}/none", "5")
    assert refused.value.errno == errno.ENOENT
    try_write(f"{tmp_path}/none", "5")
    with pytest.raises(WriteRefused):
        try_write(str(tmp_path), "5")  # a directory: nothing that the kernel says of a cgroup


def test_events_are_keys_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("populated 1\nfrozen 0\n")
    descriptor = os.open(tmp_path / "events", os.O_RDONLY)
    try:
        assert pread_flags(descriptor) == pread_flags(descriptor) == flags("populated 1\nfrozen 0\n")
        assert flags("populated 1\nfrozen 0\n") == {"populated": 1, "frozen": 0}
    finally:
        os.close(descriptor)
