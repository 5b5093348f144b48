"""`make run </dev/null` where no daemon runs, and `make stop`: the scripts behind them, as a user has them."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator

import pytest
from daemon import ROOT, DaemonHost
from waiting import PATIENCE

pytestmark = pytest.mark.root


@pytest.fixture
def machine(own_host: DaemonHost) -> Iterator[DaemonHost]:
    """A host whose /run, /var/lib/minirund and /var/log are its own, as the defaults are what is tested here."""
    own_host.run("sh", "-c", "mkdir -p /var/lib/minirund /var/log", check=True)
    for directory in ("/run", "/var/lib/minirund", "/var/log"):
        own_host.run("mount", "-t", "tmpfs", "tmpfs", directory, check=True)
    yield own_host
    script(own_host, "stop")
    for directory in ("/run", "/var/lib/minirund", "/var/log"):
        own_host.run("umount", "-l", directory, check=True)


def script(host: DaemonHost, name: str) -> subprocess.CompletedProcess[str]:
    return host.run(str(ROOT / "scripts" / name), stdin=subprocess.DEVNULL)


def test_run_without_a_terminal_and_without_a_registry_proves_itself(machine: DaemonHost) -> None:
    shown = script(machine, "run")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "To stop it: make stop" in shown.stdout
    assert "using busybox, made from this machine's busybox-static" in shown.stderr
    assert "uid=0(root)" in shown.stdout
    assert "pid:      1" in shown.stdout
    assert "eth0" in shown.stdout


def test_a_second_run_uses_the_daemon_and_the_image_that_are_there(machine: DaemonHost) -> None:
    script(machine, "run")
    again = script(machine, "run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "minirund runs (pid" not in again.stdout
    assert "Loaded image" not in again.stderr


def test_with_a_terminal_it_is_a_shell_and_its_exit_code_comes_back(machine: DaemonHost) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        machine.inside(str(ROOT / "scripts/run")), stdin=theirs, stdout=theirs, stderr=theirs
    ) as shell:
        os.close(theirs)
        read_until(ours, b"/ # ")
        os.write(ours, b"tty; echo $((40 + 2)); exit 7\n")
        shown = read_until(ours, b"\n42")
        assert b"/dev/pts/" in shown
        assert shell.wait(PATIENCE) == 7
    os.close(ours)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What the terminal shows, up to the wanted bytes; the test's own timeout ends a wait in vain."""
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 4096)
    return shown


def test_stop_ends_the_daemon_and_says_so(machine: DaemonHost) -> None:
    script(machine, "run")
    assert "has ended" in script(machine, "stop").stdout
    assert "no minirund" in script(machine, "stop").stdout
