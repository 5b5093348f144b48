"""Devices that a container is given: by node, by directory, by rule; and the words for what is none.

Where the kernel takes no device program, that part is not there to be seen: open(2) of a node is then the proof of
the node alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from daemon import DaemonHost

Client = Callable[..., "subprocess.CompletedProcess[str]"]
GATHERING = 'error gathering device information while adding custom device "/dev/none": no such file or directory'


@pytest.fixture(params=["minirun", "docker"])
def client(request: pytest.FixtureRequest, host: DaemonHost) -> Client:
    return host.cli if request.param == "minirun" else host.docker


def test_a_directory_of_devices(host: DaemonHost, client: Client) -> None:
    nodes = f"{host.state}/nodes"
    script = "mkdir -p $0/sub && mknod -m 640 $0/nil c 1 3; mknod $0/sub/zeros c 1 5; ln -s nil $0/link; echo > $0/text"
    assert host.run("sh", "-c", f"test -e {nodes} || ({script})", nodes).returncode == 0
    done = client(
        "run", "--rm", "--device", f"{nodes}/:/dev/all:rw", "busybox", "sh", "-c",
        "cd /dev/all; find . | sort; stat -c %a:%t:%T nil; head -c 3 sub/zeros | wc -c; mknod /x c 1 5 && echo made",
    )  # fmt: skip
    assert done.stdout.split() == [".", "./nil", "./sub", "./sub/zeros", "640:1:3", "3", "made"], done.stderr


def test_a_device_of_another_name(client: Client) -> None:
    done = client(
        "run", "--rm", "--device", "/dev/zero:/dev/more/nought", "busybox", "head", "-c", "2", "/dev/more/nought"
    )
    assert (done.stdout, done.stderr) == ("\0\0", "")


def test_a_privileged_container_gets_a_device_of_another_name_too(client: Client) -> None:
    options = ("--privileged", "--device", "/dev/zero:/dev/nought:r", "--device", "/dev/full")
    done = client("run", "--rm", *options, "busybox", "head", "-c", "1", "/dev/nought")
    assert (done.stdout, done.stderr) == ("\0", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "/dev/none"), GATHERING),
        (("--device", "/dev/null:/dev/x:rq"), "bad mode specified: rq"),
        (("--device", "/dev/null:x"), "x is not an absolute path"),
        (("--device", "a:b:c:d"), "bad format for path: a:b:c:d"),
        (("--device-cgroup-rule", "c 1"), "invalid device cgroup format 'c 1'"),
        (("--blkio-weight-device", "/dev/none:5"), "invalid weight for device: /dev/none:5"),
        (("--device-read-bps", "/dev/none:5"), '"/dev/none": no such file or directory'),
    ],
)
def test_what_is_refused(host: DaemonHost, client: Client, options: tuple[str, str], message: str) -> None:
    """docker's command makes 127 of every error that says "no such file"."""
    done = client("run", *options, "busybox", "true")
    assert message in done.stderr
    assert done.returncode == (127 if client == host.docker and "no such file" in message else 125)
    assert host.api("GET", "/containers/json?all=1") == (200, [])


@pytest.mark.parametrize(
    ("host_config", "message"),
    [
        ({"Devices": [{"PathOnHost": "/dev/none"}]}, GATHERING),
        ({"Devices": [{"PathOnHost": "/dev/none"}], "Privileged": True}, GATHERING),
        ({"DeviceCgroupRules": ["c 1"]}, "invalid device cgroup rule format: 'c 1': use one like 'c 42:* rmw'"),
        ({"CpuRealtimeRuntime": 1000}, "CPU real-time scheduler: --cpu-rt-runtime exists on cgroup v1 only"),
        ({"KernelMemory": 10 << 20}, "--kernel-memory exists on cgroup v1 only"),
    ],
)
def test_what_the_api_refuses(host: DaemonHost, host_config: dict[str, object], message: str) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host_config}
    status, answer = host.api("POST", "/containers/create", body)
    assert (status, message in answer["message"]) == (400, True), answer
    assert host.api("GET", "/containers/json?all=1") == (200, [])


@pytest.mark.parametrize(
    ("option", "value"), [("--cpu-rt-runtime", "1000"), ("--cpu-rt-period", "1000"), ("--kernel-memory", "10m")]
)
def test_what_cgroup_v2_has_not_is_refused_by_name(host: DaemonHost, option: str, value: str) -> None:
    done = host.cli("create", option, value, "busybox")
    assert (done.returncode, f"{option} exists on cgroup v1 only" in done.stderr) == (1, True)
    assert host.cli("create", "--name", "plain", "busybox").returncode == 0
    done = host.cli("update", option, value, "plain")
    assert (done.returncode, f"{option} exists on cgroup v1 only" in done.stderr) == (1, True)
    assert host.cli("rm", "plain").returncode == 0
