"""Quotas where there are none: said, with the reason and the way out. Where there are: tests/kernel."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from overlayfs import quota
from overlayfs.errors import NoProjectQuota
from overlayfs.mounted import Mount

NONE = "/proc/self"  # a directory on a file system without any


def test_a_directory_that_can_t_be_held() -> None:
    with pytest.raises(NoProjectQuota, match=r"^/proc is proc without project quotas: use a directory on ext4 or xfs"):
        quota.require(NONE)
    with pytest.raises(NoProjectQuota):
        quota.limit(NONE, 1 << 30)
    assert quota.look(NONE) is None
    assert not quota.held(NONE, 1 << 30)
    quota.lift(NONE)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    for path in (missing, file):
        quota.lift(str(path))
        with pytest.raises(OSError, match="directory"):
            quota.look(str(path))


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("ext4", "run `tune2fs -O quota,project -Q prjquota /dev/sdb1`, and mount it with the option prjquota"),
        ("xfs", "mount it with the option prjquota (a remount does not do"),
        ("btrfs", "use a directory on ext4 or xfs that is mounted with the option prjquota"),
    ],
)
def test_each_file_system_has_its_way_out(monkeypatch: pytest.MonkeyPatch, kind: str, way_out: str) -> None:
    monkeypatch.setattr(quota, "mount_of_descriptor", lambda _: Mount("/data", kind, "/dev/sdb1"))
    with pytest.raises(NoProjectQuota) as caught:
        quota.require(NONE)
    assert str(caught.value).startswith(f"/data is {kind} without project quotas: ")
    assert way_out in str(caught.value)


def test_a_kernel_without_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "SYS_QUOTACTL_FD", 4000)  # no such call
    with pytest.raises(NoProjectQuota, match=r"it takes Linux 5\.14"):
        quota.require(NONE)


def test_the_structs_have_the_kernel_s_sizes() -> None:
    assert (quota.FSXATTR.size, quota.DQBLK.size) == (28, 72)  # as _IOR and _IOW of them say, and linux/quota.h
    assert quota.FSXATTR.size == quota.FS_IOC_FSGETXATTR >> 16 & 0x3FFF
    assert quota.STATV.size >= struct.calcsize("=2BHI6Q6I3i4HI7Q")  # struct fs_quota_statv
