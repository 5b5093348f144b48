"""A trial of limits in plain directories: what is said of a refusal. With a kernel: tests/vm/test_vm_control.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError, CgroupTimeout, ControllerMissing, WriteRefused
from cgroups.limits import Limits
from minirund.engine import trial
from minirund.engine.trial import Try
from minirund.errors import EngineError, InvalidArgument, MinirundError, NotSupported

DEPTH = Try("--cgroup-conf cgroup.max.depth", "1", Limits(unified=(("cgroup.max.depth", "1"),)))
WEIGHT = Try("--blkio-weight-device", "/dev/sda:500", Limits(io_device_weights=(("8:0", 500),)))
HIGH = Try("--cgroup-conf memory.high", "much", Limits(unified=(("memory.high", "much"),)))


def top(path: Path) -> Cgroup:
    (path / "cgroup.controllers").write_text("")
    (path / "cgroup.subtree_control").write_text("")
    return Cgroup(str(path))


def test_a_file_that_the_kernel_has_not_is_named_and_nothing_stays(tmp_path: Path) -> None:
    group = top(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(NotSupported) as caught:
        trial.attempt([DEPTH], group)
    assert str(caught.value).startswith(f"{DEPTH.option} needs the cgroup file cgroup.max.depth, which this kernel")
    assert sorted(os.listdir(tmp_path)) == before


def test_nothing_to_try_leaves_nothing(tmp_path: Path) -> None:
    trial.attempt([], top(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["cgroup.controllers", "cgroup.subtree_control"]


@pytest.mark.parametrize(
    ("each", "error", "kind", "message"),
    [
        (
            HIGH,
            WriteRefused("/x", "much", errno.EINVAL),
            InvalidArgument,
            "invalid value for --cgroup-conf memory.high",
        ),
        (
            HIGH,
            WriteRefused("/x", "much", errno.EOPNOTSUPP),
            InvalidArgument,
            "the kernel says operation not supported",
        ),
        (
            HIGH,
            ControllerMissing("memory", "unified memory.high", "fix"),
            NotSupported,
            "--cgroup-conf memory.high needs",
        ),
        (HIGH, CgroupTimeout("/x", "frozen", 1), EngineError, "--cgroup-conf memory.high: /x: not"),
        (
            WEIGHT,
            WriteRefused("/x", "8:0 4950", errno.EOPNOTSUPP),
            NotSupported,
            "--blkio-weight-device /dev/sda:500: this disk's scheduler knows no weights, use bfq: modprobe bfq, "
            "echo bfq >/sys/dev/block/8:0/queue/scheduler",
        ),
        (
            WEIGHT,
            WriteRefused("/x", "8:0 4950", errno.ENODEV),
            InvalidArgument,
            "'/dev/sda:500': the kernel says no such",
        ),
    ],
)
def test_a_refusal_is_told_by_option(
    each: Try,
    error: CgroupError,
    kind: type[MinirundError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_group: Cgroup, _limits: Limits) -> None:
        raise error

    monkeypatch.setattr(Cgroup, "apply", refuse)
    with pytest.raises(kind) as caught:
        trial.attempt([each], top(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_daemon_clears_up_behind_one_that_was_killed(tmp_path: Path) -> None:
    mine, dead = tmp_path / f"minirund-trial-{os.getpid()}-00", tmp_path / "minirund-trial-4194305-00"  # above pid_max
    for path in (mine, dead, dead / "limits", tmp_path / "minirund-trial", tmp_path / "other"):
        path.mkdir()
    trial.sweep(Cgroup(str(tmp_path)))
    assert not dead.exists()
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, "minirund-trial", "other"}
