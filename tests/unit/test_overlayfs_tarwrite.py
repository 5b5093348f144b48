"""Headers that other programs read: pax where ustar is too small, and the map of a file's holes.

Whole archives are in test_overlayfs_diff.py.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from overlayfs.stream import Budget, Chunks
from overlayfs.tar import FILE, SYMLINK, Entry, entries
from overlayfs.tarwrite import END, encode, holes


def test_holes_of_an_open_file(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        file.write(b"x" * 100_000)
        file.flush()
        assert holes(file.fileno(), os.fstat(file.fileno())) is None
        file.truncate(1 << 30)
        [(start, count)] = holes(file.fileno(), os.fstat(file.fileno())) or []
        assert start == 0
        assert 100_000 <= count < 200_000


def test_numbers_too_large_for_the_header() -> None:
    entry = Entry(b"n" * 300, FILE, 0o644, 3_000_000_000, 4_000_000_000, 9 << 33, 1)
    with tarfile.open(fileobj=io.BytesIO(encode(entry)), errorlevel=0) as tar:
        info = tar.next()
    assert info is not None
    assert (info.name, info.uid, info.gid, info.size) == ("n" * 300, 3_000_000_000, 4_000_000_000, 9 << 33)


@pytest.mark.parametrize("length", [1, 80, 84, 85, 86, 96, 97, 98, 99, 100, 101, 975, 976, 977, 9_970, 9_980])
def test_a_records_length_counts_itself(length: int) -> None:
    [entry] = entries(Chunks(iter([encode(Entry(b"n" * length, FILE, 0, 0, 0, 0, 0)) + END]), Budget(None)))
    assert entry.name == b"n" * length


@pytest.mark.parametrize("mtime", [0, 1, -1, 10**9, -(10**9), -1_500_000_000, 123_456_789_000_000_001, 1 << 62])
def test_what_is_written_is_read(mtime: int) -> None:
    written = Entry(b"d/l", SYMLINK, 0o777, 5, 1 << 31, 0, mtime, b"t" * 150, xattrs={b"user.x": b"\0\n="})
    assert list(entries(Chunks(iter([encode(written) + END]), Budget(None)))) == [written]
