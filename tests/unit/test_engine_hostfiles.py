"""The host's files, and what is there instead of those that are not."""

from __future__ import annotations

import os
from pathlib import Path

from minirund.engine.hostfiles import read


def test_what_is_there(tmp_path: Path) -> None:
    assert read("/proc/self/stat").startswith(f"{os.getpid()} (")
    (tmp_path / "odd").write_bytes(b"\xff\n")
    assert read(f"{tmp_path}/odd") == "\N{REPLACEMENT CHARACTER}\n"


def test_what_is_not(tmp_path: Path) -> None:
    assert read(f"{tmp_path}/none") == read(str(tmp_path)) == read("/proc/0/stat") == ""
