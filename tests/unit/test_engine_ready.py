"""Directories made ahead: on the disk when they are given away, made anew in time, and gone with the daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minirund.engine import ready
from minirund.engine.ready import SIZE, Ready
from minirund.errors import StorageFull


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "SOON", 0.0)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory))


def test_one_that_is_taken_is_whole_and_the_takers(tmp_path: Path) -> None:
    async def work() -> None:
        made = Ready(str(tmp_path))
        assert made.take() is None  # and now some are on their way
        await until(lambda: len(names(tmp_path)) == SIZE)
        await until(lambda: made._ready)
        taken = made.take()
        assert taken is not None
        assert sorted(os.listdir(tmp_path / taken / "rw")) == ["upper", "work"]
        await made.close()
        assert names(tmp_path) == {taken}

    asyncio.run(work())


def test_it_is_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)

    async def work() -> None:
        made = Ready(str(tmp_path))
        made.fill()
        await until(lambda: made._ready)
        for ident in made._ready:
            assert {f"{tmp_path}/{ident}/rw", f"{tmp_path}/{ident}"} <= set(synced)
        assert synced[-1] == str(tmp_path)
        await made.close()

    asyncio.run(work())


def test_more_are_made_when_half_are_gone(tmp_path: Path) -> None:
    async def work() -> None:
        made = Ready(str(tmp_path))
        made.fill()
        taken: set[str | None] = set()
        for _ in range(3 * SIZE):
            await until(lambda: made._ready)
            taken.add(made.take())
        assert len(taken) == 3 * SIZE
        assert taken <= names(tmp_path)
        await until(lambda: len(made._ready) > SIZE // 2)
        await made.close()
        assert taken == names(tmp_path)

    asyncio.run(work())


def test_where_none_can_be_made_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ready, "fsync_directory", full)

    async def work() -> None:
        made = Ready(str(tmp_path))
        made._begin()  # what the timer of ``fill`` does
        await until(lambda: made._work is None)
        assert made.take() is None
        assert names(tmp_path) == set()
        await made.close()

    asyncio.run(work())


def test_closed_in_the_middle_of_it(tmp_path: Path) -> None:
    async def work() -> None:
        made = Ready(str(tmp_path))
        made._begin()  # what the timer of ``fill`` does
        assert made._work is not None
        await made.close()
        assert made._work is None
        made.fill()
        assert made._timer is None

    asyncio.run(work())
    assert names(tmp_path) == set()


def test_nothing_new_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.require_room(str(tmp_path))
    monkeypatch.setattr(ready, "LEAST", 1 << 60)
    with pytest.raises(StorageFull, match="disk is full"):
        ready.require_room(str(tmp_path))
