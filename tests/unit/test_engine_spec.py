"""A container's record becomes its config.json."""

from __future__ import annotations

from typing import Any

import pytest
from engine_records import a_container

from minirund.engine import spec
from minirund.engine.records import Json
from minirund.engine.spec import Surroundings
from minirund.errors import InvalidArgument

AROUND = Surroundings("/rootfs", {"lower": []}, {"/etc/hosts": "/run/hosts"}, "/minirund/x", {}, "/usr/bin/tini")


def config(host: Json | None = None, joins: dict[str, str] | None = None, **given: Any) -> dict[str, Any]:
    return dict(spec.config(a_container(config=given, host_config=host or {}), AROUND._replace(joins=joins or {})))


def test_the_usual() -> None:
    found = config()
    assert {entry["type"] for entry in found["linux"]["namespaces"]} == {
        "pid",
        "ipc",
        "uts",
        "mount",
        "network",
        "cgroup",
    }
    assert not any("path" in entry for entry in found["linux"]["namespaces"])
    process = found["process"]
    assert (process["args"], process["cwd"], process["terminal"], process["oomScoreAdj"]) == (["sh"], "/", False, 0)
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert process["env"] == [spec.DEFAULT_PATH, "HOSTNAME=" + "1" * 12]
    assert (found["hostname"], found["root"]["readonly"]) == ("1" * 12, False)
    assert found["minirund"] == {
        "rootfs": {"lower": []}, "log": "container.log", "stdin": False, "stdin_once": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "given", "path", "value"),
    [
        ({"ReadonlyRootfs": True}, {}, "root.readonly", True),
        ({}, {"WorkingDir": "/w"}, "process.cwd", "/w"),
        ({}, {"User": "u:g"}, "process.user.username", "u:g"),
        ({"GroupAdd": ["1", "wheel"]}, {}, "process.user.groups", ["1", "wheel"]),
        ({}, {"Hostname": "h", "Domainname": "d"}, "hostname", "h"),
        ({"OomScoreAdj": 5}, {}, "process.oomScoreAdj", 5),
        ({"ConsoleSize": [10, 20]}, {"Tty": True}, "process.consoleSize", {"height": 10, "width": 20}),
        ({"ConsoleSize": [10, 20]}, {}, "process.consoleSize", None),
        ({"Init": True}, {}, "process.args", ["/sbin/docker-init", "--", "sh"]),
        ({"Sysctls": {"net.a": "1"}}, {}, "linux.sysctl", {"net.a": "1"}),
        ({"Privileged": True}, {}, "linux.seccomp", None),
        ({"Privileged": True}, {}, "linux.maskedPaths", []),
        ({"LogConfig": {"Type": "none"}}, {}, "minirund.log", None),
        ({}, {"OpenStdin": True, "StdinOnce": True}, "minirund.stdin_once", True),
        ({"Binds": ["/tmp:/t:rshared"]}, {}, "linux.rootfsPropagation", "rshared"),
        ({"Binds": ["/tmp:/t:slave"]}, {}, "linux.rootfsPropagation", "rslave"),
        ({}, {}, "linux.rootfsPropagation", "rprivate"),
        ({}, {}, "linux.cgroupsPath", "/minirund/x"),
    ],
)
def test_what_is_asked_for_is_there(host: Json, given: Json, path: str, value: Any) -> None:
    found: Any = config(host, **given)
    for key in path.split("."):
        found = found.get(key) if found is not None else None
    assert found == value


def test_namespaces_are_joined_or_the_host_s() -> None:
    found = config(joins={"network": "/proc/5/ns/net", "pid": "", "uts": ""}, Hostname="h")
    kinds = {entry["type"]: entry.get("path") for entry in found["linux"]["namespaces"]}
    assert kinds == {"ipc": None, "mount": None, "network": "/proc/5/ns/net", "cgroup": None}
    assert found["hostname"] == ""


def test_a_mount_of_the_user_s_takes_the_place_of_ours() -> None:
    found = config({"Binds": ["/tmp/h:/etc/hosts:ro"], "Tmpfs": {"/dev/shm": "size=1m"}, "Init": True})
    places = [mount["destination"] for mount in found["mounts"]]
    assert len(places) == len(set(places))
    by_place = {mount["destination"]: mount for mount in found["mounts"]}
    assert by_place["/etc/hosts"]["source"] == "/tmp/h"
    assert "size=1m" in by_place["/dev/shm"]["options"]
    assert by_place["/sbin/docker-init"]["source"] == "/usr/bin/tini"


@pytest.mark.parametrize(
    ("base", "more", "merged"),
    [
        ((), (), []), (("A=1",), ("A=2",), ["A=2"]), (("A=1", "B=1"), ("A=2",), ["A=2", "B=1"]), (("A=1",), ("A",), []),
        (("A=1",), ("A=",), ["A="]), ((), ("A=b=c",), ["A=b=c"]), ((), ("A",), []),
    ],
)  # fmt: skip
def test_environment(base: tuple[str, ...], more: tuple[str, ...], merged: list[str]) -> None:
    assert spec.merge_env(base, more) == merged


def test_term_comes_with_a_terminal() -> None:
    assert "TERM=xterm" in config(Tty=True)["process"]["env"]
    assert "TERM=linux" in config(Tty=True, Env=["TERM=linux"])["process"]["env"]


def test_an_exec_is_like_its_container_but_for_what_it_says() -> None:
    container = a_container(
        config={"User": "u", "WorkingDir": "/w", "Env": ["A=1"], "Tty": True},
        host_config={"ConsoleSize": [1, 2], "CapDrop": ["ALL"]},
    )
    plain = spec.exec_process(container, {"Cmd": ["ls"]}, False, None)
    assert (plain["args"], plain["cwd"], plain["user"]["username"], plain["terminal"]) == (["ls"], "/w", "u", False)
    assert "consoleSize" not in plain and "A=1" in plain["env"] and "TERM=xterm" not in plain["env"]
    wanted = {"Cmd": ["ls"], "User": "v", "WorkingDir": "/x", "Env": ["A=2"], "Privileged": True}
    special = spec.exec_process(container, wanted, True, (10, 20))
    assert (special["cwd"], special["user"]["username"], special["consoleSize"]) == (
        "/x",
        "v",
        {"height": 10, "width": 20},
    )
    assert "A=2" in special["env"] and "CAP_SYS_ADMIN" in special["capabilities"]["bounding"]
    assert plain["capabilities"]["bounding"] == []


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Sysctls": {"kernel.panic": "1"}}, "sysctl 'kernel.panic' is not allowed"),
        ({"Sysctls": {"net.x": "1"}, "NetworkMode": "host"}, "not allowed with --network=host"),
        ({"Sysctls": {"kernel.sem": "1"}, "IpcMode": "host"}, "not allowed with --ipc=host"),
        ({"Sysctls": {"fs.mqueue.x": "1"}, "IpcMode": "host"}, "not allowed with --ipc=host"),
    ],
)
def test_sysctls_of_the_host_are_refused(host: Json, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        spec.check_sysctls(host)


def test_sysctls_of_its_own_namespaces_are_fine() -> None:
    names = ("net.core.somaxconn", "kernel.sem", "fs.mqueue.queues_max", "net.ipv4.conf.eth7.rp_filter")
    spec.check_sysctls({"Sysctls": dict.fromkeys(names, "1")})


@pytest.mark.parametrize("name", ["net.nosuch", "net.core", "fs.mqueue.nosuch", "net.ipv4.nosuch.conf.x"])
def test_a_sysctl_that_the_kernel_has_not(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^sysctl '{name}' is not known to this kernel"):
        spec.check_sysctls({"Sysctls": {name: "1"}})
