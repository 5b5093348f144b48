"""--cgroup-conf on a live daemon, with the files that every cgroup has: no controller is needed for cgroup.max.*.

The files of controllers are in tests/vm/test_vm_limits.py.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from daemon import DaemonHost

from cgroups.cgroup import find_mount

_numbers = itertools.count()


def file_of(host: DaemonHost, name: str, file: str) -> str:
    ident = host.api("GET", f"/containers/{name}/json")[1]["Id"]
    done = host.run("sh", "-c", f"cat {find_mount()}/minirund/{ident}/{file}")
    return done.stdout.strip() or done.stderr


def trials(host: DaemonHost) -> str:
    return host.run("sh", "-c", f"ls -d {find_mount()}/minirund-trial-* 2>/dev/null").stdout


def test_files_of_a_container_and_an_update(host: DaemonHost) -> None:
    name = f"conf-{next(_numbers)}"
    options = ("--cgroup-conf", "cgroup.max.depth=3", "--cgroup-conf", "cgroup.max.descendants=max")
    done = host.cli("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
    assert done.returncode == 0, done.stderr
    assert file_of(host, name, "cgroup.max.depth") == "3"
    assert host.api("GET", f"/containers/{name}/json")[1]["HostConfig"]["CgroupConf"] == {
        "cgroup.max.depth": "3", "cgroup.max.descendants": "max",
    }  # fmt: skip
    changes = ("--cgroup-conf", "cgroup.max.depth=", "--cgroup-conf", "cgroup.max.descendants=7")
    assert host.cli("update", *changes, name).stdout == f"{name}\n"
    assert file_of(host, name, "cgroup.max.depth") == "max"
    assert file_of(host, name, "cgroup.max.descendants") == "7"
    assert host.cli("restart", "-t", "0", name).returncode == 0
    assert file_of(host, name, "cgroup.max.depth") == "max"
    assert file_of(host, name, "cgroup.max.descendants") == "7"
    assert trials(host) == ""


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cgroup.max.depth=deep", "--cgroup-conf cgroup.max.depth: 'deep': the kernel says invalid argument"),
        ("cgroup.max.depth=-1", "the kernel says numerical result out of range"),
        ("cgroup.procs=1", "'cgroup.procs' is no limit of the controller cgroup"),
        ("cgroup.max.depth=", "one line is wanted"),
        ("cgroup.max.depth", "one line is wanted"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(host: DaemonHost, word: str, message: str) -> None:
    before = host.cli("ps", "-aq").stdout
    done = host.cli("create", "--cgroup-conf", word, "busybox")
    assert message in done.stderr
    assert done.returncode == 1
    assert host.cli("ps", "-aq").stdout == before
    assert trials(host) == ""


def test_an_update_that_is_refused_changes_nothing(host: DaemonHost) -> None:
    name = f"conf-{next(_numbers)}"
    host.cli("run", "-d", "--name", name, "--cgroup-conf", "cgroup.max.depth=3", "busybox", "sleep", "1000")
    changes = ("--cgroup-conf", "cgroup.max.depth=5", "--cgroup-conf", "cgroup.max.descendants=many")
    done = host.cli("update", *changes, name)
    assert (done.returncode, "--cgroup-conf cgroup.max.descendants: 'many'" in done.stderr) == (1, True)
    assert file_of(host, name, "cgroup.max.depth") == "3"


def test_a_controller_that_the_host_has_not_is_named(host: DaemonHost) -> None:
    if "memory" in Path(find_mount(), "cgroup.controllers").read_text().split():
        pytest.skip("this host has all that is asked for")
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"CgroupConf": {"memory.high": "64M"}}}
    status, answer = host.api("POST", "/containers/create", body)
    assert status == 501
    assert answer["message"].startswith("--cgroup-conf memory.high needs the cgroup v2 controller 'memory'")
