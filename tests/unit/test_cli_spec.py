"""The options of `run` become the body of a create request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minirund.cli import mounts
from minirund.cli.failure import Failure
from minirund.cli.options import parse
from minirund.cli.run_options import RUN_OPTIONS
from minirund.cli.spec import attached, create_body

PLAIN = {"Image": "img", "AttachStdin": False, "AttachStdout": True, "AttachStderr": True}
PLAIN |= {"Tty": False, "OpenStdin": False, "StdinOnce": False, "HostConfig": {}}


def body(*options: str, detach: bool = False, command: tuple[str, ...] = ()) -> dict[str, Any]:
    return create_body(parse(RUN_OPTIONS, [*options, "img", *command], options_end=True), detach=detach)


def test_without_options_only_the_image_and_the_streams() -> None:
    assert body() == PLAIN
    assert body(command=("sh", "-c", "x"))["Cmd"] == ["sh", "-c", "x"]


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (["-u", "1:2", "-w", "/x", "-h", "hh"], {"User": "1:2", "WorkingDir": "/x", "Hostname": "hh"}),
        (["-e", "A=1", "-l", "a=b", "-l", "c"], {"Env": ["A=1"], "Labels": {"a": "b", "c": ""}}),
        (["--entrypoint", "x"], {"Entrypoint": ["x"]}),
        (["--entrypoint="], {"Entrypoint": [""]}),
        (["--stop-signal", "INT", "--stop-timeout", "3"], {"StopSignal": "INT", "StopTimeout": 3}),
        (["-v", "/data"], {"Volumes": {"/data": {}}}),
        (["--expose", "80-81/udp"], {"ExposedPorts": {"80/udp": {}, "81/udp": {}}}),
        (["--no-healthcheck"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["--health-cmd", "true", "--health-interval", "1s", "--health-retries", "2"],
            {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 10**9, "Retries": 2}},
        ),
        (["-it"], {"AttachStdin": True, "OpenStdin": True, "StdinOnce": True, "Tty": True}),
        (["-a", "STDERR"], {"AttachStdout": False}),
    ],
)
def test_config(options: list[str], config: dict[str, Any]) -> None:
    assert body(*options) == PLAIN | config


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (
            ["--rm", "--init", "--privileged", "--read-only"],
            {"AutoRemove": True, "Init": True, "Privileged": True, "ReadonlyRootfs": True},
        ),
        (["--cap-add", "A", "--cap-drop", "B", "--cap-drop", "C"], {"CapAdd": ["A"], "CapDrop": ["B", "C"]}),
        (
            ["-m", "64m", "--cpus", "1.5", "--pids-limit", "-1"],
            {"Memory": 64 << 20, "NanoCpus": 1500000000, "PidsLimit": -1},
        ),
        (["--memory-swap", "-1", "--shm-size", "1m"], {"MemorySwap": -1, "ShmSize": 1 << 20}),
        (["--network", "none"], {"NetworkMode": "none"}),
        (
            ["--ipc", "host", "--pid", "host", "--uts", "host", "--cgroupns", "private"],
            {"IpcMode": "host", "PidMode": "host", "UTSMode": "host", "CgroupnsMode": "private"},
        ),
        (["-v", "/a:/b:ro", "-v", "vol:/c"], {"Binds": ["/a:/b:ro", "vol:/c"]}),
        (["--tmpfs", "/x:size=1m", "--tmpfs", "/y"], {"Tmpfs": {"/x": "size=1m", "/y": ""}}),
        (
            ["--ulimit", "nofile=1:2", "--ulimit", "core=0"],
            {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "core", "Soft": 0, "Hard": 0}]},
        ),
        (["--sysctl", "net.x=1"], {"Sysctls": {"net.x": "1"}}),
        (["--storage-opt", "size=10G"], {"StorageOpt": {"size": "10G"}}),
        (["--add-host", "a:1.2.3.4", "--add-host", "b=::1"], {"ExtraHosts": ["a:1.2.3.4", "b:::1"]}),
        (["--dns", "1.1.1.1", "--dns-search", "x"], {"Dns": ["1.1.1.1"], "DnsSearch": ["x"]}),
        (["--restart", "on-failure:3"], {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
        (
            ["--security-opt", "no-new-privileges", "--security-opt", "systempaths=unconfined"],
            {"SecurityOpt": ["no-new-privileges"], "MaskedPaths": [], "ReadonlyPaths": []},
        ),
        (["--security-opt", "seccomp=unconfined"], {"SecurityOpt": ["seccomp=unconfined"]}),
        (
            ["--mount", "type=bind,src=/a,dst=/b,readonly"],
            {"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}]},
        ),
    ],
)
def test_host_config(options: list[str], host: dict[str, Any]) -> None:
    assert body(*options)["HostConfig"] == host


def test_a_seccomp_profile_is_sent_as_its_content(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{\n "defaultAction": "SCMP_ACT_ALLOW"\n}')
    options = body("--security-opt", f"seccomp={profile}")["HostConfig"]["SecurityOpt"]
    assert options == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']
    profile.write_text("{")
    with pytest.raises(Failure, match="compacting json for seccomp profile"):
        body("--security-opt", f"seccomp={profile}")


def test_a_terminal_s_size_is_sent_along() -> None:
    parsed = parse(RUN_OPTIONS, ["-t", "img"])
    assert create_body(parsed, detach=False, console=(24, 80))["HostConfig"] == {"ConsoleSize": [24, 80]}


def test_address_and_aliases_belong_to_the_first_network() -> None:
    found = body("--network", "a", "--network", "b", "--ip", "10.0.0.2", "--network-alias", "x")
    assert found["HostConfig"]["NetworkMode"] == "a"
    ends = found["NetworkingConfig"]["EndpointsConfig"]
    assert ends == {"a": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}, "Aliases": ["x"]}, "b": {}}


@pytest.mark.parametrize(
    ("options", "detach", "streams"),
    [
        ([], False, ("stdout", "stderr")),
        (["-i"], False, ("stdin", "stdout", "stderr")),
        (["-i", "-a", "stdout"], False, ("stdout",)),
        (["-i"], True, ()),
    ],
)
def test_attached(options: list[str], detach: bool, streams: tuple[str, ...]) -> None:
    assert attached(parse(RUN_OPTIONS, [*options, "img"]), detach=detach) == streams


def test_an_open_stdin_that_nobody_is_attached_to_stays_open() -> None:
    found = body("-i", detach=True)
    assert (found["OpenStdin"], found["StdinOnce"], found["AttachStdin"]) == (True, False, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-a", "x"], "valid streams are stdin, stdout and stderr"),
        (["--ulimit", "x"], "invalid ulimit argument: x"),
        (["--restart", "always", "--rm"], "cannot specify both --restart and --rm"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--add-host", "x"], "bad format for add-host"),
        (["-v", ""], "invalid empty volume spec"),
        (["-v", "a:"], "empty section between colons"),
        (["--mount", "type=bind,src=/a"], "target is required"),
        (["--mount", "dst=/a,foo=1"], "unexpected key 'foo'"),
        (["--mount", "dst"], "must be a key=value pair"),
        (["--mount", "type=bind,dst=/a,readonly=maybe"], "invalid value for readonly: maybe"),
        (["--mount", "type=bind,dst=/a,tmpfs-size=1"], "cannot mix 'tmpfs-\\*' options with mount type 'bind'"),
        (["-p", "x"], "invalid containerPort: x"),
        (["-p", "1-3:1-2"], "invalid ranges"),
        (["-p", "99999"], "invalid range format"),
        (["--security-opt", "seccomp=/nope"], "opening seccomp profile"),
    ],
)
def test_refuses(options: list[str], message: str) -> None:
    with pytest.raises(Failure, match=message):
        body(*options)


def test_attach_and_detach_contradict() -> None:
    with pytest.raises(Failure, match="cannot specify both --attach and --detach"):
        body("-a", "stdout", detach=True)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80/udp", [("80/udp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", [("80/tcp", "127.0.0.1", "")]),
        ("[::1]:8080:80", [("80/tcp", "::1", "8080")]),
        ("1-2:3-4", [("3/tcp", "", "1"), ("4/tcp", "", "2")]),
        ("1-9:80", [("80/tcp", "", "1-9")]),
    ],
)
def test_published(spec: str, expected: list[tuple[str, str, str]]) -> None:
    found = [(port, to["HostIp"], to["HostPort"]) for port, to in mounts.published(spec)]
    assert found == expected


def test_a_relative_source_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mounts.volumes(["./a:/b"]) == ([f"{tmp_path}/a:/b"], {})
    assert mounts.mount("type=bind,src=.,dst=/b")["Source"] == str(tmp_path)


def test_a_tmpfs_mount() -> None:
    assert mounts.mount("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=1770") == {
        "Type": "tmpfs",
        "Target": "/x",
        "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770},
    }
