"""Limits change by `update`: the record, what the next start reads, the event; and what is refused changes nothing.

This file runs on hosts that may have no controller: what limits do to programs is in tests/vm/test_vm_limits.py.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from daemon import DaemonHost

_numbers = itertools.count()
LIFTED = {"PidsLimit": -1, "CpuQuota": -1, "MemorySwap": -1}
"""Limits that no controller is needed for."""
MOVES = {"paused": "pause", "exited": "kill"}


def create(host: DaemonHost, *, start: bool = False, **host_config: Any) -> str:
    name = f"updated-{next(_numbers)}"
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host_config}
    assert host.api("POST", f"/containers/create?name={name}", body)[0] == 201
    if start:
        assert host.api("POST", f"/containers/{name}/start")[0] == 204
    return name


def update(host: DaemonHost, name: str, body: Any) -> tuple[int, Any]:
    return host.api("POST", f"/containers/{name}/update", body)


def whole(host: DaemonHost, name: str) -> Any:
    return host.api("GET", f"/containers/{name}/json")[1]


def offers(host: DaemonHost, controller: str) -> bool:
    mount = next(Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line)
    return controller in (mount / "cgroup.controllers").read_text().split()


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited"])
def test_limits_that_are_lifted(host: DaemonHost, state: str) -> None:
    name = create(host, start=state != "created")
    if state in MOVES:
        assert host.api("POST", f"/containers/{name}/{MOVES[state]}")[0] == 204
    assert whole(host, name)["State"]["Status"] == state
    pid = whole(host, name)["State"]["Pid"]
    assert update(host, name, {**LIFTED, "RestartPolicy": {"Name": "always"}}) == (200, {"Warnings": None})
    found = whole(host, name)
    assert {key: found["HostConfig"][key] for key in LIFTED} == LIFTED
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert (found["State"]["Status"], found["State"]["Pid"]) == (state, pid)
    if state == "exited":
        assert host.api("POST", f"/containers/{name}/start")[0] == 204


def test_the_bundle_says_the_new_limits(host: DaemonHost) -> None:
    name = create(host, start=True)
    ident = whole(host, name)["Id"]
    assert update(host, name, LIFTED)[0] == 200
    config = json.loads(host.run("cat", f"{host.state}/data/containers/{ident}/config.json").stdout)
    resources = config["linux"]["resources"]
    assert resources["cpu"] == {"quota": -1}
    assert resources["devices"]


@pytest.mark.parametrize(
    ("option", "value", "controller"),
    [
        ("Memory", 64 << 20, "memory"),
        ("NanoCpus", 500_000_000, "cpu"),
        ("CpuShares", 100, "cpu"),
        ("CpusetCpus", "0", "cpuset"),
        ("PidsLimit", 10, "pids"),
        ("BlkioWeight", 100, "io"),
    ],
)
@pytest.mark.parametrize("start", [True, False])
def test_a_missing_controller_is_named_and_nothing_changes(
    host: DaemonHost, option: str, value: Any, controller: str, start: bool
) -> None:
    if offers(host, controller):
        pytest.skip(f"this host has the controller {controller}")
    name = create(host, start=start)
    before = whole(host, name)
    status, answer = update(host, name, {**LIFTED, option: value, "RestartPolicy": {"Name": "always"}})
    assert status == 501
    assert f"needs the cgroup v2 controller '{controller}'" in answer["message"]
    assert whole(host, name) == before


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"Memory": 1}, 400, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": 64 << 20}, 400, "You should always set the Memory limit when using Memoryswap limit"),
        ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, 400, "Minimum memoryswap limit should be larger than memory"),
        ({"NanoCpus": 10**15}, 400, "range of CPUs is from 0.01"),
        ({"NanoCpus": 10**9, "CpuQuota": -1, "Memory": "64m"}, 400, "Memory"),
        ({"PidsLimit": []}, 400, "PidsLimit"),
        ({"PidsLimit": -1, "Memory": 1 << 80}, 400, "Memory"),
        ({"CpusetCpus": "a\0b"}, 400, "invalid value for CpusetCpus: it has a NUL character in it"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 5}]}, 400, "/dev/nope"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 0}]}, 400, '"/dev/nope": no such file or directory'),
        ({"BlkioWeightDevice": [{}]}, 400, 'invalid device for --blkio-weight-device: "": no such file or directory'),
        ({"BlkioDeviceWriteIOps": [{}]}, 400, 'invalid device for --device-write-iops: "": no such file or directory'),
        ({"CgroupConf": {"memory.nothing": ""}}, 400, "'memory.nothing' is no limit of the controller memory"),
        ({"CgroupConf": {"cgroup.procs": "1"}}, 400, "'cgroup.procs' is no limit of the controller cgroup"),
        ({"Devices": [{"PathOnHost": "/dev/null"}]}, 400, "Devices can't be changed by an update"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}]}, 400, "Ulimits can't be changed by an update"),
        ({"PidsLimit": -1, "RestartPolicy": {"Name": "what"}}, 400, "unknown policy 'what'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused(host: DaemonHost, body: Any, status: int, message: str) -> None:
    name = create(host, start=True)
    before = whole(host, name)
    assert (answered := update(host, name, body))[0] == status
    assert message in answered[1]["message"]
    assert whole(host, name) == before


def test_nobody(host: DaemonHost) -> None:
    assert update(host, "nobody", LIFTED) == (404, {"message": "No such container: nobody"})
    done = host.cli("update", "--pids-limit", "-1", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No such container: nobody" in done.stderr


@pytest.mark.parametrize("command", ["cli", "docker"])
def test_the_commands(host: DaemonHost, command: str) -> None:
    names = [create(host, start=True), create(host)]
    run = getattr(host, command)
    done = run("update", "--pids-limit", "-1", "--cpu-quota", "-1", "--restart", "unless-stopped", *names)
    assert (done.returncode, done.stdout.split()) == (0, names)
    for name in names:
        found = whole(host, name)["HostConfig"]
        assert (found["PidsLimit"], found["CpuQuota"]) == (-1, -1)
        assert found["RestartPolicy"]["Name"] == "unless-stopped"
    done = run("update", names[0])
    assert done.returncode != 0
    assert "you must provide one or more flags when using this command" in done.stderr.lower()


def test_one_that_fails_does_not_stop_the_others(host: DaemonHost) -> None:
    name = create(host)
    done = host.cli("update", "--pids-limit", "-1", "nobody", name)
    assert (done.returncode, done.stdout) == (1, f"{name}\n")


def test_the_event(host: DaemonHost) -> None:
    name = create(host)
    ident = whole(host, name)["Id"]
    update(host, name, {"Memory": 1})
    assert update(host, name, LIFTED)[0] == 200
    done = host.cli(
        "events", "--since", "0", "--until", "0s", "--filter", f"container={ident}", "--format", "{{.Action}}"
    )
    assert done.stdout.split() == ["create", "update"]
