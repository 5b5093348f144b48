"""Small file systems with project quotas, for the tests: an image in a file, behind a loop device, mounted.

    with quota_disk("ext4", directory) as root: ...

Not every kernel holds quotas (ext4 wants CONFIG_QFMT_V2, xfs CONFIG_XFS_QUOTA); where this one does not, the test is
skipped, and runs in the machine under QEMU. The loop device goes with its mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20
MAKE: dict[str, tuple[Sequence[str], int]] = {
    "ext4": (("mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"), 64 * MIB),
    "xfs": (("mkfs.xfs", "-q"), 300 * MIB),  # the smallest that mkfs.xfs makes
}
OVER = {"ext4": "Disk quota exceeded", "xfs": "No space left on device"}
"""What a program is told that goes over the limit."""


def image(kind: str, directory: Path) -> Path:
    """A file with an empty file system in it; sparse. Skips the test where it can't be made."""
    command, size = MAKE[kind]
    if os.geteuid() != 0 or not shutil.which(command[0]):
        pytest.skip(f"wants root and {command[0]}")
    file = directory / f"{kind}.img"
    with file.open("wb") as made:
        made.truncate(size)
    subprocess.run([*command, str(file)], check=True, capture_output=True)
    return file


def mount_loop(file: Path, target: str | Path, options: str = "prjquota", enter: Sequence[str] = ()) -> None:
    """Mount an image; ``enter``: a command's beginning, to do it elsewhere. Skips the test where the kernel refuses."""
    command = [*enter, "mount", "-o", f"loop,{options}", str(file), str(target)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"this kernel has no quotas on {file.stem}: `make vm-test` tests them")


@contextmanager
def quota_disk(kind: str, directory: Path, options: str = "prjquota") -> Iterator[Path]:
    """The root of one, mounted below ``directory``. Skips the test, saying why, where that can't be."""
    file, target = image(kind, directory), directory / kind
    target.mkdir()
    mount_loop(file, target, options)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)
