"""Project quotas as ext4 and xfs hold them: what a writer over the limit meets, through an overlay too."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from overlay_mounts import mounted, needs_root
from quota_disks import MIB, quota_disk

from overlayfs import quota
from overlayfs.errors import NoProjectQuota
from overlayfs.mount import OverlayMount, create_rw

pytestmark = needs_root
LIMIT = 2 * MIB
OVER = {"ext4": errno.EDQUOT, "xfs": errno.ENOSPC}


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quota_disk(request.param, tmp_path_factory.mktemp("quota")) as root:
        yield root


def fill(file: Path, size: int) -> int:
    """Write up to ``size`` bytes; the errno that ended it, 0 for none."""
    try:
        with file.open("wb", buffering=0) as out:
            while out.tell() < size:
                out.write(bytes(64 * 1024))
    except OSError as error:
        return error.errno or -1
    return 0


def layer(disk: Path, name: str, size: int = LIMIT) -> Path:
    rw = disk / name / "rw"
    rw.mkdir(parents=True)
    quota.limit(str(rw), size)
    create_rw(rw)
    return rw


def overlay(disk: Path, rw: Path) -> OverlayMount:
    lower = disk / "lower"
    if not lower.exists():
        lower.mkdir()
        (lower / "big").write_bytes(bytes(3 * MIB))
    return OverlayMount(str(disk), ("lower",), f"{rw}/upper", f"{rw}/work")


def test_who_writes_more_than_the_limit_is_refused_and_nobody_else(disk: Path, tmp_path: Path) -> None:
    first, second = layer(disk, "first"), layer(disk, "second")
    with mounted(overlay(disk, first), tmp_path / "one") as root:
        seen = os.statvfs(root)
        assert seen.f_blocks * seen.f_frsize == LIMIT
        assert fill(root / "much", 3 * MIB) == OVER[disk.name]
        (root / "much").unlink()
        assert fill(root / "little", MIB) == 0
        with pytest.raises(OSError, match=os.strerror(OVER[disk.name])):
            (root / "big").open("ab").close()  # which would copy it up
    with mounted(overlay(disk, first), tmp_path / "one") as root:
        assert (root / "little").stat().st_size == MIB
        assert fill(root / "much", 3 * MIB) == OVER[disk.name]
    with mounted(overlay(disk, second), tmp_path / "two") as root:
        assert fill(root / "little", MIB) == 0
    assert fill(disk / "anything", 3 * MIB) == 0


def test_the_limit_is_known_and_goes_with_the_directory(disk: Path) -> None:
    size = LIMIT + 1
    rw = layer(disk, "known", size)
    found = quota.look(str(rw))
    assert found is not None
    assert quota.FIRST <= found.project <= quota.LAST
    assert size <= found.limit <= size + 4096
    assert found.used < MIB
    assert [quota.held(str(rw), each) for each in (size, LIMIT - MIB, LIMIT + MIB)] == [True, False, False]
    assert quota.look(str(disk)) is None
    moved = rw.parent.rename(disk / "moved") / "rw"
    quota.lift(str(moved))
    quota.lift(str(moved))
    assert quota.look(str(moved)) == found._replace(limit=0)
    assert fill(moved / "upper/much", 4 * MIB) == 0


def test_everyone_gets_a_project_of_their_own(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn from a few numbers by many threads at once: so they do draw the same ones."""
    monkeypatch.setattr(quota, "LAST", quota.FIRST + 15)
    monkeypatch.setattr(quota, "TRIES", 10_000)
    with ThreadPoolExecutor(8) as pool:
        layers = list(pool.map(lambda number: layer(disk, f"many/{number}"), range(12)))
    found = [quota.look(str(rw)) for rw in layers]
    assert len({one.project for one in found if one}) == 12
    assert {one.limit for one in found if one} == {LIMIT}


def test_a_number_that_another_program_uses_is_left_alone(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "FIRST", quota.LAST)
    monkeypatch.setattr(quota, "TRIES", 20)
    theirs = layer(disk, "theirs")
    (disk / "ours").mkdir()
    with pytest.raises(NoProjectQuota):
        quota.limit(str(disk / "ours"), MIB)
    assert quota.held(str(theirs), LIMIT)
    assert quota.look(str(disk / "ours")) is None


@pytest.mark.parametrize(("kind", "options"), [("ext4", "defaults"), ("xfs", "pqnoenforce")])
def test_without_its_mount_option_a_file_system_is_refused(tmp_path: Path, kind: str, options: str) -> None:
    with quota_disk(kind, tmp_path, options) as root:
        with pytest.raises(NoProjectQuota, match=rf"{root} is {kind} without project quotas: .*option prjquota"):
            quota.require(str(root))
        (root / "rw").mkdir()
        with pytest.raises(NoProjectQuota):
            quota.limit(str(root / "rw"), MIB)
        assert quota.look(str(root / "rw")) is None
        quota.lift(str(root / "rw"))
