"""A daemon that is killed between any two steps of a layer's making and removal: the next one leaves no quota.

A child takes the daemon's steps and dies at one of them; then this process clears up, as a new daemon does: what lies
among the containers and is not whole goes into the trash, and what is in the trash is deleted.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from overlay_mounts import needs_root
from quota_disks import MIB, quota_disk
from waiting import until

from minirund.engine import quota as layers
from minirund.engine import trash as trash_
from minirund.engine.trash import Trash
from overlayfs import quota

pytestmark = needs_root


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quota_disk("ext4", tmp_path_factory.mktemp("quota")) as root:
        yield root


def make(root: Path) -> None:
    layers.make_layer(f"{root}/containers/one/rw", {"StorageOpt": {"size": "4m"}})


def make_and_remove(root: Path) -> None:
    make(root)
    trash = Trash(f"{root}/trash")
    trash.put(f"{root}/containers/one")
    asyncio.run(trash.close())


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("steps", "module", "name", "limit"),
    [
        (make, quota, "_set_limit", 0),
        (make, layers, "create_rw", 4 * MIB),
        (make_and_remove, quota, "lift", 4 * MIB),
        (make_and_remove, trash_, "remove_tree", 0),
    ],
)
def test_nothing_is_left(disk: Path, steps: Callable[[Path], None], module: object, name: str, limit: int) -> None:
    root = disk / f"{name}-{steps.__name__}"
    (root / "containers").mkdir(parents=True)
    pid = os.fork()
    if pid == 0:
        setattr(module, name, die)
        steps(root)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    (left,) = root.glob("*/*/rw")
    found = quota.look(str(left))
    assert found is not None
    assert found.limit == limit
    trash = Trash(f"{root}/trash")
    for path in (root / "containers").iterdir():
        trash.put(str(path))
    asyncio.run(trash.close())
    assert [*root.glob("*/*")] == []
    until(lambda: forgotten(disk, found.project), "its quota stays")  # deleting is done when the kernel comes to it


def forgotten(disk: Path, project: int) -> bool:
    """No limit, nothing counted: the number is free again."""
    with quota._opened(str(disk)) as fd:
        return not any((quota._counted(fd, project) or (0,))[:6])
