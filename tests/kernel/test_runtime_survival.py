"""What outlives what: daemon, spawner, shim and clients may end at any time; the container's story goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import PATIENCE, Runtime, TestBundle, eventually, kinds, make_bundle, make_rootfs
from containment import descriptors

from cgroups.cgroup import Cgroup
from minirund import wire


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def test_the_spawner_is_killed(bundle: TestBundle) -> None:
    with Runtime() as runtime:
        container = runtime.launch(bundle, "sh", "-c", "read code; exit $code", clients=(wire.Attach(stdin=True),))
        container.started()
        runtime.process.kill()
        runtime.process.wait()
        container.streams[0].send(b"5\n")
        assert container.exited() == 5
        container.streams[0].finish()


def test_the_spawner_ends_with_its_socket(bundle: TestBundle) -> None:
    runtime = Runtime()
    container = runtime.launch(bundle, "/bin/sleep", "1000")
    container.started()
    runtime.channel.close()
    assert runtime.process.wait(PATIENCE) == 0
    assert container.kill() == 137
    with runtime:
        pass


def test_a_new_daemon_takes_over(runtime: Runtime, bundle: TestBundle) -> None:
    script, client = "read code; echo $code; exit $code", wire.Attach(stdin=True)
    container = runtime.launch(bundle, "sh", "-c", script, clients=(client,))
    started = container.started()
    state = container.reconnect()
    assert (state.pid, state.started, state.exited) == (started.pid, started.time, None)
    stale = container.control
    container.control = wire.connect(bundle.bundle.shim_socket)
    assert isinstance(container.next(), wire.State)
    assert stale.receive() is None  # the newer one has taken its place
    stale.close()
    container.streams[0].send(b"6\n")
    assert container.exited() == 6
    container.streams[0].finish()


def test_it_ends_while_no_daemon_is_there(runtime: Runtime, bundle: TestBundle) -> None:
    clients = (wire.Attach(stdin=True), wire.Wait())
    container = runtime.launch(bundle, "sh", "-c", "read x; echo said; exit 7", clients=clients)
    container.started()
    shim = container.shim_pid()
    container.control.close()
    container.streams[0].send(b"go\n")
    for stream in container.streams:
        stream.finish()
    assert b'"StatusCode":7' in container.streams[1].received
    eventually(lambda: gone(shim), "the shim stays")
    exited = bundle.bundle.read_exit()
    assert exited is not None
    assert exited.code == 7
    assert bundle.logged() == b"said\n"
    assert os.listdir(bundle.bundle.run) == []
    assert not os.path.exists(bundle.cgroup)


def test_who_waits_for_removal_waits_for_the_next_daemon(runtime: Runtime, bundle: TestBundle) -> None:
    clients = (wire.Attach(stdin=True), wire.Wait(removed=True))
    container = runtime.launch(bundle, "sh", "-c", "read x; exit 8", clients=clients)
    container.started()
    container.control.close()
    container.streams[0].send(b"go\n")
    container.streams[0].finish()
    eventually(bundle.bundle.read_exit)
    container.control = wire.connect(bundle.bundle.shim_socket)
    state = container.next()
    assert isinstance(state, wire.State)
    assert state.exited is not None
    assert state.exited.code == 8
    assert bytes(container.streams[1].received) == b""
    container.release()
    container.streams[1].finish()
    assert b'"StatusCode":8' in container.streams[1].received
    assert os.listdir(bundle.bundle.run) == []


def test_waits_and_attaches_after_the_end_are_answered(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "echo said; exit 9")
    assert container.exited(release=False) == 9
    late = container.attach(logs=True)
    late.finish()
    assert late.output() == b"said\n"
    ours, theirs = socket.socketpair()
    container.control.send(wire.Wait(), [theirs.fileno()])
    theirs.close()
    assert b'"StatusCode":9' in ours.recv(100)
    ours.close()
    container.release()


def test_the_shim_is_killed(runtime: Runtime, bundle: TestBundle) -> None:
    """Its container runs on without it; the cgroup is where the engine finds and ends it."""
    container = runtime.launch(bundle, "/bin/sleep", "1000", clients=(wire.Attach(),))
    pid = container.started().pid
    os.kill(container.shim_pid(), signal.SIGKILL)
    assert container.next() is None
    container.streams[0].finish()
    eventually(lambda: bundle.bundle.read_shim_pid() is None, "a killed shim counts as alive")
    with pytest.raises(ConnectionRefusedError):
        wire.connect(bundle.bundle.shim_socket)
    group = Cgroup(bundle.cgroup)
    assert group.processes() == [pid]
    group.remove()
    eventually(lambda: gone(pid))
    container.control.close()
    again = runtime.launch(bundle, "/bin/true")  # what the dead shim left is no obstacle
    assert again.exited() == 0


def test_a_client_is_killed(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "sh", "-c", "read x; read y; echo $y; exit 3")
    container.started()
    ours, theirs = socket.socketpair()
    code = "import sys, time; sys.stdin.buffer.read(1); time.sleep(1000)"
    client = subprocess.Popen([sys.executable, "-c", code], stdin=ours)
    ours.close()
    container.control.send(wire.Attach(stdin=True), [theirs.fileno()])
    theirs.close()
    client.kill()
    client.wait()
    assert container.exited() == 3  # stdin_once: with its client the input has ended
    assert bundle.logged() == b"\n"


def test_the_same_bundle_starts_again(runtime: Runtime, bundle: TestBundle) -> None:
    for number in range(3):
        assert runtime.sh(bundle, f"echo {number} >> /made; cat /made").code == 0
    assert (bundle.upper / "made").read_text() == "0\n1\n2\n"
    assert bundle.logged() == b"0\n0\n1\n0\n1\n2\n"


def settled(look: Callable[[], Any]) -> Any:
    """What is seen five times in a row."""
    seen: list[Any] = []
    return eventually(lambda: seen.append(look()) or (seen[-5:] == [seen[-1]] * 5 and seen[-1]))


def test_a_hundred_starts_leave_nothing(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    before = settled(lambda: descriptors(runtime.process.pid))
    mounts = Path("/proc/self/mountinfo").read_text()
    bundle = make_bundle(tmp_path, lower)
    shims = []
    for number in range(100):
        container = runtime.launch(bundle, "sh", "-c", f"exit {number}")
        container.started()
        shims.append(container.shim_pid())
        assert container.exited() == number
    eventually(lambda: all(gone(pid) for pid in shims), "shims stay")
    eventually(lambda: descriptors(runtime.process.pid) == before, "the spawner holds more than before")
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert os.listdir(bundle.bundle.run) == []
    assert not os.path.exists(bundle.cgroup)


def test_twenty_at_once(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    containers = [
        runtime.launch(make_bundle(tmp_path, lower), "sh", "-c", f"echo {n}; exit {n}", clients=(wire.Attach(),))
        for n in range(20)
    ]
    assert [container.exited() for container in containers] == list(range(20))
    for number, container in enumerate(containers):
        container.streams[0].finish()
        assert container.streams[0].output() == b"%d\n" % number


def test_an_idle_shim_holds_few_descriptors_and_little_memory(runtime: Runtime, bundle: TestBundle) -> None:
    container = runtime.launch(bundle, "/bin/sleep", "1000")
    container.started()
    pid = container.shim_pid()
    eventually(lambda: os.path.basename(Path(f"/proc/{pid}/wchan").read_text()).startswith("poll"), "it does not sleep")
    expected = [
        *("/dev/null", "/dev/null", bundle.cgroup, bundle.bundle.log_path),
        *("anon_inode", "pipe", "pipe", "pipe"),  # init's pidfd, its stdio
        *(
            "/memfd:start (deleted)",
            "/memfd:plan (deleted)",
            "/memfd:seccomp (deleted)",
        ),  # for its waking, for execs
        *("socket", "socket"),  # the daemon's, and the door for the next one
        "socket",  # init's report, unread: the root file system lies in it
    ]
    eventually(lambda: kinds(pid) == sorted(expected), lambda: f"it holds {kinds(pid)}")
    assert os.getsid(pid) == pid
    assert container.kill() == 137


def test_the_end_is_told_before_the_root_is_unmounted(runtime: Runtime, bundle: TestBundle) -> None:
    """The kernel syncs the whole of the upper directory's file system when an overlay goes: nobody waits for that."""
    container = runtime.launch(bundle, "/bin/true")
    assert container.exited(release=False) == 0
    pid = container.shim_pid()
    assert "/" in descriptors(pid)  # the container's: its mount has no other name any more
    assert container.bundle.bundle.read_shim_pid() == pid  # who starts it again waits for the end of that
    container.release()
    eventually(lambda: bundle.bundle.read_shim_pid() is None, "the root is not unmounted")


def test_the_runtime_alone(bundle: TestBundle) -> None:
    """``python -m minirund.runtime run``: our own stdin, stdout, stderr and exit code."""
    bundle.config["process"]["args"] = ["sh", "-c", "cat; echo bad >&2; exit 11"]
    bundle.bundle.write_config(bundle.config)
    command = [sys.executable, "-m", "minirund.runtime", "run", bundle.bundle.directory]
    done = subprocess.run(command, input=b"typed", capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (11, b"typed", b"bad\n")
    bundle.config["process"]["args"] = ["nope"]
    bundle.bundle.write_config(bundle.config)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (127, b'exec: "nope": executable file not found in $PATH\n')


def test_the_printed_spec_runs(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "minirund.runtime", "spec"], capture_output=True, check=True, timeout=PATIENCE
    ).stdout
    (tmp_path / "config.json").write_bytes(printed)
    make_rootfs(tmp_path / "rootfs")
    command = [sys.executable, "-m", "minirund.runtime", "run", str(tmp_path)]
    done = subprocess.run(command, input=b"hostname", capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, b"minirund\n")
