"""The place in which tests run notices what is left in it: otherwise its silence would mean nothing."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from containment import PREFIX, Leftovers, claim, sweep
from daemon import DaemonHost

from cgroups.cgroup import Cgroup, find_mount

pytestmark = pytest.mark.root


def settled(host: DaemonHost) -> Leftovers:
    return host._observe() - host._before


def test_a_fresh_place_is_clean_and_apart() -> None:
    with DaemonHost() as host:
        assert not settled(host)
        assert host.run("ip", "-o", "link").stdout.count("\n") == 1
        assert "UP" in host.run("ip", "-o", "link", "show", "lo").stdout
        assert host.run("cat", "/proc/self/cgroup").stdout.splitlines()[-1] == "0::/self"
        assert host.run("stat", "-f", "-c", "%T", str(host.state)).stdout == "tmpfs\n"


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("links", "ip link add leak0 type veth peer name leak1"),
        ("tables", "nft add table ip leak"),
        ("mounts", "mount -t tmpfs leak /mnt"),
        ("processes", "setsid sleep 600 >/dev/null 2>&1 &"),
        ("cgroups", "mkdir $(findmnt -n -t cgroup2 -o TARGET | head -n 1)/leak"),
    ],
)
def test_what_is_left_is_named(kind: str, command: str) -> None:
    with DaemonHost() as host:
        host.run("sh", "-c", command, check=True)
        left = settled(host)
        assert getattr(left, kind), left
        assert kind in str(left)


def test_closing_ends_who_is_still_there() -> None:
    with DaemonHost() as host:
        sleeper = subprocess.Popen(host.inside("setsid", "--fork", "sleep", "600"))
        assert sleeper.wait(30) == 0
        pids = [entry.split()[0] for entry in settled(host).processes]
        assert pids
    assert not any(os.path.exists(f"/proc/{pid}/exe") and alive(pid) for pid in pids)
    assert not host.group.exists()
    assert not host.directory.exists()


def alive(pid: str) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_places_are_apart_from_each_other() -> None:
    with DaemonHost() as one, DaemonHost() as two:
        one.run("ip", "link", "add", "only-one", "type", "veth", check=True)
        assert "only-one" in one.run("ip", "link").stdout
        assert "only-one" not in two.run("ip", "link").stdout
        assert "only-one" not in [name for _, name in socket.if_nameindex()]


def test_a_sweep_takes_what_a_killed_session_left_and_not_what_is_claimed() -> None:
    """A claim says that a session lives whose pid means nothing here: one in another pid namespace."""
    beyond = int(Path("/proc/sys/kernel/pid_max").read_text())  # no process has it
    left, claimed = (Cgroup(f"{find_mount()}/{PREFIX}{beyond}-{which}") for which in ("left", "claimed"))
    for group in (left, claimed):
        group.create(())
    token = claim(claimed.path)
    try:
        sweep()
        assert (left.exists(), claimed.exists()) == (False, True)
    finally:
        os.close(token)
    sweep()
    assert not claimed.exists()
