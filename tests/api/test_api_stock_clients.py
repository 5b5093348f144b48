"""The stock `docker` command and docker-py drive a live daemon: what they send, what they expect back."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import pytest
from daemon import DaemonHost
from waiting import PATIENCE, until

# docker-py leaves its sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@contextmanager
def terminal(host: DaemonHost, *words: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`docker WORDS` at a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["docker", *words], env=host.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield master, process
    finally:
        process.kill()
        process.wait()
        os.close(master)


def shown(master: int, text: bytes) -> None:
    """Read until this is shown."""
    seen, deadline = b"", time.monotonic() + PATIENCE
    while text not in seen:
        left = deadline - time.monotonic()
        assert left > 0, seen
        assert select.select([master], [], [], left)[0], seen
        seen += os.read(master, 4096)


# ---- the docker command


def test_run_prints_and_returns_the_exit_code(host: DaemonHost) -> None:
    done = host.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 5)
    assert host.docker("ps", "-aq").stdout == ""


def test_run_reads_standard_input_to_its_end(host: DaemonHost) -> None:
    text = "line\n" * 100_000
    done = host.docker("run", "--rm", "-i", "busybox", "md5sum", input=text)
    assert done.stdout == host.docker("run", "--rm", "-i", "busybox", "md5sum", input=text).stdout
    assert host.docker("run", "--rm", "-i", "busybox", "wc", "-c", input=text).stdout.strip() == str(len(text))
    assert host.docker("run", "--rm", "-i", "busybox", "cat").stdout == ""


def test_output_without_a_reader_for_a_while_is_whole(host: DaemonHost) -> None:
    done = host.docker("run", "--rm", "busybox", "seq", "200000")
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 200_001))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("busybox", "nope"), 127, "executable file not found in $PATH"),
        (("busybox", "/etc"), 126, "/etc"),
        (("-p", "80:80", "busybox", "true"), 125, "published ports (-p) are not offered yet"),
        (("--name", "a$b", "busybox", "true"), 125, "Invalid container name (a$b)"),
        (("--volumes-from", "x", "busybox", "true"), 125, "--volumes-from"),
    ],
)
def test_runs_that_fail(host: DaemonHost, words: tuple[str, ...], code: int, message: str) -> None:
    done = host.docker("run", "--rm", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert host.docker("ps", "-aq").stdout == ""


def test_a_life(host: DaemonHost) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    ident = host.docker("run", "-d", "--name", "life", "busybox", "sh", "-c", script).stdout.strip()
    until(lambda: host.docker("logs", "life").stdout == "up\n")
    assert "Up " in host.docker("ps", "--format", "{{.Names}} {{.Status}}").stdout
    assert host.docker("exec", "life", "cat", "/proc/1/comm").stdout == "sh\n"
    assert host.docker("exec", "-i", "life", "cat", input="in").stdout == "in"
    assert host.docker("exec", "life", "sh", "-c", "exit 9").returncode == 9
    assert host.docker("top", "life").stdout.count("sh -c trap") == 1
    assert host.docker("pause", "life").returncode == 0
    assert "(Paused)" in host.docker("ps", "--format", "{{.Status}}").stdout
    assert "is paused" in host.docker("exec", "life", "true").stderr
    assert host.docker("unpause", "life").returncode == 0
    assert host.docker("rename", "life", "other").returncode == 0
    assert host.docker("inspect", "-f", "{{.State.Running}} {{.Id}}", "other").stdout == f"true {ident}\n"
    assert host.docker("stop", "-t", "10", "other").stdout == "other\n"
    assert host.docker("wait", "other").stdout == "3\n"
    assert host.docker("logs", "--tail", "1", "other").stdout == "bye\n"
    assert host.docker("start", "other").returncode == 0
    assert host.docker("rm", "other").returncode == 1
    assert host.docker("rm", "-f", "other").stdout == "other\n"
    assert "No such object: other" in host.docker("inspect", "other").stderr


def test_run_at_a_terminal(host: DaemonHost) -> None:
    with terminal(host, "run", "-it", "--name", "tty", "busybox", "sh") as (master, process):
        shown(master, b"# ")
        os.write(master, b"tty; echo $((6*7))\n")
        shown(master, b"/dev/pts/0\r\n42")
        os.write(master, b"\x10\x11")
        assert process.wait(PATIENCE) == 0
    assert host.docker("inspect", "-f", "{{.State.Running}}", "tty").stdout == "true\n"
    with terminal(host, "attach", "tty") as (master, process):
        os.write(master, b"echo $((7*8)); exit 4\n")
        shown(master, b"56")
        assert process.wait(PATIENCE) == 4
    assert host.docker("rm", "tty").returncode == 0


def test_exec_at_a_terminal(host: DaemonHost) -> None:
    host.docker("run", "-d", "--name", "et", "busybox", "sleep", "100")
    with terminal(host, "exec", "-it", "et", "sh") as (master, process):
        shown(master, b"# ")
        os.write(master, b"exit 6\n")
        assert process.wait(PATIENCE) == 6
    host.docker("rm", "-f", "et")


def test_logs_follow_ends_with_the_container(host: DaemonHost) -> None:
    host.docker("run", "-d", "--name", "lf", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert host.docker("logs", "-f", "lf").stdout == "1\n2\n3\n"
    stamped = host.docker("logs", "-t", "--since", "1h", "lf").stdout.splitlines()
    assert [line.split(" ")[1] for line in stamped] == ["1", "2", "3"]
    host.docker("rm", "lf")


def test_images_by_all_their_names(host: DaemonHost) -> None:
    assert host.docker("tag", "busybox", "reg.example:5000/a/b:c").returncode == 0
    ident = host.docker("images", "-q", "--no-trunc", "busybox").stdout.strip()
    assert host.docker("inspect", "-f", "{{.Id}}", "reg.example:5000/a/b:c").stdout.strip() == ident
    assert host.docker("rmi", "reg.example:5000/a/b:c").stdout == "Untagged: reg.example:5000/a/b:c\n"
    assert host.docker("history", "-q", "busybox").stdout.strip() == ident.removeprefix("sha256:")[:12]
    for words in (("system", "df"), ("info",), ("version",), ("network", "ls"), ("volume", "ls"), ("plugin", "ls")):
        done = host.docker(*words)
        assert (done.returncode, done.stderr.replace("WARNING", "").count("rror")) == (0, 0), done


# ---- docker-py


def test_docker_py_runs(client: docker.DockerClient) -> None:
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"no\n")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nope")


def test_docker_py_waits_in_a_thread_for_each_of_many(client: docker.DockerClient) -> None:
    ones = [client.containers.create("busybox", ["sh", "-c", f"exit {number}"]) for number in range(8)]
    codes: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda n=n: codes.update({n: ones[n].wait(condition="next-exit")["StatusCode"]}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # a wait that came after the start would miss the only exit
    for one in ones:
        one.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == {number: number for number in range(8)}


def test_docker_py_execs(client: docker.DockerClient) -> None:
    one = client.containers.run("busybox", ["sleep", "100"], detach=True)
    assert one.exec_run(["sh", "-c", "echo a; echo b >&2; exit 2"], demux=True) == (2, (b"a\n", b"b\n"))
    assert one.exec_run("id -u", user="nobody").exit_code == 0
    assert one.exec_run(["sh", "-c", "echo $X; pwd"], environment={"X": "y"}, workdir="/etc").output == b"y\n/etc\n"
    assert b"".join(one.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    ident = client.api.exec_create(one.id, ["cat"], stdin=True)["Id"]
    sock = client.api.exec_start(ident, socket=True)._sock
    assert talk(sock, b"to and fro") == b"\1\0\0\0\0\0\0\x0ato and fro"
    until(lambda: not client.api.exec_inspect(ident)["Running"])
    assert client.api.exec_inspect(ident)["ExitCode"] == 0


def talk(sock: socket.socket, data: bytes) -> bytes:
    """Say something, and no more; what is answered up to the end."""
    with sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def test_docker_py_attaches_before_the_start(client: docker.DockerClient) -> None:
    one = client.containers.create("busybox", ["cat"], stdin_open=True)
    sock = one.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})._sock
    one.start()
    assert talk(sock, b"hello") == b"\1\0\0\0\0\0\0\5hello"
    one.stop(timeout=0)


def test_docker_py_follows_events(client: docker.DockerClient) -> None:
    since = int(time.time()) - 1
    client.containers.run("busybox", ["true"], name="ev", remove=True)
    found = []
    stream = client.events(decode=True, since=since, filters={"container": "ev"})
    for event in stream:
        found.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert [action for action in found if action in {"create", "start", "die", "destroy"}] == [
        "create", "start", "die", "destroy"
    ]  # fmt: skip


def test_a_client_that_leaves_a_stream_costs_nothing(host: DaemonHost, client: docker.DockerClient) -> None:
    one = client.containers.run("busybox", ["sleep", "100"], detach=True)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{host.pid}/fd"))

    client.ping()
    before = host.settle()
    for path in (f"/containers/{one.id}/logs?follow=1&stdout=1", "/events"):
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(host.socket)
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert sock.recv(12) == b"HTTP/1.1 200"
    until(lambda: descriptors() <= before)
    until(lambda: host.api("GET", "/info")[1]["NEventsListener"] == 0)
