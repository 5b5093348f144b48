"""A full disk under the daemon: an error for who wants more, nothing lost of what is, all works when there is room."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import TAR, DaemonHost
from images import docker_archive, image
from inside import SmallDisk, network_of
from scripted_registry import scripted_registry
from test_bad_input_requests import refused
from waiting import until

pytestmark = pytest.mark.root
FULL = "disk is full"


@pytest.fixture
def disk(own_host: DaemonHost) -> Iterator[SmallDisk]:
    small = SmallDisk(own_host, 24)
    yield small
    if own_host.daemon and own_host.daemon.poll() is None:
        own_host.remove_containers()
        own_host.stop()
    small.close()


def states(host: DaemonHost) -> dict[str, str]:
    found = host.api("GET", "/containers/json?all=1")[1]
    return {container["Names"][0][1:]: container["State"] for container in found}


def running(host: DaemonHost, *names: str) -> None:
    for name in names:
        assert host.cli("run", "-d", "--name", name, "busybox", "sleep", "1000").returncode == 0


def test_a_pull_and_a_load_that_do_not_fit(own_host: DaemonHost, disk: SmallDisk) -> None:
    own_host.start()
    own_host.load_busybox()
    before = disk.files()
    big = image({"big": os.urandom(30_000_000)}, {"small": b"1"})
    with network_of(own_host), scripted_registry() as registry:
        registry.add("big", big)
        for command in (own_host.cli, own_host.docker):
            done = command("pull", f"{registry.address}/big")
            assert (done.returncode, "no space left on device" in done.stderr) == (1, True)
    answer = own_host.api("POST", "/images/load?quiet=1", docker_archive({"big": big}), TAR)[1]
    assert "no space left on device" in answer["errorDetail"]["message"]
    assert [one["RepoTags"] for one in own_host.api("GET", "/images/json")[1]] == [["busybox:latest"]]
    own_host.kill9()
    own_host.start()  # clears up what is of no use
    assert [path for path in disk.files() if path not in before and "ingest" not in path] == []
    assert own_host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def test_nothing_new_is_made_and_all_that_is_goes_on(own_host: DaemonHost, disk: SmallDisk) -> None:
    own_host.start()
    own_host.load_busybox()
    running(own_host, "goes-on")
    own_host.cli("create", "--name", "made", "busybox", "echo", "made")
    disk.fill()
    refused(own_host.api("POST", "/containers/create?name=never", {"Image": "busybox"}), 500, FULL)
    done = own_host.docker("run", "--rm", "busybox", "true")
    assert (done.returncode, FULL in done.stderr) == (125, True)
    refused(own_host.api("POST", "/containers/made/start"), 500, "no space left on device")
    assert states(own_host) == {"goes-on": "running", "made": "created"}
    assert own_host.cli("rename", "made", "renamed").returncode == 0  # the database's log has room of its own
    assert own_host.cli("tag", "busybox", "other").returncode == 0
    assert states(own_host) == {"goes-on": "running", "renamed": "created"}
    own_host.kill9()
    own_host.start()  # the disk is as full as it was
    assert disk.room == 0
    assert states(own_host) == {"goes-on": "running", "renamed": "created"}
    assert [one["RepoTags"] for one in own_host.api("GET", "/images/json")[1]] == [["busybox:latest", "other:latest"]]
    disk.free()
    assert own_host.cli("start", "-a", "renamed").stdout == "made\n"
    assert own_host.cli("rename", "renamed", "other").returncode == 0
    assert states(own_host) == {"goes-on": "running", "other": "exited"}


def ended(host: DaemonHost, name: str) -> Callable[[], bool]:
    return lambda: states(host).get(name) == "exited"


def test_ends_are_recorded_and_space_can_be_made(own_host: DaemonHost, disk: SmallDisk) -> None:
    """kill, pause, rm and rmi write to the database, too; what happens by itself is never lost."""
    own_host.start()
    own_host.load_busybox()
    running(own_host, "paused", "killed", "removed")
    own_host.cli(
        "run", "-d", "-i", "--name", "exits", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 5"
    )
    disk.fill()
    assert own_host.cli("exec", "exits", "mkdir", "/go").returncode in {0, 1}
    own_host.cli("kill", "exits")
    assert own_host.cli("kill", "killed").returncode == 0
    until(ended(own_host, "killed"))
    until(ended(own_host, "exits"))
    assert own_host.cli("pause", "paused").returncode == 0
    assert own_host.cli("rm", "-f", "removed").returncode == 0
    expected = {"paused": "paused", "killed": "exited", "exits": "exited"}
    assert states(own_host) == expected
    own_host.kill9()
    own_host.start()
    assert states(own_host) == expected
    own_host.remove_containers()
    assert own_host.cli("rmi", "busybox").returncode == 0
    disk.free()
    own_host.load_busybox()
    assert own_host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def test_an_end_while_the_disk_is_full_and_no_daemon_is_there(own_host: DaemonHost, disk: SmallDisk) -> None:
    own_host.start()
    own_host.load_busybox()
    for name, code in (("none", "0"), ("five", "5")):
        script = f"trap 'exit {code}' TERM; echo ready; while :; do sleep 0.05; done"
        assert own_host.cli("run", "-d", "--name", name, "busybox", "sh", "-c", script).returncode == 0
    until(lambda: all(own_host.cli("logs", name).stdout == "ready\n" for name in ("none", "five")))
    inits = [own_host.api("GET", f"/containers/{name}/json")[1]["State"]["Pid"] for name in ("none", "five")]
    own_host.kill9()
    disk.fill()
    for init in inits:
        os.kill(init, signal.SIGTERM)
    until(lambda: not any(os.path.exists(f"/proc/{init}") for init in inits))
    until(lambda: not shims(own_host))
    own_host.start()
    codes = [own_host.api("GET", f"/containers/{name}/json")[1]["State"]["ExitCode"] for name in ("none", "five")]
    assert codes == [0, 5]
    disk.free()
    assert own_host.cli("start", "five").returncode == 0
    assert own_host.cli("kill", "five").returncode == 0
    assert own_host.api("GET", "/containers/five/json")[1]["State"]["ExitCode"] == 137


def shims(host: DaemonHost) -> list[Path]:
    return list(Path(f"/proc/{host.holder}/root{host.state}/run").glob("containers/*/shim.sock"))


def test_the_reserve_is_used_up(own_host: DaemonHost, disk: SmallDisk) -> None:
    """Then a change that has come to pass is in memory, and on the disk as soon as there is room."""
    own_host.start()
    own_host.load_busybox()
    running(own_host, "first", "second")
    disk.fill()
    assert own_host.cli("kill", "first").returncode == 0
    disk.fill()  # the room that was kept, too
    assert own_host.cli("kill", "second").returncode == 0
    until(ended(own_host, "second"))
    refused(own_host.api("POST", "/containers/create", {"Image": "busybox"}), 500, FULL)
    disk.free()
    assert own_host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"
    own_host.kill9()
    own_host.start()
    assert states(own_host) == {"first": "exited", "second": "exited"}


def test_a_container_fills_the_disk(own_host: DaemonHost, disk: SmallDisk) -> None:
    own_host.start()
    own_host.load_busybox()
    done = own_host.cli("run", "--name", "greedy", "busybox", "sh", "-c", "cat /dev/zero >/full; echo told; exit 7")
    assert done.returncode in {7, 125}  # 125 if not even the end of it can be told
    assert "No space left on device" in done.stderr
    until(ended(own_host, "greedy"))
    assert own_host.api("GET", "/containers/greedy/json")[1]["State"]["ExitCode"] == 7
    assert own_host.cli("rm", "greedy").returncode == 0
    until(lambda: disk.room > 10 << 20)
    assert own_host.docker("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def test_a_daemon_starts_on_a_full_disk(own_host: DaemonHost, disk: SmallDisk) -> None:
    own_host.start()
    own_host.load_busybox()
    running(own_host, "stays")
    disk.fill()
    own_host.restart()
    assert states(own_host) == {"stays": "running"}
    disk.free()
    assert own_host.cli("exec", "stays", "echo", "ok").stdout == "ok\n"
