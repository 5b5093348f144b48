"""What is answered on a full disk is on the disk: after kill -9, and after a power cut, while it is still full.

A child is the daemon: it fills an ext4 and goes on to change records until it is refused. A copy of the file behind the
loop device is what a power cut leaves: what was written and not synced is in this machine's memory, and not there.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from overlay_mounts import needs_root

from minirund.engine.records import Exec
from minirund.engine.store import Store
from minirund.errors import StorageFull

pytestmark = needs_root
NAMES = "abc"


@contextmanager
def mounted(file: Path, target: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-o", "loop", str(file), str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def fill(root: Path) -> None:
    """To the last byte."""
    with (root / "FILLER").open("ab", buffering=0) as filler:
        size = 1 << 20
        while size:
            try:
                filler.write(bytes(size))
            except OSError:
                size //= 2
        os.fsync(filler.fileno())


async def change(root: Path, most: int) -> None:
    """Save numbers, and say each that is saved, until there have been enough or one is refused."""
    store = Store(f"{root}/db")
    for name in NAMES:
        store.put(Exec(name, "c", {"Number": 0}, 0))
    await store.synced()
    fill(root)
    with suppress(StorageFull):
        for number in range(1, most + 1):
            store.put(Exec(NAMES[number % len(NAMES)], "c", {"Number": number}, 0))
            await store.synced()
            print(number, flush=True)
    print("end", flush=True)
    sys.stdin.readline()


def saved(root: Path) -> int:
    """The last number that a new daemon finds."""
    assert os.statvfs(root).f_bavail == 0
    store = Store(f"{root}/db")
    found = max(one.config["Number"] for one in store.execs())
    store.close()
    return found


@pytest.mark.parametrize(("most", "refused"), [(5, False), (5000, True)])
def test_what_is_answered_on_a_full_disk_is_on_the_disk(tmp_path: Path, most: int, refused: bool) -> None:
    file, cut, target = tmp_path / "image", tmp_path / "cut", tmp_path / "root"
    target.mkdir()
    with file.open("wb") as made:
        made.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(file)], check=True)
    with mounted(file, target):
        words = [sys.executable, __file__, str(target), str(most)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
            assert daemon.stdout is not None
            said = list(itertools.takewhile(lambda line: line != "end\n", daemon.stdout))
            shutil.copyfile(file, cut)
            daemon.send_signal(signal.SIGKILL)
        last = int(said[-1])
        assert (last < most) == refused
        assert saved(target) == last
    with mounted(cut, target):
        assert saved(target) == last


if __name__ == "__main__":
    asyncio.run(change(Path(sys.argv[1]), int(sys.argv[2])))
