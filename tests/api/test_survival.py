"""Whatever is killed, what was promised holds and nothing is left: the daemon, the spawner, a shim, a client.

Short here; the long versions are tests/soak.py. ``checked_host`` looks for leftovers at the end of each test.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import races
import soak
from containment import descriptors
from daemon import BIN, DaemonFailed, DaemonHost
from waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("no_containers_left")


def ready(host: DaemonHost) -> DaemonHost:
    host.start()
    host.load_busybox()
    return host


def run(host: DaemonHost, *words: str) -> str:
    """`minirun run -d WORDS`: the container's ID."""
    done = host.cli("run", "-d", *words)
    assert done.returncode == 0, done
    return done.stdout.strip()


def inspect(host: DaemonHost, ref: str) -> Any:
    status, found = host.api("GET", f"/containers/{ref}/json")
    assert status == 200, found
    return found


def process(host: DaemonHost, title: str) -> int:
    """The one process of the daemon's whose command line begins so; one that was just started gets its title soon."""
    pids: list[int] = until(lambda: processes(host, title), f"no {title}")
    assert len(pids) == 1, (title, pids)
    return pids[0]


def processes(host: DaemonHost, title: str) -> list[int]:
    return [pid for pid, command in host.commands().items() if command.startswith(title.encode())]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def in_place(host: DaemonHost, code: str, *words: str) -> str:
    """Run Python where the daemon's files are to be seen; ``root`` is its state directory."""
    done = host.run(sys.executable, "-c", f"import os, sys, sqlite3, json\nroot = {str(host.state)!r}\n{code}", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Typing:
    """A client with a terminal, at which somebody types."""

    def __init__(self, host: DaemonHost, *command: str) -> None:
        self.master, slave = pty.openpty()
        self.shown = b""
        self.client = subprocess.Popen(
            command, env=host.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)

    def type(self, line: str, answer: str) -> None:
        os.write(self.master, line.encode() + b"\n")
        self.until(answer)

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.shown:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], (text, self.shown)
            self.shown += os.read(self.master, 4096)
        self.shown = self.shown.partition(text.encode())[2]

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        os.close(self.master)


@contextmanager
def typing(host: DaemonHost, *command: str) -> Iterator[Typing]:
    found = Typing(host, *command)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def client(host: DaemonHost, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A client in the background."""
    started = subprocess.Popen(
        command, env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, bufsize=0
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


# --- the daemon is killed ---


@pytest.mark.parametrize("program", [str(BIN / "minirun"), "docker"])
def test_terminal_sessions_go_on_without_a_daemon(own_host: DaemonHost, program: str) -> None:
    host = ready(own_host)
    with typing(host, program, "run", "-it", "--rm", "--name", "shell", "busybox", "sh") as first:
        first.type("echo be''gun", "begun")
        with typing(host, program, "exec", "-it", "shell", "sh") as second:
            second.type("echo be''gun", "begun")
            host.kill9()
            first.type("echo with''out", "without")
            second.type("echo with''out", "without")
            host.start()
            first.type("echo af''ter", "after")
            second.type("echo af''ter; exit 9", "after")
            assert second.client.wait(PATIENCE) == 9
        first.type("exit 8", "exit 8")
        assert first.client.wait(PATIENCE) == 8
    until(lambda: host.api("GET", "/containers/json?all=1")[1] == [], "--rm did not remove it")


@pytest.mark.parametrize("program", [str(BIN / "minirun"), "docker"])
def test_containers_end_while_no_daemon_runs(own_host: DaemonHost, program: str) -> None:
    """Their output, their codes, those who wait for them, and --rm."""
    host = ready(own_host)
    script = "until [ -e /go ]; do sleep 0.01; done; echo late x; exit 9"
    kept = run(
        host,
        "-i",
        "--name",
        "kept",
        "busybox",
        "sh",
        "-c",
        "trap 'echo late; exit 9' TERM; while :; do sleep 0.01; done",
    )
    command = (program, "run", "--rm", "--name", "gone", "busybox", "sh", "-c", script)
    with client(host, program, "wait", "kept") as waiting, client(host, *command) as running:
        until(lambda: host.api("GET", "/containers/gone/json")[0] == 200, "no container")
        until(lambda: inspect(host, "gone")["State"]["Running"], "not started")
        init = inspect(host, "gone")["State"]["Pid"]
        for ident in (kept, inspect(host, "gone")["Id"]):
            until(lambda ident=ident: host.clients_of(ident), "it has no client")
        host.kill9()
        Path(f"/proc/{init}/root/go").touch()
        os.kill(soak_init(host), signal.SIGTERM)
        assert waiting.communicate(timeout=PATIENCE)[0] == "9\n"
        if program != "docker":  # docker removes nothing itself and waits for the removal: for the next daemon
            assert running.stdout is not None
            assert running.stdout.readline() == "late x\n"
        until(lambda: is_gone(init), "the other does not end")
        host.start()
        running.wait(PATIENCE)
        assert running.returncode == 9
    assert host.cli("logs", "kept").stdout == "late\n"
    assert inspect(host, "kept")["State"]["ExitCode"] == 9
    assert host.cli("wait", "kept").stdout == "9\n"
    assert host.api("GET", "/containers/gone/json")[0] == 404
    soak.agree(host)


def test_an_exec_ends_and_then_its_container_while_no_daemon_runs(own_host: DaemonHost) -> None:
    host = ready(own_host)
    script = (
        "until [ -s /pid ]; do sleep 0.01; done; while kill -0 $(cat /pid); do sleep 0.01; done 2>/dev/null; exit 9"
    )
    ident = run(host, "--name", "kept", "busybox", "sh", "-c", script)
    words = ["sh", "-c", "echo $$ >/pid; until [ -e /go ]; do sleep 0.01; done; exit 7"]
    asked = host.api("POST", f"/containers/{ident}/exec", {"Cmd": words})[1]["Id"]
    assert host.api("POST", f"/exec/{asked}/start", {"Detach": True})[0] == 200
    root = Path(f"/proc/{inspect(host, ident)['State']['Pid']}/root")
    until(lambda: (root / "pid").read_text() if (root / "pid").exists() else "")
    host.kill9()
    (root / "go").touch()
    until(lambda: not processes(host, f"minirund-shim {ident}"), "its shim does not end")
    host.start()
    assert inspect(host, ident)["State"]["ExitCode"] == 9
    found = host.api("GET", f"/exec/{asked}/json")[1]
    assert (found["Running"], found["ExitCode"]) == (False, 7)


def soak_init(host: DaemonHost) -> int:
    """The process that is init of a container with the one trap in its script (no daemon answers).

    A child of its own is called the same between fork and execve.
    """
    found = {}
    for pid in processes(host, "sh"):
        with contextlib.suppress(OSError):
            if b"trap" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    (init,) = [pid for pid, parent in found.items() if parent not in found]
    return init


def test_state_is_found_again(own_host: DaemonHost) -> None:
    """Running, paused, created, exited, names, addresses; and an exec that ended meanwhile."""
    host = ready(own_host)
    run(host, "--name", "running", "busybox", "sleep", "1000")
    run(host, "--name", "paused", "busybox", "sleep", "1000")
    host.cli("pause", "paused")
    host.cli("create", "--name", "created", "busybox", "true")
    host.cli("run", "--name", "exited", "busybox", "sh", "-c", "exit 4")
    ident = host.api("POST", "/containers/running/exec", {"Cmd": ["sh", "-c", "sleep 0.5; exit 6"]})[1]["Id"]
    assert host.api("POST", f"/exec/{ident}/start", {"Detach": True})[0] == 200
    names = ("running", "paused", "created", "exited")
    before = [inspect(host, name) | {"ExecIDs": None} for name in names]  # the exec will have ended by then
    host.kill9()
    until(lambda: len(processes(host, "sh\x00-c\x00sleep 0.5")) == 0, "the exec does not end")
    host.start()
    until(lambda: not inspect(host, "running")["ExecIDs"], "the exec goes on")  # its shim may have to reap it yet
    assert [inspect(host, name) for name in names] == before
    assert until(lambda: host.api("GET", f"/exec/{ident}/json")[1]["ExitCode"], "no code") == 6
    assert host.cli("create", "--name", "paused", "busybox").returncode == 1
    soak.agree(host)
    assert host.cli("unpause", "paused").returncode == 0
    assert host.cli("rm", "-f", "paused", "running").returncode == 0
    host.restart("--bip", "10.99.0.1/29")  # five addresses: one that is held for nobody is missed
    for number in range(4):
        run(host, "--name", f"again-{number}", "busybox", "sleep", "1000")


def test_what_is_half_made_goes(own_host: DaemonHost) -> None:
    """A record without a directory, a directory without a record, a removal under way."""
    host = ready(own_host)
    for name in ("no-directory", "being-removed", "whole"):
        assert host.cli("create", "--name", name, "busybox", "true").returncode == 0
    assert host.cli("run", "--name", "half-removed", "busybox", "true").returncode == 0
    ids = {name: inspect(host, name)["Id"] for name in ("no-directory", "being-removed", "half-removed")}
    host.kill9()
    in_place(
        host,
        """
import shutil
shutil.rmtree(f"{root}/data/containers/{sys.argv[1]}")
shutil.rmtree(f"{root}/data/containers/{sys.argv[3]}")
os.makedirs(f"{root}/data/containers/{'a' * 64}/rw/upper/some")
os.makedirs(f"{root}/run/containers/{'b' * 64}")
open(f"{root}/run/containers/{'b' * 64}/shim.sock", "w").close()
db = sqlite3.connect(f"{root}/data/minirund.db")
record = json.loads(db.execute("SELECT record FROM containers WHERE id = ?", (sys.argv[2],)).fetchone()[0])
db.execute("UPDATE containers SET record = ? WHERE id = ?", (json.dumps({**record, "status": "removing"}), sys.argv[2]))
db.commit()
""",
        *(ids[name] for name in ("no-directory", "being-removed", "half-removed")),
    )
    host.start()
    assert [one["Names"] for one in host.api("GET", "/containers/json?all=1")[1]] == [["/whole"]]
    soak.agree(host)
    assert host.cli("create", "--name", "no-directory", "busybox", "true").returncode == 0


def test_a_start_that_the_daemon_did_not_live_to_see(own_host: DaemonHost) -> None:
    """Launch is in the spawner's socket, the daemon dies, another comes: it waits for the start, and finds it."""
    host = ready(own_host)
    host.cli("create", "--name", "late", "busybox", "sleep", "1000")
    spawner = process(host, "minirund-spawner")
    os.kill(spawner, signal.SIGSTOP)
    with client(host, str(BIN / "minirun"), "start", "late"):
        look = "for where in os.walk(root + '/data/containers'): print(where)"
        until(lambda: "config.json" in in_place(host, look), "no start")
        until(host.sleeps, "it does not come to its end")  # the spawner has been told to go on
        host.kill9()
        starting = threading.Thread(target=host.start)
        starting.start()
        time.sleep(0.5)
        os.kill(spawner, signal.SIGCONT)
        starting.join()
    assert inspect(host, "late")["State"]["Running"]
    soak.agree(host)


def test_a_start_that_nobody_lived_to_see(own_host: DaemonHost) -> None:
    """The same, but the spawner dies too: the container is as it was, and its address is free."""
    host = own_host
    host.start("--bip", "10.98.0.1/29")
    host.load_busybox()
    for _ in range(6):
        host.cli("create", "--name", "never", "busybox", "sleep", "1000")
        spawner = process(host, "minirund-spawner")
        os.kill(spawner, signal.SIGSTOP)
        with client(host, str(BIN / "minirun"), "start", "never"):
            until(
                lambda: "resolv.conf" in in_place(host, "for each in os.walk(root + '/run'): print(each)"), "no start"
            )
            time.sleep(0.2)
            host.kill9()
            os.kill(spawner, signal.SIGKILL)
        host.start()
        assert inspect(host, "never")["State"]["Status"] == "created"
        soak.agree(host)
        assert host.cli("start", "never").returncode == 0
        assert host.cli("rm", "-f", "never").returncode == 0


def test_kill9_under_load(own_host: DaemonHost) -> None:
    """Ten rounds of soak.py's; another seed every time."""
    ready(own_host)
    soak.kill9(own_host, 10, seed=random.randrange(1 << 30))
    soak.nothing_left(own_host)


# --- the spawner is killed ---


def test_the_spawner_is_started_again(host: DaemonHost) -> None:
    first = process(host, "minirund-spawner")
    os.kill(first, signal.SIGKILL)
    assert host.cli("run", "--rm", "busybox", "echo", "on").stdout == "on\n"
    until(lambda: processes(host, "minirund-spawner") not in ([], [first]), "no other spawner")


def test_the_spawner_is_killed_during_twenty_starts(host: DaemonHost) -> None:
    stop = threading.Event()

    def killer() -> None:
        for _ in range(4):
            stop.wait(0.25)
            for pid in processes(host, "minirund-spawner"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with ThreadPoolExecutor(20) as pool:
            done = list(pool.map(lambda number: host.cli("run", "--rm", "busybox", "echo", str(number)), range(20)))
    finally:
        stop.set()
        thread.join()
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, f"{n}\n", "") for n in range(20)]


@contextmanager
def without_spawner(host: DaemonHost) -> Iterator[None]:
    """Whatever the daemon starts, it is killed by its execve, before it has done anything."""
    kill = ("-e", "trace=execve", "-e", "inject=execve:signal=KILL", "-o", "/dev/null")
    with subprocess.Popen(["strace", "-f", "-q", *kill, "-p", str(host.pid)]) as tracer:
        until(lambda: tracers(host.pid) == {tracer.pid}, "it is not traced")
        for pid in Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            yield
        finally:
            tracer.terminate()


def tracers(pid: int) -> set[int]:
    """Of all of a process's threads."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return {int(text.partition("\nTracerPid:")[2].split()[0]) for text in texts}


def test_a_start_that_is_killed_at_each_try_says_so_and_leaves_nothing(host: DaemonHost) -> None:
    assert host.cli("create", "--name", "kept", "busybox", "sleep", "1000").returncode == 0
    with without_spawner(host):
        done = [host.cli("start", "kept"), host.cli("run", "--rm", "--name", "unkept", "busybox", "true")]
    assert [one.returncode for one in done] == [1, 125], done
    for one, name in zip(done, ("kept", "unkept"), strict=True):
        assert f"container {name} was not started, 7 times the spawner or the shim was killed" in one.stderr, one
    state = inspect(host, "kept")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128) and "was not started" in state["Error"]
    until(lambda: host.api("GET", "/containers/unkept/json")[0] == 404, "--rm did not remove it")
    soak.agree(host)
    assert host.cli("start", "kept").returncode == 0
    soak.agree(host)


# --- a shim is killed ---


def events_of(host: DaemonHost, ident: str) -> list[str]:
    text = host.api("GET", f"/events?since=1&until={time.time()}")[1]
    lines = text.splitlines() if isinstance(text, str) else [json.dumps(text)]
    return [event["Action"] for event in map(json.loads, lines) if event["Actor"]["ID"] == ident]


@pytest.mark.parametrize("paused", [False, True])
def test_without_its_shim_a_container_is_ended(host: DaemonHost, paused: bool) -> None:
    ident = run(host, "--name", f"orphan-{paused}", "busybox", "sh", "-c", "sleep 1000 & sleep 1000")
    if paused:
        host.cli("pause", ident)
    os.kill(process(host, f"minirund-shim {ident}"), signal.SIGKILL)
    until(lambda: not inspect(host, ident)["State"]["Running"], "it runs on")
    state = inspect(host, ident)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    assert host.cli("wait", ident).stdout == "137\n"
    assert events_of(host, ident).count("die") == 1
    assert host.cli("start", ident).returncode == 0
    assert host.cli("rm", "-f", ident).returncode == 0
    soak.agree(host)


def test_a_client_learns_that_the_shim_has_gone(host: DaemonHost) -> None:
    with client(host, str(BIN / "minirun"), "run", "--rm", "--name", "orphan", "busybox", "sleep", "1000") as running:
        ident = until(lambda: [one["Id"] for one in host.api("GET", "/containers/json")[1]], "no container")[0]
        os.kill(process(host, f"minirund-shim {ident}"), signal.SIGKILL)
        assert running.wait(PATIENCE) == 137
    until(lambda: host.api("GET", "/containers/json?all=1")[1] == [], "--rm did not remove it")
    soak.agree(host)


def test_a_shim_is_killed_while_no_daemon_runs(own_host: DaemonHost) -> None:
    host = ready(own_host)
    kept = run(host, "--name", "kept", "busybox", "sleep", "1000")
    gone = run(host, "--rm", "--name", "gone", "busybox", "sleep", "1000")
    shims = [process(host, f"minirund-shim {ident}") for ident in (kept, gone)]
    host.kill9()
    for pid in shims:
        os.kill(pid, signal.SIGKILL)
    host.start()
    state = inspect(host, "kept")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    until(lambda: host.api("GET", "/containers/gone/json")[0] == 404, "--rm did not remove it")
    soak.agree(host)


# --- a shim is stopped ---


def stop_shim(host: DaemonHost, ident: str) -> int:
    shim = process(host, f"minirund-shim {ident}")
    os.kill(shim, signal.SIGSTOP)
    return shim


def test_an_exec_does_not_wait_for_a_shim_that_does_not_read(host: DaemonHost) -> None:
    """Attached, on a terminal, detached: each is told, and what was asked for so long ago is never done."""
    ident = run(host, "--name", "deaf", "busybox", "sleep", "1000")
    shim = stop_shim(host, ident)
    commands = [("exec", *flags, "deaf", "touch", "/late") for flags in ((), ("-d",))]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(each, *words) for words in commands for each in (host.cli, host.docker)]
        done = [one.result() for one in asked]
    assert [one.returncode for one in done] == [126, 126, 1, 1], done
    for one in done:
        said = one.stdout + one.stderr
        assert f"container deaf: its shim (process {shim}) does not answer" in said and "minirun kill deaf" in said
    assert host.cli("ps", "-q", "--no-trunc").stdout.strip() == ident
    os.kill(shim, signal.SIGCONT)
    done = [host.cli("exec", "deaf", "ls", "/late")]
    assert (done[0].returncode, done[0].stderr) == (1, "ls: /late: No such file or directory\n")
    assert inspect(host, ident)["ExecIDs"] is None
    assert host.cli("rm", "-f", ident).returncode == 0


@pytest.mark.parametrize("titles", [("minirund-spawner", "minirund-zygote"), ("minirund-zygote",)])
def test_a_start_does_not_wait_for_who_is_stopped(host: DaemonHost, titles: tuple[str, ...]) -> None:
    """The spawner, the zygote, and the shim that waits, whose title is the zygote's still."""
    until(lambda: len(processes(host, "minirund-zygote")) == 2, "no shim waits")
    pids = [pid for title in titles for pid in processes(host, title)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    done = host.cli("run", "--rm", "busybox", "echo", "on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")
    until(lambda: all(is_gone(pid) for pid in pids), "they stay")
    soak.agree(host)


def test_containers_whose_shims_are_stopped_can_be_ended(host: DaemonHost) -> None:
    words = {"end": ("kill",), "stop": ("stop", "-t", "1"), "force": ("rm", "-f")}
    idents = {name: run(host, "--name", name, "busybox", "sleep", "1000") for name in words}
    shims = [stop_shim(host, ident) for ident in idents.values()]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: host.cli(*words[name], name), words))
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, f"{name}\n", "") for name in words]
    until(lambda: all(is_gone(shim) for shim in shims), "their shims stay")
    for name in ("end", "stop"):
        state = inspect(host, name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 137)
        assert host.cli("start", name).returncode == 0
    host.remove_containers()
    soak.agree(host)


def test_a_shim_is_stopped_while_no_daemon_runs(own_host: DaemonHost) -> None:
    host = ready(own_host)
    ident = run(host, "--name", "deaf", "busybox", "sleep", "1000")
    host.kill9()
    shim = stop_shim(host, ident)
    host.start()
    until(lambda: is_gone(shim), "its shim stays")
    state = inspect(host, ident)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    soak.agree(host)


# --- a client is killed ---


def test_clients_are_killed(host: DaemonHost) -> None:
    """Whatever they were doing, the daemon and the shim hold nothing for them any more."""
    minirun = str(BIN / "minirun")
    ident = run(host, "--name", "talker", "busybox", "sh", "-c", "while :; do echo talk; sleep 0.01; done")
    shim = process(host, f"minirund-shim {ident}")

    def one_of_each() -> None:
        with contextlib.ExitStack() as ending:
            for command in (
                (minirun, "attach", "talker"),
                (minirun, "logs", "-f", "talker"),
                (minirun, "exec", "talker", "sh", "-c", "while :; do echo x; sleep 0.01; done"),
                ("docker", "logs", "-f", "talker"),
                ("docker", "attach", "talker"),
            ):
                each = ending.enter_context(client(host, *command))
                assert each.stdout is not None
                assert each.stdout.readline() in {"talk\n", "x\n"}
            for waiter in ((minirun, "wait", "talker"), (minirun, "events")):
                ending.enter_context(client(host, *waiter))
            each_typing = ending.enter_context(
                typing(host, "docker", "run", "-it", "--rm", "--name", "typed", "busybox", "sh")
            )
            each_typing.type("echo be''gun", "begun")
        assert host.cli("rm", "-f", "typed").returncode == 0

    one_of_each()
    host.cli("exec", "talker", "killall", "-q", "sleep")
    before, held = host.settle(), len(descriptors(shim))
    for _ in range(5):
        one_of_each()
    until(lambda: host.settle() <= before, lambda: f"the daemon held {before}, now {descriptors(host.pid)}")
    # the execs run on, as with Docker: they are the container's; each keeps three descriptors of the shim's
    until(lambda: len(descriptors(shim)) <= held + 5 * 3, lambda: f"the shim held {held}, now {descriptors(shim)}")
    assert host.cli("rm", "-f", "talker").returncode == 0
    soak.agree(host)


# --- the daemon ends gently, and several of them ---


def test_sigterm_under_load(own_host: DaemonHost) -> None:
    """It ends soon and with 0; what was answered holds; containers go on."""
    host = ready(own_host)
    for number in range(3):
        workers = [soak.Worker(host, f"w{number}{each}", seed=each) for each in range(4)]
        with soak.load_from(workers):
            time.sleep(0.4)
            assert host.stop() == 0, host.log_tail()
        host.start()
        for worker in workers:
            worker.compare()
        soak.agree(host)
    assert "Traceback" not in host.log.read_text()


def test_a_second_daemon_is_refused_in_one_line(host: DaemonHost, tmp_path: Path) -> None:
    data, state, other = f"{host.state}/data", f"{host.state}/run", f"unix://{tmp_path}/other.sock"
    cases = {
        "in use by another minirund: choose --data-root": (other, data, f"{tmp_path}/run"),
        "in use by another minirund: choose --exec-root": (other, f"{host.state}/data2", state),
        "in use by another minirund: choose --bridge": (
            other,
            f"{host.state}/data2",
            f"{tmp_path}/run",
        ),
        "another daemon listens there": (host.url, f"{host.state}/data2", f"{tmp_path}/run"),
    }
    for reason, (url, data_root, exec_root) in cases.items():
        done = host.run(str(BIN / "minirund"), "-H", url, "--data-root", data_root, "--exec-root", exec_root)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
        assert reason in done.stderr
    assert host.cli("run", "--rm", "busybox", "echo", "unharmed").stdout == "unharmed\n"


def test_two_daemons_side_by_side(own_host: DaemonHost, tmp_path: Path) -> None:
    """In one network and cgroup tree: the second's containers outlive the first's end, and the other way round."""
    host = ready(own_host)
    second_url = f"unix://{tmp_path}/second.sock"
    roots = ["--data-root", f"{host.state}/data2", "--exec-root", f"{host.state}/run2", "--bridge", "second0"]
    environment = {**host.environment, "MINIRUN_HOST": second_url}

    def second_cli(*words: str) -> subprocess.CompletedProcess[str]:
        return host.cli(*words, env=environment)

    second = subprocess.Popen(host.inside(str(BIN / "minirund"), "-H", second_url, *roots), stderr=subprocess.DEVNULL)
    try:
        until(lambda: second_cli("version").returncode == 0, "the second does not start")
        archive = tmp_path / "busybox.tar"
        archive.write_bytes(soak_archive())
        assert second_cli("load", "-q", "-i", str(archive)).returncode == 0
        run(host, "--name", "same", "busybox", "sleep", "1000")
        assert second_cli("run", "-d", "--name", "same", "busybox", "sleep", "1000").returncode == 0
        host.kill9()
        host.start()
        assert second_cli("exec", "same", "ping", "-c1", "-W60", "-q", gateway(second_cli)).returncode == 0
        assert host.cli("exec", "same", "ping", "-c1", "-W60", "-q", gateway(host.cli)).returncode == 0
        assert host.cli("rm", "-f", "same").returncode == 0
        host.restart()
        assert second_cli("exec", "same", "ping", "-c1", "-W60", "-q", gateway(second_cli)).returncode == 0
        assert second_cli("rm", "-f", "same").returncode == 0
    finally:
        second.terminate()
        assert second.wait(PATIENCE) == 0


def gateway(cli: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    return cli("inspect", "--format", "{{.NetworkSettings.Gateway}}", "same").stdout.strip()


def soak_archive() -> bytes:
    from images import busybox, docker_archive  # noqa: PLC0415

    return docker_archive({"busybox:latest": busybox()})


# --- rows, crowds, races ---


def test_runs_in_a_row(host: DaemonHost) -> None:
    """Nothing stays of them, neither in memory nor among the descriptors."""
    soak.serial(host, 20)
    held, (megabytes, _) = host.settle(), soak.memory(host)
    soak.serial(host, 30)
    until(lambda: host.settle() <= held, lambda: f"the daemon held {held}, now {descriptors(host.pid)}")
    assert soak.memory(host)[0] <= megabytes + 3


def test_runs_at_once(host: DaemonHost) -> None:
    soak.burst(host, 20)


@pytest.mark.parametrize("race", races.RACES, ids=lambda race: race.__name__)
def test_races(host: DaemonHost, race: Callable[[DaemonHost, float], None]) -> None:
    races.run(host, race, 15, seed=random.randrange(1 << 30))


def test_a_host_that_fails_says_why(own_host: DaemonHost) -> None:
    """The harness itself: a daemon that can't start is no silent success."""
    with pytest.raises(DaemonFailed, match="no-such-option"):
        own_host.start("--no-such-option")
