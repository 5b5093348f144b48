"""Figures of containers, as the docker command, docker-py and a bare socket get them from a live daemon.

This runs on machines whose controllers are cgroup v1's too: then memory is not counted, CPU time and PSI are.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from daemon import DaemonHost
from waiting import PATIENCE, until

from cgroups.cgroup import Cgroup, find_mount
from cgroups.stats import FILES, parse

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BUSY = ("sh", "-c", "while :; do :; done")


def has_psi() -> bool:
    try:
        return bool(Path("/proc/pressure/cpu").read_text())
    except OSError:
        return False


def start(host: DaemonHost, name: str, *command: str, **options: Any) -> str:
    body = {"Image": "busybox", "Cmd": list(command or ("sleep", "600")), **options}
    ident = host.api("POST", f"/containers/create?name={name}", body)[1]["Id"]
    assert host.api("POST", f"/containers/{ident}/start")[0] == 204
    return str(ident)


def used(frame: dict[str, Any]) -> float:
    """CPUs, as Docker's command calculates them."""
    cpu, before = frame["cpu_stats"], frame["precpu_stats"]
    own = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    return float(own / (cpu["system_cpu_usage"] - before["system_cpu_usage"]) * cpu["online_cpus"])


def nanoseconds(host: DaemonHost, name: str) -> int:
    """The processor time that the kernel says a container has had."""
    pid = host.api("GET", f"/containers/{name}/json")[1]["State"]["Pid"]
    group = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].removeprefix("0::")
    return parse(Cgroup(find_mount() + group).read_all(FILES)).cpu.usage * 1000


def says(host: DaemonHost, name: str, pattern: str) -> None:
    """Ask until it is the first answer. On a busy machine a container has waited for its start, and for some seconds
    that is the answer; the kernel adds up every two seconds."""

    def asked() -> bool:
        words = host.api("GET", f"/containers/{name}/stats?stream=0&why=1")[1]["waits_for"]
        print(words)
        return bool(re.fullmatch(pattern, words[0]))

    until(asked, f"never: {pattern}")


def test_docker_stats_lists_what_runs_and_with_all_what_does_not(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "runs")
    host.api("POST", "/containers/create?name=rests", {"Image": "busybox"})
    shown = host.docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}")
    assert (shown.stdout, shown.returncode) == ("runs 1\n", 0)
    shown = host.docker("stats", "--no-stream", "--all", "--format", "{{.Name}} {{.PIDs}} {{.CPUPerc}}")
    assert {*shown.stdout.splitlines()} >= {"rests 0 0.00%"}
    refused = host.docker("stats", "--no-stream", "nope")
    assert (refused.stderr, refused.returncode) == ("Error response from daemon: No such container: nope\n", 1)


def test_docker_stats_at_a_terminal_goes_on_until_it_is_ended(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "watched")
    master, slave = pty.openpty()
    process = subprocess.Popen(["docker", "stats", "watched"], env=host.environment, stdin=slave, stdout=slave)
    os.close(slave)
    try:
        seen, deadline = "", time.monotonic() + PATIENCE
        while seen.count("watched") < 3:
            assert select.select([master], [], [], deadline - time.monotonic())[0], seen
            seen += os.read(master, 4096).decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_docker_py_reads_once_and_in_a_stream(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "busy", *BUSY)
    container = client.containers.get("busy")
    before, once, after = nanoseconds(host, "busy"), container.stats(stream=False), nanoseconds(host, "busy")
    assert once["name"] == "/busy" and once["id"] == container.id
    assert before <= once["cpu_stats"]["cpu_usage"]["total_usage"] <= after
    assert 0 < used(once) < (os.cpu_count() or 1) + 0.1
    assert once["pids_stats"]["current"] == 1
    assert once["networks"]["eth0"]["tx_errors"] == 0
    frames = container.stats(decode=True)
    first, second = next(frames), next(frames)
    frames.close()
    assert second["preread"] == first["read"]
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["cpu_stats"]["cpu_usage"]["total_usage"] > first["cpu_stats"]["cpu_usage"]["total_usage"]


def test_one_shot_is_one_reading_with_none_before_it(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "once")
    found = host.api("GET", "/containers/once/stats?stream=0&one-shot=1")[1]
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > 0


@pytest.mark.skipif(not has_psi(), reason="the kernel runs without PSI")
def test_pressure_is_the_kernels(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "pressed")
    found = host.api("GET", "/containers/pressed/stats?stream=0&one-shot=1")[1]["pressure_stats"]
    assert set(found) == {"cpu", "memory", "io"}
    assert set(found["cpu"]["some"]) == {"avg10", "avg60", "avg300", "total"}


def test_one_that_wants_more_than_one_cpu_waits_for_it(host: DaemonHost, client: docker.DockerClient) -> None:
    host.api("POST", "/containers/create?name=quiet", {"Image": "busybox", "Cmd": ["sleep", "600"]})
    assert host.api("GET", "/containers/quiet/stats?stream=0&why=1")[1]["waits_for"] == ["does not run"]
    assert host.api("POST", "/containers/quiet/start")[0] == 204
    says(host, "quiet", r"waits for nothing: it used \d\.\d\d CPUs")
    many = "; ".join("(while :; do :; done) &" for _ in range(2 * (os.cpu_count() or 1))).replace("&;", "&")
    start(host, "crowd", "sh", "-c", f"{many} wait")
    if has_psi():
        says(host, "crowd", r"waits for CPU \d+% of the time: (its own processes want more|others keep) .*")


def test_the_hosts_network_is_not_the_containers(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "bare", HostConfig={"NetworkMode": "none"})
    start(host, "open", HostConfig={"NetworkMode": "host"})
    for name in ("bare", "open"):
        assert "networks" not in host.api("GET", f"/containers/{name}/stats?stream=0&one-shot=1")[1]


def test_network_figures_count_what_the_container_sends(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "sender", "sh", "-c", "while sleep 0.1; do ping -c 1 $(route -n | awk '/^0/{print $2}'); done")
    frames = client.containers.get("sender").stats(decode=True)
    first = next(frames)["networks"]["eth0"]
    for frame in frames:
        if frame["networks"]["eth0"]["tx_bytes"] > first["tx_bytes"]:
            break
    frames.close()


def lines(sock: socket.socket) -> Iterator[dict[str, Any]]:
    """The frames of a stream's chunked body."""
    with sock.makefile("rb") as file:
        while file.readline() != b"\r\n":
            pass
        while size := int(file.readline(), 16):
            yield json.loads(file.read(size))
            file.readline()


def test_a_stream_goes_on_with_zeros_when_the_container_ends_and_ends_with_it(
    host: DaemonHost, client: docker.DockerClient
) -> None:
    start(host, "mortal")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(host.socket)
        sock.sendall(b"GET /containers/mortal/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        frames = lines(sock)
        assert next(frames)["pids_stats"]["current"] == 1
        host.api("POST", "/containers/mortal/kill")
        assert any(frame["pids_stats"] == {} for frame in frames)
        host.api("DELETE", "/containers/mortal")
        assert all(frame["name"] == "/mortal" for frame in frames)  # to its end


def test_a_hundred_watchers_read_no_more_than_one(host: DaemonHost, client: docker.DockerClient) -> None:
    """All get the same readings: they are taken once."""
    start(host, "famous")
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for sock in sockets:
            sock.settimeout(PATIENCE)
            sock.connect(host.socket)
            sock.sendall(b"GET /containers/famous/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        streams = [lines(sock) for sock in sockets]
        times = [{frame["read"] for frame, _ in zip(stream, range(3), strict=False)} for stream in streams]
        assert len(set.union(*times)) <= 30  # one a second while they come; each its own would be 300
        assert all(len(each) == 3 for each in times)
    finally:
        for sock in sockets:
            sock.close()


def test_one_that_never_reads_holds_nobody_up(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "patient")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.connect(host.socket)
        deaf.sendall(b"GET /containers/patient/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        frames = client.containers.get("patient").stats(decode=True)
        assert len({next(frames)["read"] for _ in range(3)}) == 3
        frames.close()
        assert host.api("DELETE", "/containers/patient?force=1")[0] == 204


def test_a_paused_container_has_figures_and_says_that_it_is_paused(
    host: DaemonHost, client: docker.DockerClient
) -> None:
    start(host, "frozen")
    host.api("POST", "/containers/frozen/pause")
    found = host.api("GET", "/containers/frozen/stats?stream=0&why=1")[1]
    assert found["pids_stats"]["current"] == 1
    assert found["waits_for"] == ["is paused: unpause lets it go on"]
    host.api("POST", "/containers/frozen/unpause")


def test_minirun_stats_shows_what_docker_s_does(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "one")
    start(host, "two", *BUSY)
    host.api("POST", "/containers/create?name=rests", {"Image": "busybox"})
    form = ("--no-stream", "--format", "{{.Name}} {{.PIDs}}")
    assert host.cli("stats", *form).stdout == host.docker("stats", *form).stdout == "two 1\none 1\n"
    assert host.cli("stats", "--all", *form).stdout.splitlines()[0] == "rests 0"
    table = host.cli("stats", "--no-stream", "two").stdout.splitlines()
    assert re.split(r"\s{2,}", table[0])[-2:] == ["PIDS", "PRESSURE"]
    assert len(table) == 2
    refused = host.cli("stats", "one", "nope")
    assert (refused.stdout, refused.returncode) == ("", 1)
    assert refused.stderr == "Error response from daemon: No such container: nope\n"


def test_minirun_stats_goes_on_until_the_container_is_removed(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "brief")
    command = ["-c", "import sys; from minirund.cli import main; main()", "stats", "--format", "{{.Name}}", "brief"]
    with subprocess.Popen(
        [sys.executable, *command], env=host.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["brief\n"] * 2
        host.api("DELETE", "/containers/brief?force=1")
        assert process.wait(PATIENCE) == 0


def test_minirun_stats_why_says_it_in_words(host: DaemonHost, client: docker.DockerClient) -> None:
    start(host, "calm")
    host.api("POST", "/containers/create?name=rests", {"Image": "busybox"})
    nothing = re.compile(r"calm: waits for nothing: it used \d\.\d\d CPUs\n")
    until(lambda: nothing.fullmatch(host.cli("stats", "--why", "calm").stdout), "it waits for something")
    assert host.cli("stats", "--why", "rests").stdout == "rests: does not run\n"
