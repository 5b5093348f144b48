"""What is answered is on the disk before: the order of the daemon's system calls, as strace(1) sees them.

A power cut itself is for a machine of its own (tests/vm).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import soak
from daemon import TAR, DaemonHost
from images import busybox, docker_archive
from images import image as image_of
from waiting import PATIENCE, until

from minirund.engine.ready import SIZE

CALLS = "fdatasync,fsync,syncfs,sendto,write,writev"
SYNC = "fdatasync("


def quiet(host: DaemonHost) -> None:
    """Return when all from before is on the disk, and directories wait for the next containers."""
    assert host.api("POST", "/images/busybox/tag?repo=quiet&tag=1")[0] == 201  # its answer waits for all
    until(lambda: len(soak.names(soak.inside(host, "data/containers")) - listed(host)) > SIZE // 2, "none are ready")
    host.settle()


def listed(host: DaemonHost) -> set[str]:
    return {one["Id"] for one in host.api("GET", "/containers/json?all=1")[1]}


@contextmanager
def traced(host: DaemonHost, found: list[str]) -> Iterator[None]:
    """The calls that the daemon makes meanwhile, in the order in which they ended."""
    quiet(host)
    trace = host.directory / "trace"
    command = ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", str(trace), "-p", str(host.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait(PATIENCE)
    found += trace.read_text().splitlines()


def calls(lines: list[str]) -> Iterator[str]:
    """Each call's name and arguments at the line at which it has returned: of one that was interrupted, the second."""
    begun: dict[str, str] = {}
    for line in lines:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call
        else:
            yield begun.pop(thread) if call.startswith("<...") else call


def order(host: DaemonHost, method: str, path: str, body: Any = None, headers: Any = None) -> list[str]:
    """ "sync" and "answer" in the order in which they happened during a request."""
    lines: list[str] = []
    with traced(host, lines):
        status, answer = host.api(method, path, body, headers)
        assert status < 300, answer
    found = []
    for call in calls(lines):
        if call.startswith(SYNC) and "minirund.db-wal" in call:
            found.append("sync")
        elif "HTTP/1.1 " in call:
            found.append("answer")
        elif call.startswith("syncfs("):
            found.append("files")
        elif call.startswith("fsync(") and "/containers/" in call:
            found.append("directory")
    return found[: found.index("answer") + 1]


@pytest.fixture
def image(host: DaemonHost) -> Iterator[str]:
    yield "busybox"
    host.remove_containers()


def test_a_container(host: DaemonHost, image: str) -> None:
    found = order(host, "POST", "/containers/create?name=kept", {"Image": image})
    assert found == ["sync", "answer"]  # its directory was there before: see engine/ready.py
    assert order(host, "POST", "/containers/kept/rename?name=renamed") == ["sync", "answer"]


def test_many_containers(host: DaemonHost, image: str) -> None:
    """More than directories are ready for: the others' are brought to the disk before the answer."""
    lines: list[str] = []
    with traced(host, lines):
        made = [host.api("POST", "/containers/create", {"Image": image})[1]["Id"] for _ in range(2 * SIZE)]
    synced = " ".join(call for call in calls(lines) if call.startswith("fsync("))
    assert sum(f"/containers/{ident}>" not in synced for ident in made) <= SIZE


def test_nobody_waits_for_what_goes_anyway(host: DaemonHost, image: str) -> None:
    body = {"Image": image, "HostConfig": {"AutoRemove": True}}
    assert order(host, "POST", "/containers/create?name=goes", body) == ["answer"]


def test_an_image(host: DaemonHost) -> None:
    """A record only of what is on the disk; and none any more before that goes."""
    archive = docker_archive({"another:1": busybox()})
    lines: list[str] = []
    with traced(host, lines):
        assert host.api("POST", "/images/load?quiet=1", archive, TAR)[0] == 200
    names = [call.partition("(")[0] for call in calls(lines) if call.startswith(("syncfs(", SYNC))]
    assert names.index("syncfs") < names.index("fdatasync")
    assert order(host, "POST", "/images/another:1/tag?repo=third&tag=1") == ["sync", "answer"]
    assert "sync" in order(host, "DELETE", "/images/third:1")


def test_the_next_daemon_does_not_list_an_image_whose_layer_has_gone() -> None:
    with DaemonHost() as host:
        host.start()
        host.load_busybox()
        host.api("POST", "/images/load?quiet=1", docker_archive({"kept:1": image_of({"file": "kept"})}), TAR)
        chain = host.api("GET", "/images/busybox/json")[1]["RootFS"]["Layers"][0].removeprefix("sha256:")
        host.kill9()
        host.run("rm", "-r", str(host.state / f"data/layers/{chain[:16]}"), check=True)
        host.start()
        assert [one["RepoTags"] for one in host.api("GET", "/images/json")[1]] == [["kept:1"]]
        assert "busybox:latest is damaged and no longer listed" in host.log.read_text()
        host.load_busybox()
        assert host.cli("run", "--rm", "busybox", "echo", "works").stdout == "works\n"
