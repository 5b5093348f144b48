"""Clients that break off, stall, or send what is no HTTP: the daemon goes on, and no descriptor or task stays."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from daemon import DaemonHost
from images import docker_archive, image
from waiting import PATIENCE, until

pytestmark = pytest.mark.root
UPGRADE = b"Host: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
HOST = b" HTTP/1.1\r\nHost: x\r\n"


def held(host: DaemonHost) -> tuple[int, int]:
    """Descriptors and tasks of the daemon."""
    return len(os.listdir(f"/proc/{host.pid}/fd")), host.api("GET", "/info")[1]["NGoroutines"]


@pytest.fixture(autouse=True)
def nothing_held(host: DaemonHost) -> Iterator[None]:
    host.settle()
    before = held(host)
    yield
    host.remove_containers()
    until(lambda: all(now <= then for now, then in zip(held(host), before, strict=True)))
    assert host.api("GET", "/_ping") == (200, "OK")
    assert "ERROR minirund" not in host.log_tail()


def send(host: DaemonHost, data: bytes, half_close: bool = False) -> bytes:
    """Send, and read until the daemon closes; b"" if it broke the connection off."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(host.socket)
        answer = b""
        try:
            client.sendall(data)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                answer += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
    return answer


def leave(host: DaemonHost, data: bytes) -> None:
    """Send and close without reading."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(host.socket)
        client.sendall(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00garbage\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:80" + HOST + b"\r\n",
        b"GET /containers/\0/json" + HOST + b"\r\n",
        b"GET /" + b"x" * 100_000 + HOST + b"\r\n",
        b"POST /containers/create" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\nabc\r\n",
        b"POST /containers/create" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n",
        b"POST /containers/create" + HOST + b"Content-Length: -5\r\n\r\n{}",
        b"POST /containers/create" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        b"POST /containers/create" + HOST + b"Content-Length: 2\r\nContent-Length: 50\r\n\r\n{}",
        b"POST /containers/create"
        + HOST
        + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=lambda data: ascii(data)[:50],
)
def test_what_is_no_http_is_refused_and_cut_off(host: DaemonHost, data: bytes) -> None:
    answer = send(host, data)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'{"message":"' in answer
    assert answer.count(b"HTTP/1.1") == 1  # nothing behind it was taken for a second request


def test_a_head_without_end_is_cut_off(host: DaemonHost) -> None:
    assert b" 200 " not in send(host, b"GET /_ping" + HOST + b"X: " + b"a" * 10_000_000 + b"\r\n\r\n")


def test_a_body_that_ends_early_is_no_request(host: DaemonHost) -> None:
    assert send(host, b"POST /containers/create" + HOST + b"Content-Length: 200\r\n\r\n{}", half_close=True) == b""
    assert host.api("GET", "/containers/json?all=1")[1] == []


def test_pipelined_requests_in_front_of_an_attach(host: DaemonHost) -> None:
    """What stands behind the upgrade goes to the container, and comes back."""
    host.cli("run", "-d", "-i", "--name", "echo", "busybox", "cat")
    ping, attach = (
        b"GET /_ping" + HOST + b"\r\n",
        b"POST /containers/echo/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n",
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(host.socket)
        client.sendall(ping * 3 + attach + UPGRADE + b"\r\n" + ping)
        answer = b""
        while not answer.endswith(ping):
            answer += client.recv(65536)
    assert (answer.count(b" 200 OK"), answer.count(b" 101 UPGRADED")) == (3, 1)


def test_500_connections_that_say_little(host: DaemonHost) -> None:
    with ExitStack() as stack:
        for number in range(500):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(host.socket)
            client.sendall(b"POST /containers/create HT" if number % 2 else b"")
        until(lambda: held(host)[0] > 500)
        assert host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def test_no_descriptors_left(host: DaemonHost) -> None:
    """More connections than the daemon may open: it serves again when they are gone."""
    limit = len(os.listdir(f"/proc/{host.pid}/fd")) + 20
    old = host.run("prlimit", "-p", str(host.pid), "-n", "-o", "SOFT", "--noheadings").stdout.strip()
    host.run("prlimit", "-p", str(host.pid), f"--nofile={limit}:", check=True)
    try:
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(host.socket)
        until(lambda: host.api("GET", "/_ping") == (200, "OK"))
    finally:
        host.run("prlimit", "-p", str(host.pid), f"--nofile={old}:", check=True)


def test_uploads_that_break_off(host: DaemonHost) -> None:
    data = docker_archive({"x:1": image({"big": os.urandom(3_000_000)})})
    head = b"POST /images/load" + HOST + b"Content-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % len(data)
    for size in (0, 600, 100_000, len(data) - 2000):
        leave(host, head + data[:size])
        send(host, head + data[:size], half_close=True)
    assert [one["RepoTags"] for one in host.api("GET", "/images/json")[1]] == [["busybox:latest"]]
    until(lambda: host.run("find", f"{host.state}/data/images/ingest", "-type", "f").stdout == "", "pieces stay")


def test_streams_that_are_left_at_once(host: DaemonHost) -> None:
    host.cli("run", "-d", "--name", "left", "busybox", "sleep", "1000")
    for _ in range(20):
        config = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
        made = host.api("POST", "/containers/left/exec", config)[1]["Id"].encode()
        leave(host, b"POST /exec/" + made + b"/start HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}")
        leave(host, b"POST /containers/left/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\n" + UPGRADE + b"\r\n")
        leave(host, b"POST /containers/left/wait" + HOST + b"\r\n")
        leave(host, b"GET /containers/left/logs?follow=1&stdout=1" + HOST + b"\r\n")
        leave(host, b"GET /events" + HOST + b"\r\n")
        leave(host, b"POST /images/create?fromImage=127.0.0.1:1/x" + HOST + b"Content-Length: 0\r\n\r\n")
    until(lambda: len(host.api("GET", "/containers/left/top")[1]["Processes"]) == 1)  # the cats have ended
    shim = next(pid for pid, command in host.commands().items() if command.startswith(b"minirund-shim"))
    until(lambda: len(os.listdir(f"/proc/{shim}/fd")) < 20)


@pytest.mark.parametrize("condition", ["not-running", "next-exit", "removed"])
def test_a_wait_is_answered_though_the_client_has_ended_its_side(host: DaemonHost, condition: str) -> None:
    host.cli("run", "-d", "--name", "awaited", "busybox", "sleep", "1000")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(host.socket)
        client.sendall(b"POST /containers/awaited/wait?condition=" + condition.encode() + HOST + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)
        assert host.cli("rm", "-f", "awaited").returncode == 0
        while piece := client.recv(65536):
            answer += piece
    assert b'{"StatusCode":137}' in answer


@pytest.mark.parametrize("pending", [["stop"], ["restart"], ["restart", "stop", "restart"]], ids=str)
def test_a_removal_by_force_waits_for_nobodys_stop(host: DaemonHost, pending: list[str]) -> None:
    """Clients have asked for an end within an hour, and left. The container does not act on SIGTERM."""
    host.cli("run", "-d", "--name", "deaf", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    for word in pending:
        leave(host, f"POST /containers/deaf/{word}?t=3600".encode() + HOST + b"\r\n")
    until(lambda: "busybox" in host.cli("ps").stdout)
    done = host.cli("rm", "-f", "deaf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "deaf\n", "")
    assert host.api("GET", "/containers/json?all=1")[1] == []


def test_a_client_that_never_reads(host: DaemonHost) -> None:
    """The container waits for it; the daemon does not, and holds none of the output."""
    host.cli("run", "-d", "--name", "talks", "busybox", "yes")
    with socket.socket(socket.AF_UNIX) as attached, socket.socket(socket.AF_UNIX) as logs:
        for client, request in ((attached, b"POST /containers/talks/attach?stream=1&stdout=1 HTTP/1.1\r\n" + UPGRADE),
                                (logs, b"GET /containers/talks/logs?follow=1&stdout=1" + HOST)):  # fmt: skip
            client.connect(host.socket)
            client.sendall(request + b"\r\n")
        assert host.cli("exec", "talks", "echo", "ok").stdout == "ok\n"
        assert host.cli("rm", "-f", "talks").returncode == 0
    assert host.api("GET", "/containers/json?all=1")[1] == []
