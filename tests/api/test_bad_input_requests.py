"""Requests that can't be carried out: one clear line and the right code, over the API and from both commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from daemon import DaemonHost
from waiting import until

pytestmark = pytest.mark.root
COMMANDS = ("cli", "docker")
LONG = "n" * 65536


@pytest.fixture(autouse=True)
def nothing_made(host: DaemonHost) -> Iterator[None]:
    """Whatever a test asks for: no container is left of it unless the test removes it, and the daemon goes on."""
    yield
    host.remove_containers()
    assert host.api("GET", "/_ping") == (200, "OK")


def command(host: DaemonHost, name: str) -> Callable[..., Any]:
    return getattr(host, name)  # type: ignore[no-any-return]


def refused(answer: tuple[int, Any], status: int, words: str) -> None:
    """An error of one printable line."""
    assert answer[0] == status, answer
    assert words in answer[1]["message"]
    assert answer[1]["message"].isprintable()


def create(host: DaemonHost, host_config: dict[str, Any] | None = None, **config: Any) -> tuple[int, Any]:
    body = {"Image": "busybox", "Cmd": ["true"], **config, "HostConfig": host_config or {}}
    return host.api("POST", "/containers/create", body)


# ---- both commands: the code and one line


BESIDE = r"(See|Run) '|time=.*error waiting for container"
"""What the stock clients, 20.10 and later, say besides."""


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-u", "nobdy", "busybox", "id"], 125, "unable to find user nobdy: no matching entries in passwd file"),
        (["-u", "0:nogrp", "busybox", "id"], 125, "unable to find group nogrp: no matching entries in group file"),
        (
            ["-w", "/bin/busybox", "busybox", "id"],
            125,
            'chdir to cwd ("/bin/busybox") set in config.json failed: not a',
        ),
        (["busybox", "nope"], 127, 'exec: "nope": executable file not found in $PATH'),
        (["busybox", ""], 127, 'exec: "": executable file not found in $PATH'),
        (["busybox", "/nope"], 127, "stat /nope: no such file or directory"),
        (["--entrypoint", "/nope", "busybox"], 127, "stat /nope: no such file or directory"),
        (["busybox", "/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
        (["busybox", "/etc"], 126, 'exec: "/etc": is a directory'),
        (["-m", "64m", "busybox", "true"], 125, "--memory needs the cgroup v2 controller 'memory'"),
        (["--pids-limit", "9", "busybox", "true"], 125, "--pids-limit needs the cgroup v2 controller 'pids'"),
        (["-m", "5m", "busybox", "true"], 125, "Minimum memory limit allowed is 6MB"),
        (["--cpu-quota", "999", "busybox", "true"], 125, "CPU cfs quota can not be less than 1ms"),
        (["--cpus", "9999", "busybox", "true"], 125, "range of CPUs is from 0.01 to"),
        (["--cpuset-cpus", "9999", "busybox", "true"], 125, "Requested CPUs are not available - requested 9999"),
        (["--memory-swappiness", "101", "busybox", "true"], 125, "memory swappiness range is 0-100"),
        (["--storage-opt", "foo=1", "busybox", "true"], 125, "Unknown option foo: --storage-opt takes size=SIZE"),
        (["--storage-opt", "size=x", "busybox", "true"], 125, "invalid size: 'x'"),
        (["--storage-opt", "size=1k", "busybox", "true"], 125, "a read-write layer takes at least 1m"),
        (["--storage-opt", "size=1g", "busybox", "true"], 125, "supported only with project quotas: "),
        (["--storage-opt", "size", "busybox", "true"], 125, "invalid storage option"),
        (["-p", "80:80", "busybox", "true"], 125, "published ports (-p) are not offered yet"),
        (["-P", "busybox", "true"], 125, "published ports (-P) are not offered yet"),
        (["-v", "data:/x", "busybox", "true"], 125, "named volumes are not offered yet"),
        (
            ["-v", "relative/x:/x", "busybox", "true"],
            125,
            "If you intended to pass a host directory, use absolute path",
        ),
        (["--network", "nonet", "busybox", "true"], 125, "network nonet not found"),
        (["--network", "container:none", "busybox", "true"], 125, "No such container: none"),
        (["--cap-add", "FOO", "busybox", "true"], 125, "unknown capability"),
        (["-h", "a\nb", "busybox", "true"], 125, "invalid Hostname"),
        (["-h", "h" * 65, "busybox", "true"], 125, "invalid Hostname: 65 bytes are too many"),
        (["--add-host", "x\ny:1.2.3.4", "busybox", "true"], 125, "bad format for add-host"),
        (["--name", LONG, "busybox", "true"], 125, "URL is too long"),
        (["--name", "n" * 300, "busybox", "true"], 125, "Invalid container name"),
        ([LONG, "true"], 125, "repository name must not be more than 255 characters"),
        (["busybox", "/" + LONG], 125, "file name too long"),
        (["-w", "/" + LONG, "busybox", "true"], 125, "file name too long"),
        (["-u", LONG, "busybox", "true"], 125, "unable to find user nnn"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_run_says_what_is_wrong(host: DaemonHost, name: str, words: list[str], code: int, message: str) -> None:
    if host_offers(host, message):
        pytest.skip("this host can enforce that limit")
    done = command(host, name)("run", "--rm", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    said = [line for line in done.stderr.splitlines() if line and not re.match(BESIDE, line)]
    assert len(said) == 1, said
    until(lambda: host.api("GET", "/containers/json?all=1")[1] == [])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--restart", "sometimes"], "invalid restart policy"),
        (["--restart", "always:3"], "maximum retry count"),
    ],
)
def test_a_restart_policy(host: DaemonHost, name: str, options: list[str], message: str) -> None:
    done = command(host, name)("create", *options, "busybox")
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert message in done.stderr
    assert host.api("GET", "/containers/json?all=1")[1] == []


def host_offers(host: DaemonHost, message: str) -> bool:
    found = re.search("controller '([a-z]+)'", message)
    info = host.api("GET", "/info")[1]
    return bool(found and info[{"memory": "MemoryLimit", "pids": "PidsLimit"}[found[1]]])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start", "nosuch"], "No such container: nosuch"),
        (["logs", "nosuch"], "No such container: nosuch"),
        (["exec", "nosuch", "true"], "No such container: nosuch"),
        (["rm", "nosuch"], "No such container: nosuch"),
        (["kill", "nosuch"], "No such container: nosuch"),
        (["stop", "nosuch"], "No such container: nosuch"),
        (["attach", "nosuch"], "No such container: nosuch"),
        (["top", "nosuch"], "No such container: nosuch"),
        (["rename", "nosuch", "other"], "No such container: nosuch"),
        (["wait", "nosuch"], "No such container: nosuch"),
        (["inspect", "nosuch"], "No such object: nosuch"),
        (["rmi", "nosuch"], "No such image: nosuch"),
        (["tag", "nosuch", "other"], "No such image: nosuch"),
        (["tag", "busybox", "UPPER"], "must be lowercase"),
        (["pull", "127.0.0.1:1/x"], "connection refused"),
        (["load", "-i", "/etc/passwd"], "bad archive"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_named(host: DaemonHost, name: str, words: list[str], message: str) -> None:
    done = command(host, name)(*words)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nope"], 127, 'exec: "nope": executable file not found in $PATH'),
        (["/nope"], 127, "stat /nope: no such file or directory"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, "is a directory"),
    ],
)
def test_exec_says_what_is_wrong(host: DaemonHost, name: str, words: list[str], code: int, message: str) -> None:
    host.cli("run", "-d", "--name", "target", "busybox", "sleep", "1000")
    done = command(host, name)("exec", "target", *words)
    assert (done.returncode, message in done.stdout + done.stderr) == (code, True)
    done = command(host, name)("exec", "-u", "nobdy", "target", "id")
    assert (done.returncode, "unable to find user nobdy" in done.stdout + done.stderr) == (126, True)
    done = command(host, name)("exec", "-w", "/nowhere", "target", "pwd")
    assert (done.returncode, "no such file or directory" in done.stdout + done.stderr) in {(126, True), (127, True)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_is_taken(host: DaemonHost, name: str) -> None:
    first = command(host, name)("create", "--name", "taken", "busybox").stdout.strip()
    done = command(host, name)("create", "--name", "taken", "busybox")
    assert done.returncode == 1
    assert f'The container name "/taken" is already in use by container "{first}"' in done.stderr
    refused(host.api("POST", "/containers/create?name=taken", {"Image": "busybox"}), 409, "already in use")


def test_a_short_id_that_several_begin_with(host: DaemonHost) -> None:
    idents = [create(host)[1]["Id"] for _ in range(17)]  # of 17, two begin alike
    digit = next(one[0] for number, one in enumerate(idents) if one[0] in {other[0] for other in idents[:number]})
    refused(host.api("GET", f"/containers/{digit}/json"), 400, "Multiple IDs found with provided prefix")
    assert host.api("GET", f"/containers/{idents[0][:12]}/json")[0] == 200
    assert host.cli("rm", digit).returncode == 1


# ---- the API: what no container can be made of


@pytest.mark.parametrize(
    ("config", "status", "message"),
    [
        ({"Env": ["A=\0"]}, 400, "it has a NUL"),
        ({"Env": ["=x"]}, 400, "invalid environment variable: =x"),
        ({"Env": ["A=\ud800"]}, 400, "not valid Unicode"),
        ({"Cmd": ["tr\0ue"]}, 400, "NUL"),
        ({"Labels": {"a": "\0"}}, 400, "Labels.a"),
        ({"Labels": {"a\0": ""}}, 400, "NUL"),
        ({"Hostname": "a b"}, 400, "invalid Hostname"),
        ({"Hostname": "a\t1.2.3.4"}, 400, "invalid Hostname"),
        ({"Domainname": "x\n6.6.6.6 bank"}, 400, "invalid Domainname"),
        ({"WorkingDir": "relative"}, 400, "it needs to be an absolute path"),
        ({"StopSignal": "NOPE"}, 400, "Invalid signal: NOPE"),
        ({"StopSignal": "9" * 5000}, 400, "Invalid signal"),
        ({"StopSignal": "RTMIN+" + "9" * 5000}, 400, "Invalid signal"),
        ({"StopSignal": "RTMIN+99"}, 400, "Invalid signal"),
        ({"ExposedPorts": {"x/y": {}}}, 400, "invalid port"),
        ({"ExposedPorts": {"99999/tcp": {}}}, 400, "invalid port"),
        ({"MacAddress": "zz"}, 501, "--mac-address"),
        ({"Healthcheck": {"Test": ["CMD", "true"]}}, 501, "health checks"),
        ({"Volumes": {"/data": {}}}, 501, "anonymous volumes"),
        ({"Image": ""}, 400, "no image given"),
        ({"Image": "sha256:" + "0" * 64}, 404, "No such image"),
        ({"Image": "x" * 65536}, 400, "255 characters"),
        ({"StopTimeout": 1 << 70}, 400, "64 bits"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_create_refuses(host: DaemonHost, config: dict[str, Any], status: int, message: str) -> None:
    refused(create(host, **config), status, message)
    assert host.api("GET", "/containers/json?all=1")[1] == []


@pytest.mark.parametrize(
    ("config", "status", "message"),
    [
        ({"Binds": ["/tmp/a\0b:/x"]}, 400, "NUL"),
        ({"Binds": ["/tmp:/../.."]}, 400, "destination can't be '/'"),
        ({"Binds": ["/proc/1/mem/x:/x"]}, 400, "error while creating mount source path"),
        ({"Binds": ["/tmp:/x", "/tmp:/x"]}, 400, "Duplicate mount point"),
        ({"Dns": ["1.1.1.1\nnameserver 6.6.6.6"]}, 400, "invalid IP address in --dns"),
        ({"DnsSearch": ["a\nnameserver 6.6.6.6"]}, 400, "--dns-search"),
        ({"DnsOptions": ["a\nnameserver 6.6.6.6"]}, 400, "--dns-option"),
        ({"ExtraHosts": ["x:1.2.3.4\n5.6.7.8 z"]}, 400, "invalid IP address in add-host"),
        ({"Sysctls": {"kernel.core_pattern": "|/x"}}, 400, "is not allowed"),
        ({"Sysctls": {"net/../kernel/core_pattern": "|/x"}}, 400, "is not allowed"),
        ({"Sysctls": {"net.nosuch": "1"}}, 400, "sysctl 'net.nosuch' is not known to this kernel"),
        ({"ShmSize": 1 << 70}, 400, "64 bits"),
        ({"SecurityOpt": ["seccomp={bad"]}, 400, "seccomp"),
        ({"LogConfig": {"Type": "syslog"}}, 501, 'logging driver "syslog" is not offered'),
        ({"Devices": [{"PathOnHost": "/dev/nosuch", "PathInContainer": "/dev/x"}]}, 400, "no such file"),
        ({"CapAdd": ["a\nb"]}, 400, "unknown capability"),
        ({"Memory": 1}, 400, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 64 << 20, "MemoryReservation": 65 << 20}, 400, "can not be less than memory reservation limit"),
        ({"CpuPeriod": 1_000_001}, 400, "CPU cfs period can not be less than 1ms"),
        ({"CpusetMems": "9999"}, 400, "Requested memory nodes are not available - requested 9999, available: 0"),
        ({"BlkioWeight": 9}, 400, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeightDevice": [{}]}, 400, 'invalid device for --blkio-weight-device: "": no such file or directory'),
        ({"BlkioDeviceReadIOps": [{}]}, 400, 'invalid device for --device-read-iops: "": no such file or directory'),
        ({"OomScoreAdj": 1001}, 400, "range for oom score adj is [-1000, 1000]"),
        (
            {"StorageOpt": {"size": "1g"}},
            501,
            "is tmpfs without project quotas: use a directory on ext4 or xfs that is",
        ),
        ({"StorageOpt": {"size": "-1"}}, 400, "invalid size: '-1'"),
        ({"StorageOpt": {"size": "1g", "dm.basesize": "1g"}}, 400, "Unknown option dm.basesize"),
        ({"CpuRealtimeRuntime": 1000}, 400, "--cpu-rt-runtime exists on cgroup v1 only"),
        ({"KernelMemory": 64 << 20}, 400, "--kernel-memory exists on cgroup v1 only"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_create_refuses_of_the_host(host: DaemonHost, config: dict[str, Any], status: int, message: str) -> None:
    refused(create(host, config), status, message)
    assert host.api("GET", "/containers/json?all=1")[1] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_what_can_t_be_had_is_a_warning(host: DaemonHost, name: str) -> None:
    done = command(host, name)("create", "--memory-swappiness", "60", "--oom-kill-disable", "busybox")
    assert done.returncode == 0
    assert "Memory swappiness discarded." in done.stderr and "OomKillDisable discarded." in done.stderr
    kept = host.api("GET", f"/containers/{done.stdout.strip()}/json")[1]["HostConfig"]
    assert (kept["MemorySwappiness"], kept["OomKillDisable"]) in {(None, None), (None, False)}


def test_what_is_long_but_possible(host: DaemonHost) -> None:
    variable = "x" * (131072 - len("A=") - 1)
    done = host.docker("run", "--rm", "-e", f"A={variable}", "busybox", "sh", "-c", "echo ${#A}")
    assert done.stdout == f"{len(variable)}\n"
    words = ["x" * 1000] * 1000
    assert host.cli("run", "--rm", "busybox", "echo", *words).stdout == " ".join(words) + "\n"
    label = host.cli("create", "-l", f"big={LONG}", "busybox").stdout.strip()
    assert host.api("GET", f"/containers/{label}/json")[1]["Config"]["Labels"] == {"big": LONG}


@pytest.mark.parametrize(
    "config", [{"Env": ["A=" + "x" * 131072]}, {"Cmd": ["echo", *["x" * 1000] * 3000]}], ids=["env", "args"]
)
def test_what_is_longer_than_the_kernel_takes(host: DaemonHost, config: dict[str, Any]) -> None:
    ident = create(host, **config)[1]["Id"]
    refused(host.api("POST", f"/containers/{ident}/start"), 400, "argument list too long")


def test_an_exec_of_nonsense(host: DaemonHost) -> None:
    ident = host.cli("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    for body, words in (
        ({"Cmd": ["a\0b"]}, "NUL"),
        ({"Cmd": []}, "No exec command specified"),
        ({"Cmd": ["true"], "Env": ["=1"]}, "invalid environment variable"),
        ({"Cmd": ["true"], "WorkingDir": "rel"}, "absolute path"),
        ({"Cmd": [1]}, "invalid value for Cmd[0]"),
    ):
        refused(host.api("POST", f"/containers/{ident}/exec", body), 400, words)
    made = host.api("POST", f"/containers/{ident}/exec", {"Cmd": ["x" * 200_000], "AttachStdout": True})[1]["Id"]
    refused(host.api("POST", f"/exec/{made}/start", {"Detach": True}), 400, "executable file not found in $PATH")
    refused(host.api("POST", f"/exec/{made}/start", {"Detach": True}), 409, "has already run")


# ---- the API: bodies and parameters


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request has no body"),
        (b"{", "invalid JSON"),
        (b"[]", "it should be an object"),
        (b"null", "it should be an object"),
        (b"\xff\xfe", "invalid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"Image":1}', "invalid value for Image: 1"),
        (b'{"Cmd":{"a":1}}', "invalid value for Cmd"),
        (b'{"Env":"A=1"}', "invalid value for Env"),
        (b'{"HostConfig":[]}', "invalid value for HostConfig"),
        (b'{"HostConfig":{"Memory":"1g"}}', "invalid value for HostConfig.Memory"),
        (b'{"HostConfig":{"Memory":1e400}}', "invalid value for HostConfig.Memory"),
        (b'{"HostConfig":{"Binds":"/a:/b"}}', "invalid value for HostConfig.Binds"),
        (b'{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}', "invalid restart policy"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bodies_that_are_none(host: DaemonHost, body: bytes, message: str) -> None:
    refused(host.api("POST", "/containers/create", body), 400, message)


def test_unknown_fields_are_named(host: DaemonHost) -> None:
    status, answer = create(host, {"Bar": 2}, Foo=1)
    assert status == 201
    assert answer["Warnings"] == ["unknown field ignored: Foo", "unknown field ignored: HostConfig.Bar"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", f"/containers/{LONG[:60000]}/json", 404, "No such container"),
        ("GET", f"/images/{LONG[:60000]}/json", 400, "255 characters"),
        ("GET", "/containers/%00/json", 404, "No such container: \\x00"),
        ("GET", "/containers/a%0ab/json", 404, "No such container: a\\nb"),
        ("GET", "/containers/%1b%5b31m/json", 404, "No such container: \\x1b[31m"),
        ("GET", "/containers/json?filters={", 400, "invalid filters"),
        ("GET", "/containers/json?filters=%7B%22foo%22:[%22x%22]%7D", 400, "invalid filter 'foo'"),
        ("GET", "/containers/json?limit=x", 400, "invalid value for limit"),
        ("GET", "/v1.99/info", 400, "too new"),
        ("GET", "/v1.1/info", 400, "too old"),
        ("GET", "/nosuch", 404, "page not found"),
        ("POST", "/images/create?fromImage=%00", 400, "invalid reference format"),
        ("POST", "/images/create?fromImage=busybox&platform=%0a/x", 400, "invalid platform"),
        ("POST", f"/images/busybox/tag?repo=r&tag={LONG[:60000]}", 400, "invalid tag format"),
        ("POST", "/containers/nosuch/wait", 404, "No such container: nosuch"),
        ("POST", "/containers/nosuch/attach", 404, "No such container: nosuch"),
        ("POST", "/containers/nosuch/kill?signal=" + "9" * 5000, 404, "No such container"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_paths_and_parameters(host: DaemonHost, method: str, path: str, status: int, message: str) -> None:
    refused(host.api(method, path), status, message)
