"""`--cgroup-parent`, of containers and of the daemon: where the cgroup is, who removes the parent, what is refused.

What controllers do to it is in tests/vm/test_vm_cgroups.py: this runs on hosts that may have none on cgroup v2.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import DaemonFailed, DaemonHost
from waiting import until

from cgroups.cgroup import Cgroup


def whole(host: DaemonHost, name: str) -> Any:
    return host.api("GET", f"/containers/{name}/json")[1]


def run(host: DaemonHost, name: str, *options: str) -> str:
    """A container that runs; its ID."""
    started = host.cli("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")
    assert started.returncode == 0, started.stderr
    return started.stdout.strip()


def lives_in(host: DaemonHost, name: str, path: str) -> bool:
    """Whether its init is in this cgroup of the host's."""
    return whole(host, name)["State"]["Pid"] in Cgroup(host.group.path + path).processes()


@pytest.fixture
def name(host: DaemonHost, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"parent-{abs(hash(request.node.name))}"
    yield name
    host.api("DELETE", f"/containers/{name}?force=1")


@pytest.mark.parametrize(("asked", "parent"), [("/team/build", "/team/build"), ("team", "/team"), ("//t/./u/", "/t/u")])
def test_a_container_lives_below_the_parent_that_it_asks_for(
    host: DaemonHost, name: str, asked: str, parent: str
) -> None:
    ident = run(host, name, "--cgroup-parent", asked)
    assert lives_in(host, name, f"{parent}/{ident}")
    assert whole(host, name)["HostConfig"]["CgroupParent"] == asked
    assert host.cli("exec", name, "cat", "/proc/self/cgroup").stdout.splitlines()[-1] == "0::/"
    assert host.cli("stop", "-t", "0", name).returncode == 0
    top = parent.split("/")[1]
    assert not Path(host.group.path, top).exists()
    assert host.cli("start", name).returncode == 0
    assert lives_in(host, name, f"{parent}/{ident}")


def test_the_namespace_of_cgroups_is_its_own_or_the_host_s(host: DaemonHost, name: str) -> None:
    ident = run(host, name, "--cgroup-parent", "/team", "--cgroupns", "host")
    assert host.cli("exec", name, "cat", "/proc/self/cgroup").stdout.splitlines()[-1] == f"0::/team/{ident}"


def test_a_parent_stays_while_another_container_lives_in_it(host: DaemonHost, name: str) -> None:
    run(host, name, "--cgroup-parent", "/team")
    assert host.cli("run", "--rm", "--cgroup-parent", "/team", "busybox", "true").returncode == 0
    assert Path(host.group.path, "team").exists()


def test_a_parent_of_somebody_elses_stays(host: DaemonHost, name: str) -> None:
    parent = Path(host.group.path, "owned")
    parent.mkdir()
    run(host, name, "--cgroup-parent", "/owned/below")
    host.cli("rm", "-f", name)
    assert [entry.name for entry in parent.iterdir() if entry.is_dir()] == []
    parent.rmdir()


def test_after_its_shim_was_killed_the_parent_goes_too(host: DaemonHost, name: str) -> None:
    ident = run(host, name, "--cgroup-parent", "/team")
    shim = Path(host.state, "run/containers", ident, "shim.pid")
    pid = int(host.run("cat", str(shim)).stdout.split()[0])
    os.kill(pid, 9)
    until(lambda: not whole(host, name)["State"]["Running"], "it runs on")
    assert whole(host, name)["State"]["ExitCode"] == 137
    assert not Path(host.group.path, "team").exists()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("../../x", "'..' is not allowed in it"),
        ("/cgroup.procs/x", "are those of a cgroup's files"),
        ("team/threads/x", "/team is 'domain threaded'"),
        ("x" * 256, "at most 255 bytes"),
    ],
)
def test_a_parent_that_can_not_be_is_refused_and_nothing_is_made(host: DaemonHost, asked: str, why: str) -> None:
    team = Path(host.group.path, "team")
    (team / "threads").mkdir(parents=True)
    (team / "threads/cgroup.type").write_text("threaded")
    before = sorted(os.listdir(host.group.path))
    body = {"Image": "busybox", "HostConfig": {"CgroupParent": asked}}
    status, answer = host.api("POST", "/containers/create?name=refused", body)
    after = sorted(os.listdir(host.group.path))
    (team / "threads").rmdir()
    team.rmdir()
    assert (status, before) == (400, after)
    assert answer["message"].startswith(f"invalid cgroup parent (--cgroup-parent) {asked!r}: ")
    assert why in answer["message"] and "\n" not in answer["message"]
    assert host.api("GET", "/containers/refused/json")[0] == 404


def test_a_parent_that_went_bad_meanwhile_fails_the_start_alone(host: DaemonHost, name: str) -> None:
    assert host.cli("create", "--name", name, "--cgroup-parent", "/later", "busybox", "true").returncode == 0
    later = Path(host.group.path, "later")
    later.mkdir()
    (later / "cgroup.max.descendants").write_text("0")
    failed = host.cli("start", name)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert len(failed.stderr.splitlines()) <= 2 and f"/later/{whole(host, name)['Id']}" in failed.stderr
    later.rmdir()
    assert host.cli("start", name).returncode == 0


def test_the_daemons_parent_by_option_and_by_daemon_json(own_host: DaemonHost) -> None:
    own_host.config.write_text(json.dumps({"cgroup-parent": "from/json"}))
    own_host.start()
    own_host.load_busybox()
    ident = run(own_host, "one")
    assert lives_in(own_host, "one", f"/from/json/{ident}")
    own_host.config.write_text("{}")
    own_host.restart("--cgroup-parent", "/option")
    assert lives_in(own_host, "one", f"/from/json/{ident}")
    assert lives_in(own_host, "two", f"/option/{run(own_host, 'two')}")
    assert own_host.cli("stop", "-t", "0", "one", "two").returncode == 0
    assert own_host.cli("start", "one").returncode == 0
    assert lives_in(own_host, "one", f"/option/{ident}")
    own_host.cli("rm", "-f", "one", "two")
    own_host.restart("--cgroup-parent", "/from/json")  # what the first made, it takes away
    assert not Path(own_host.group.path, "option").exists()


def test_a_daemon_is_not_started_below_what_can_be_no_parent(own_host: DaemonHost) -> None:
    before = sorted(os.listdir(own_host.group.path))
    with pytest.raises(DaemonFailed, match=r"^minirund: invalid cgroup parent \(--cgroup-parent\) 'a/\.\./b': '\.\.'"):
        own_host.start("--cgroup-parent", "a/../b")
    assert sorted(os.listdir(own_host.group.path)) == before
    assert own_host.run("ip", "-o", "link", "show", "minirun0").returncode != 0


def test_containers_of_a_version_that_kept_no_path_are_found(own_host: DaemonHost) -> None:
    """Their cgroup is the one in config.json. They are measured, paused, stopped and cleaned up there."""
    own_host.start("--cgroup-parent", "/older")
    own_host.load_busybox()
    ident = run(own_host, "one")
    run(own_host, "two")
    own_host.kill9()
    forget = Path(own_host.directory, "forget.py")
    forget.write_text(FORGET)
    subprocess.run(own_host.inside("python3", str(forget), f"{own_host.state}/data/minirund.db"), check=True)
    own_host.start("--cgroup-parent", "/newer")
    assert lives_in(own_host, "one", f"/older/{ident}")
    _, stats = own_host.api("GET", "/containers/one/stats?stream=0&one-shot=1")
    assert stats["pids_stats"]["current"] == 1
    assert own_host.cli("pause", "one").returncode == 0
    assert (Path(own_host.group.path, "older", ident, "cgroup.freeze")).read_text() == "1\n"
    assert own_host.cli("rm", "-f", "one").returncode == 0
    assert own_host.cli("stop", "-t", "0", "two").returncode == 0
    assert [entry for entry in os.scandir(f"{own_host.group.path}/older") if entry.is_dir()] == []
    assert own_host.cli("start", "two").returncode == 0
    assert lives_in(own_host, "two", f"/newer/{whole(own_host, 'two')['Id']}")
    own_host.cli("rm", "-f", "two")
    own_host.restart("--cgroup-parent", "/older")


FORGET = """
import json, sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    for ident, text in database.execute("SELECT id, record FROM containers").fetchall():
        record = json.loads(text)
        assert record.pop("cgroup")
        database.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps(record), ident))
"""
