"""Who waits for the disk waits for a sync that began after what they wrote; those who wait at once share one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE

from minirund.engine import syncing
from minirund.engine.syncing import Syncing


class Disk:
    """fdatasync and fsync, watched; slow as long as ``gate`` is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        monkeypatch.setattr(os, "fdatasync", self._watched(os.fdatasync))
        monkeypatch.setattr(os, "fsync", self._watched(os.fsync))

    def _watched(self, real):  # type: ignore[no-untyped-def]
        def sync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            assert self.gate.wait(PATIENCE)
            real(descriptor)
            self.done.append(os.path.basename(path))

        return sync


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def log(tmp_path: Path, disk: Disk) -> Iterator[Syncing]:
    path = tmp_path / "log"
    path.touch()
    found = Syncing(str(path))
    assert disk.done == ["log", tmp_path.name]
    disk.done.clear()
    yield found
    found.close()


def test_the_log_is_as_long_as_it_gets(log: Syncing, disk: Disk, tmp_path: Path) -> None:
    assert (tmp_path / "log").stat().st_size == syncing.LENGTH
    assert (tmp_path / "log").stat().st_blocks * 512 >= syncing.LENGTH


def test_what_it_holds_stays(tmp_path: Path) -> None:
    for content in (b"frames", bytes(range(256)) * 20_000):
        (tmp_path / "log").write_bytes(content)
        Syncing(str(tmp_path / "log")).close()
        assert (tmp_path / "log").read_bytes() == content.ljust(syncing.LENGTH, b"\0")


def test_a_full_disk_leaves_it_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"frames")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))  # write(2) fails beyond that
    try:
        Syncing(str(tmp_path / "log")).close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "log").read_bytes() == b"frames"


def test_sqlite_passes_the_zeros_over(tmp_path: Path) -> None:
    """Changes, a crash (its files are copied), the log filled up once more: nothing is lost, nothing comes back."""
    path, copy = tmp_path / "db", tmp_path / "copy"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (a)")
        with contextlib.closing(Syncing(f"{path}-wal")):
            for number in range(1500):  # past a checkpoint
                db.execute("INSERT INTO t VALUES (?)", (number,))
            assert os.stat(f"{path}-wal").st_size == syncing.LENGTH
            for end in ("", "-wal"):
                shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    os.truncate(f"{copy}-wal", 2 << 20)
    Syncing(f"{copy}-wal").close()
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT count(*), max(a) FROM t").fetchone() == (1500, 1499)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_many_share_one(log: Syncing, disk: Disk) -> None:
    async def work() -> None:
        await asyncio.gather(*(log.synced() for _ in range(10)))

    asyncio.run(work())
    assert disk.done == ["log"]


def test_who_comes_while_one_runs_waits_for_the_next(log: Syncing, disk: Disk) -> None:
    async def work() -> None:
        disk.gate.clear()
        first = asyncio.ensure_future(log.synced())
        await asyncio.sleep(0.05)
        later = [asyncio.ensure_future(log.synced()) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in (first, *later))
        disk.gate.set()
        await asyncio.gather(first, *later)

    asyncio.run(work())
    assert disk.done == ["log", "log"]


def test_directories_too(log: Syncing, disk: Disk, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    asyncio.run(log.synced(str(inner), str(tmp_path / "removed"), str(inner)))
    assert disk.done == ["log", "inner"]


def test_soon_waits_for_nobody(log: Syncing, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "SOON", 0.02)
    log.soon()  # no event loop: the next who has one does it

    async def work() -> None:
        for _ in range(5):
            log.soon()
        assert disk.done == []
        while not disk.done:
            await asyncio.sleep(0.005)
        log.soon()
        await log.synced()
        await asyncio.sleep(0.1)

    asyncio.run(work())
    assert disk.done == ["log", "log"]


def test_a_disk_that_fails_stops_nobody(
    log: Syncing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    asyncio.run(log.synced())
    assert "can't be brought to the disk" in caplog.text
