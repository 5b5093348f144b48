"""systemd's cgroups: containers and shims live in scopes that it has delegated, whatever becomes of the service."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import waiting
from guest import IMAGE, inspect, minirun, systemctl

SERVICE = "minirund.service"
CGROUPS = Path("/sys/fs/cgroup")
CONFIG = Path("/etc/minirund/daemon.json")
LIMITS = {"memory.max": f"{64 << 20}\n", "pids.max": "20\n", "cpu.max": "50000 100000\n", "memory.swap.max": "0\n"}
OPTIONS = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "20", "--cpus", "0.5")
FORKS = "for i in $(seq 30); do sleep 60 & done; wait"
EATS = "x=0123456789abcdef; while true; do x=$x$x; done"


def path_of(pid: str | int) -> Path:
    """The directory of a process's cgroup."""
    return CGROUPS / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def of_container(name: str) -> Path:
    return path_of(inspect(name)["State"]["Pid"])


def shim_of(name: str) -> int:
    """The parent of the container's init."""
    status = Path(f"/proc/{inspect(name)['State']['Pid']}/status").read_text()
    return int(status.partition("\nPPid:")[2].split()[0])


def scopes() -> set[str]:
    """Our scopes that systemd knows."""
    shown = systemctl("list-units", "--all", "--plain", "--no-legend", "minirund-*.scope")
    return {line.split()[0] for line in shown.splitlines()}


def main_pid() -> int:
    return int(systemctl("show", "--property=MainPID", "--value", SERVICE))


until = partial(waiting.until, pause=0.2)


def kill_the_daemon() -> None:
    before = main_pid()
    systemctl("kill", "--signal=KILL", "--kill-who=main", SERVICE)
    until(lambda: main_pid() not in (0, before))


@contextmanager
def configured(**options: Any) -> Iterator[None]:
    """The service with a daemon.json; afterwards again without, and without its directory."""
    CONFIG.parent.mkdir()
    CONFIG.write_text(json.dumps(options))
    try:
        systemctl("restart", SERVICE)
        yield
    finally:
        CONFIG.unlink()
        CONFIG.parent.rmdir()
        systemctl("restart", SERVICE)


HAPPENINGS: dict[str, Callable[[], object]] = {
    "restart": lambda: systemctl("restart", SERVICE),
    "kill -9": kill_the_daemon,
    "daemon-reload": lambda: systemctl("daemon-reload"),
    "daemon-reexec": lambda: systemctl("daemon-reexec"),
    "stop, start": lambda: (systemctl("stop", SERVICE), systemctl("start", SERVICE)),
}


def test_containers_and_shims_are_in_a_scope_that_systemd_has_delegated(name: str) -> None:
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    assert minirun("info", "--format", "{{.CgroupDriver}}") == "systemd\n"
    group = of_container(name)
    scope = group.parent
    assert group.name == inspect(name)["Id"]
    assert scope.parent == CGROUPS / "system.slice"
    assert path_of(shim_of(name)) == scope / "shims"
    assert (scope / "cgroup.procs").read_text() == ""
    shown = systemctl("show", scope.name, "--property=Delegate,TasksMax,ActiveState,Slice", "--value").split()
    assert sorted(shown) == ["active", "infinity", "system.slice", "yes"]
    tree = subprocess.run(["systemd-cgls", "--no-pager", str(scope)], check=True, capture_output=True, text=True)
    assert "sleep 600" in tree.stdout
    assert (CGROUPS / "system.slice" / SERVICE / "cgroup.procs").read_text().split() == [str(main_pid())]


def test_the_cgroup_and_its_limits_stay_whatever_happens_to_the_service(name: str) -> None:
    """The same directory with the same in its files. A later daemon can change it, and what it starts has a place."""
    minirun("run", "-d", "--name", name, *OPTIONS, IMAGE, "sleep", "600")
    group, pid, shim = of_container(name), inspect(name)["State"]["Pid"], shim_of(name)
    inode = group.stat().st_ino
    for what, happens in HAPPENINGS.items():
        happens()
        minirun("version")
        assert (path_of(pid), path_of(shim)) == (group, group.parent / "shims"), what
        assert (inspect(name)["State"]["Pid"], group.stat().st_ino) == (pid, inode), what
        assert {file: (group / file).read_text() for file in LIMITS} == LIMITS, what
    assert "can't fork" in minirun("exec", name, "sh", "-c", FORKS, code=2)
    minirun("update", "--pids-limit", "40", name)
    assert (group / "pids.max").read_text() == "40\n"
    minirun("run", "--rm", *OPTIONS, IMAGE, "true")
    until(lambda: len(scopes()) == 2)  # the container's, and that of the new spawner; the others' are collected


def cgroups_of_ours() -> list[str]:
    """All directories with a name of ours; one that goes meanwhile is passed over."""
    found = (os.path.basename(path) for path, *_ in os.walk(CGROUPS))
    return [name for name in found if name == "minirund" or name.startswith("minirund-")]


def test_nothing_is_left_when_all_has_been_removed() -> None:
    until(lambda: len(scopes()) == 1)
    systemctl("stop", SERVICE)
    until(lambda: not scopes())
    until(lambda: not cgroups_of_ours(), "systemd keeps their cgroups")
    assert minirun("run", "--rm", IMAGE, "echo", "again") == "again\n"


def parent_of(pid: str) -> str:
    """The shim of a container that has just been removed may be about to end, and then has none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    return ""


def test_a_spawner_that_is_killed_has_a_successor_in_another_scope(name: str) -> None:
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    before = scopes()
    shims = (of_container(name).parent / "shims/cgroup.procs").read_text().split()
    (spawner,) = [int(pid) for pid in shims if parent_of(pid) == str(main_pid())]
    os.kill(spawner, 9)
    minirun("restart", "-t", "0", name)
    assert of_container(name).parent.name not in before
    until(lambda: not scopes() & before)


def test_who_stops_a_scope_ends_its_containers_and_no_others(name: str) -> None:
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    scope = of_container(name).parent.name
    systemctl("stop", scope)
    until(lambda: not inspect(name)["State"]["Running"])
    minirun("start", name)
    assert of_container(name).parent.name != scope


def test_the_limits_of_a_slice_hold_for_the_containers_in_it(name: str) -> None:
    systemctl("set-property", "--runtime", "team.slice", "TasksMax=8", "MemoryMax=24M", "MemorySwapMax=0")
    place = ("--name", name, "--cgroup-parent", "team.slice", IMAGE)
    assert "can't fork" in minirun("run", "--rm", *place, "sh", "-c", FORKS, code=2)
    minirun("run", *place, "sh", "-c", EATS, code=137)
    assert inspect(name)["State"]["OOMKilled"]
    until(lambda: not list((CGROUPS / "team.slice").glob("*.scope")))


def test_a_container_in_a_slice_outlives_the_daemon_and_can_be_restarted_at_once(name: str) -> None:
    minirun("run", "-d", "--name", name, *OPTIONS, "--cgroup-parent", "team-a.slice", IMAGE, "sleep", "600")
    group = of_container(name)
    assert group.parents[1] == CGROUPS / "team.slice/team-a.slice"
    assert path_of(shim_of(name)) == group.parent / "shims"
    kill_the_daemon()
    assert of_container(name) == group
    assert {file: (group / file).read_text() for file in LIMITS} == LIMITS
    for _ in range(2):
        minirun("restart", "-t", "0", name)
    assert of_container(name).parents[1] == group.parents[1]
    until(lambda: not group.parent.exists())


def test_a_slice_that_can_not_be_is_refused_in_one_line(name: str) -> None:
    refused = minirun("create", "--name", name, "--cgroup-parent", "a--b.slice", IMAGE, code=1)
    assert 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' in refused
    assert len(refused.splitlines()) == 1


def test_without_the_systemd_driver_and_then_all_in_a_slice(name: str) -> None:
    """As after an upgrade from a version that had all containers in /minirund: found, measured, changed, cleaned up."""
    with configured(**{"exec-opts": ["native.cgroupdriver=cgroupfs"]}):
        assert minirun("info", "--format", "{{.CgroupDriver}}") == "cgroupfs\n"
        minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sleep", "600")
        refused = minirun("create", "--cgroup-parent", "team.slice", IMAGE, code=1)
        assert "'team.slice': slices are systemd's, and the cgroup driver is cgroupfs" in refused
        assert len(refused.splitlines()) == 1
        CONFIG.write_text(json.dumps({"cgroup-parent": "engine.slice"}))
        systemctl("restart", SERVICE)
        group = of_container(name)
        assert group == CGROUPS / "minirund" / inspect(name)["Id"]
        minirun("update", "--memory", "48m", "--memory-swap", "48m", name)
        assert (group / "memory.max").read_text() == f"{48 << 20}\n"
        assert "/ 48MiB" in minirun("stats", "--no-stream", name)
        minirun("restart", "-t", "0", name)
        assert not group.exists()
        scope = of_container(name).parent
        assert (scope.parent, path_of(shim_of(name))) == (CGROUPS / "engine.slice", scope / "shims")


def test_a_systemd_that_makes_no_scope_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    """In one line after systemd's own; it leaves nothing."""
    said = tmp_path / "systemd-run"
    said.write_text("#!/bin/sh\necho 'Failed to start transient scope unit: no.' >&2\nexit 1\n")
    said.chmod(0o755)
    before = scopes()
    options = ("-H", f"unix://{tmp_path}/sock", "--data-root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/run")
    ended = subprocess.run(
        ["/usr/local/bin/minirund", *options, "--bridge", "mrd-test0"],
        check=False, capture_output=True, text=True, timeout=120, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Failed to start transient scope unit: no." in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("minirund: systemd did not make the scope minirund-")
    assert last.endswith("--exec-opt native.cgroupdriver=cgroupfs does without")
    assert scopes() == before
    assert not Path("/sys/class/net/mrd-test0").exists()
