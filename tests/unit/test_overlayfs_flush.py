"""The two system calls: they succeed on a file, and say what is wrong on what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlayfs.flush import start_writeback, syncfs


def test_flush(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb", buffering=0) as file:
        file.write(b"x" * 10_000)
        start_writeback(file.fileno(), 0, 10_000)
        syncfs(file.fileno())
    for call in (syncfs, lambda fd: start_writeback(fd, 0, 1)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(-1)


def test_a_hint_that_does_not_fit_is_no_error() -> None:
    with open("/proc/self/comm", "rb") as file:
        start_writeback(file.fileno(), 0, 1)
