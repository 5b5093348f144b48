"""The files of a `--rm` container go at a power cut anyhow: they are never synced. Those of others are."""

from __future__ import annotations

import pytest
from daemon import DaemonHost

pytestmark = pytest.mark.root


def is_volatile(host: DaemonHost, name: str) -> bool:
    lines = host.cli("exec", name, "grep", " / overlay ", "/proc/mounts").stdout.splitlines()
    assert len(lines) == 1
    options = lines[0].split()[3].split(",")
    return "volatile" in options or "fsync=volatile" in options  # newer kernels say the second


def test_a_container_that_is_removed_at_its_end_is_volatile(host: DaemonHost) -> None:
    host.cli("run", "-d", "--rm", "--name", "fleeting", "busybox", "sleep", "1000")
    assert is_volatile(host, "fleeting")
    host.cli("rm", "-f", "fleeting")


def test_it_can_be_restarted_and_keeps_its_files(host: DaemonHost) -> None:
    host.cli("run", "-d", "--rm", "--name", "fleeting", "busybox", "sleep", "1000")
    for number in range(3):
        assert host.cli("exec", "fleeting", "sh", "-c", "echo line >> /file; sync; cat /file").stdout == "line\n" * (
            number + 1
        )
        done = host.cli("restart", "-t", "0", "fleeting")
        assert (done.returncode, done.stdout) == (0, "fleeting\n"), done.stderr
    host.cli("rm", "-f", "fleeting")


def test_a_container_that_stays_is_not(host: DaemonHost) -> None:
    host.cli("run", "-d", "--name", "staying", "busybox", "sleep", "1000")
    assert not is_volatile(host, "staying")
    host.cli("rm", "-f", "staying")
