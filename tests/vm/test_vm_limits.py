"""In a whole machine: the limits that containers ask for are in force.

Run by vagrant/test.sh in the guest (`make vm-test` boots one); skipped elsewhere (conftest.py).
"""

from __future__ import annotations

import json
import os

import pytest
from daemon import UnixConnection
from guest import IMAGE, SOCKET, cgroup_file, minirun, systemctl


@pytest.mark.parametrize(
    ("options", "file", "text"),
    [
        (("--memory", "64m"), "memory.max", str(64 << 20)),
        (("--memory", "64m"), "memory.swap.max", str(64 << 20)),
        (("--memory", "64m", "--memory-swap", "64m"), "memory.swap.max", "0"),
        (("--memory-reservation", "32m"), "memory.low", str(32 << 20)),
        (("--pids-limit", "50"), "pids.max", "50"),
        (("--cpus", "0.5"), "cpu.max", "50000 100000"),
        (("--cpu-shares", "2048"), "cpu.weight", "174"),
        (("--cpuset-cpus", "0"), "cpuset.cpus", "0"),
    ],
)
def test_an_option_is_a_cgroup_file(name: str, options: tuple[str, ...], file: str, text: str) -> None:
    minirun("run", "-d", "--name", name, *options, IMAGE, "sleep", "600")
    assert text in cgroup_file(name, file)


def test_a_rate_of_a_device_is_its_line_in_io_max(name: str) -> None:
    """Over the API: one for reading; `--device-write-bps` is with the updates below."""
    rate = {"Path": "/dev/vda", "Rate": 1 << 20}
    wanted = {"Image": IMAGE, "Cmd": ["sleep", "600"], "HostConfig": {"BlkioDeviceReadBps": [rate]}}
    connection = UnixConnection(SOCKET)
    connection.request(
        "POST", f"/containers/create?name={name}", json.dumps(wanted), {"Content-Type": "application/json"}
    )
    assert connection.getresponse().status == 201
    connection.close()
    minirun("start", name)
    device = os.stat("/dev/vda").st_rdev
    line = f"{os.major(device)}:{os.minor(device)} rbps=1048576 wbps=max riops=max wiops=max"
    assert cgroup_file(name, "io.max") == line


def test_who_exceeds_the_memory_limit_is_killed_and_said_so(name: str) -> None:
    hog = "x=0123456789abcdef; while true; do x=$x$x; done"
    minirun("run", "--name", name, "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", hog, code=137)
    assert json.loads(minirun("inspect", name))[0]["State"]["OOMKilled"] is True


def test_a_fork_bomb_stops_at_the_pids_limit(name: str) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    shown = minirun("run", "--name", name, "--pids-limit", "4", IMAGE, "sh", "-c", bomb, code=2)
    assert "can't fork" in shown


@pytest.mark.parametrize(
    ("first", "options", "file", "text"),
    [
        (("--memory", "64m", "--memory-swap", "-1"), ("--memory", "32m"), "memory.max", str(32 << 20)),
        ((), ("--memory", "32m", "--memory-swap", "48m"), "memory.swap.max", str(16 << 20)),
        ((), ("--memory-reservation", "32m"), "memory.low", str(32 << 20)),
        (("--pids-limit", "50"), ("--pids-limit", "7"), "pids.max", "7"),
        (("--pids-limit", "50"), ("--pids-limit", "-1"), "pids.max", "max"),
        (("--cpus", "0.5"), ("--cpus", "0.25"), "cpu.max", "25000 100000"),
        (("--cpus", "0.5"), ("--cpu-quota", "-1"), "cpu.max", "max 100000"),
        ((), ("--cpu-shares", "2048"), "cpu.weight", "174"),
        ((), ("--cpuset-cpus", "0"), "cpuset.cpus", "0"),
        ((), ("--device-write-bps", "/dev/vda:1mb"), "io.max", "rbps=max wbps=1048576 riops=max wiops=max"),
        (("--device-write-bps", "/dev/vda:1mb"), ("--device-write-bps", "/dev/vda:0"), "io.max", ""),
    ],
)
def test_update_changes_the_file_of_a_running_container(
    name: str, first: tuple[str, ...], options: tuple[str, ...], file: str, text: str
) -> None:
    minirun("run", "-d", "--name", name, *first, IMAGE, "sleep", "600")
    pid = json.loads(minirun("inspect", name))[0]["State"]["Pid"]
    assert minirun("update", *options, name) == f"{name}\n"
    found = cgroup_file(name, file)
    assert text in found if text else not found
    assert json.loads(minirun("inspect", name))[0]["State"]["Pid"] == pid
    minirun("restart", "-t", "0", name)
    assert cgroup_file(name, file) == found or not text


def test_a_program_meets_the_limits_of_an_update(name: str) -> None:
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    minirun("update", "--pids-limit", "4", name)
    assert "can't fork" in minirun("exec", name, "sh", "-c", bomb, code=2)
    minirun("restart", "-t", "0", name)
    minirun("update", "--pids-limit", "-1", "--memory", "16m", "--memory-swap", "16m", name)
    minirun("exec", name, "sh", "-c", "x=0123456789abcdef; while true; do x=$x$x; done", code=137)


def test_a_container_outlives_the_service_and_its_limits_too(name: str) -> None:
    minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sleep", "600")
    pid = json.loads(minirun("inspect", name))[0]["State"]["Pid"]
    systemctl("restart", "minirund.service")
    assert json.loads(minirun("inspect", name))[0]["State"]["Pid"] == pid
    assert cgroup_file(name, "memory.max") == str(64 << 20)
