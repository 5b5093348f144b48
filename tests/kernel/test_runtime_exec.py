"""Exec: more processes in a container that runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from bundles import Container, Runtime, TestBundle, eventually

from minirund import wire


@pytest.fixture
def container(runtime: Runtime, bundle: TestBundle) -> Iterator[Container]:
    made = runtime.launch(bundle, "/bin/sleep", "1000")
    made.started()
    yield made
    assert made.kill() == 137


def run(container: Container, *args: str, **process: object) -> tuple[int, bytes, bytes]:
    """Run it attached, to its end."""
    stream = container.exec(*args, attach=wire.Attach(), **process)
    assert stream is not None
    code = container.until(wire.ExecExited).code
    stream.finish()
    return code, stream.output(1), stream.output(2)


def test_output_and_code(container: Container) -> None:
    assert run(container, "sh", "-c", "echo out; echo err >&2; exit 5") == (5, b"out\n", b"err\n")
    assert [type(each).__name__ for each in container.heard] == ["Started", "ExecStarted", "ExecExited"]


def test_it_is_in_the_container(container: Container) -> None:
    script = "for n in mnt net uts pid ipc cgroup; do readlink /proc/self/ns/$n; readlink /proc/1/ns/$n; done"
    code, out, _ = run(container, "sh", "-c", script)
    links = out.decode().split()
    assert code == 0
    assert links[0::2] == links[1::2]
    assert len(set(links)) == 6
    assert b"0::/\n" in run(container, "cat", "/proc/self/cgroup")[1]
    assert run(container, "sh", "-c", "ls /proc/self/fd; true")[1].split() == [b"0", b"1", b"2", b"3"]


def test_user_cwd_env(container: Container) -> None:
    script = "echo $(id -u):$(id -g) $PWD $A $HOME"
    process = {"user": {"username": "user"}, "cwd": "/tmp", "env": ["PATH=/bin", "A=b"]}
    assert run(container, "sh", "-c", script, **process)[1] == b"1000:1000 /tmp b /home/user\n"


def test_stdin_ends_with_half_close(container: Container) -> None:
    stream = container.exec("cat", attach=wire.Attach(stdin=True))
    assert stream is not None
    stream.send(b"text")
    stream.end_input()
    assert container.until(wire.ExecExited).code == 0
    stream.finish()
    assert stream.output() == b"text"


def test_a_terminal_of_its_own(container: Container) -> None:
    stream = container.exec("sh", attach=wire.Attach(stdin=True, framed=False), terminal=True)
    assert stream is not None
    container.until(wire.ExecStarted)
    container.control.send(wire.Resize(40, 100, "e"))
    stream.send(b"tty; stty size\n")
    stream.wait_for(b"/dev/pts/0\r\n40 100\r\n")
    stream.send(b"exit 4\n")
    assert container.until(wire.ExecExited).code == 4
    stream.finish()


def test_detached(container: Container, bundle: TestBundle) -> None:
    container.exec("sh", "-c", "readlink /proc/$$/fd/2 > /made; exit 9")
    assert container.until(wire.ExecExited) == wire.ExecExited("e", 9)
    assert (bundle.upper / "made").read_text() == "/dev/null\n"


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["nope"], 'exec: "nope": executable file not found in $PATH', 127),
        (["/etc"], 'exec: "/etc": is a directory: permission denied', 126),
        (["/bin/nope"], 'exec: "/bin/nope": stat /bin/nope: no such file or directory', 127),
    ],
)
def test_failures_are_told_in_docker_s_words(container: Container, args: list[str], message: str, code: int) -> None:
    stream = container.exec(*args, attach=wire.Attach())
    assert stream is not None
    failed = container.until(wire.ExecFailed)
    assert (failed.message, failed.exit_code) == (message, code)
    stream.finish()
    text = f"OCI runtime exec failed: exec failed: unable to start container process: {message}: unknown\r\n"
    assert stream.output(1) == text.encode()


def test_unknown_user_and_missing_cwd(container: Container) -> None:
    container.exec("true", user={"username": "nosuch"})
    assert "unable to find user nosuch" in container.until(wire.ExecFailed).message
    container.exec("true", cwd="/no/such")
    failed = container.until(wire.ExecFailed)
    assert failed.message == 'chdir to cwd ("/no/such") set in config.json failed: no such file or directory'


def test_many_at_once(container: Container) -> None:
    streams = {}
    for number in range(40):
        name = f"e{number}"
        streams[name] = container.exec("sh", "-c", f"echo {number}; exit {number}", attach=wire.Attach(), exec_id=name)
    codes = {}
    while len(codes) < 40:
        ended = container.until(wire.ExecExited)
        codes[ended.id] = ended.code
    assert codes == {f"e{number}": number for number in range(40)}
    for name, stream in streams.items():
        assert stream is not None
        stream.finish()
        assert stream.output() == name[1:].encode() + b"\n"


def test_background_children_do_not_hold_it_for_ever(container: Container) -> None:
    assert run(container, "sh", "-c", "sleep 1000 & echo started")[:2] == (0, b"started\n")


def test_they_end_before_the_container(runtime: Runtime, bundle: TestBundle) -> None:
    made = runtime.launch(bundle, "/bin/sleep", "1000")
    made.started()
    streams = [made.exec("sleep", "999", attach=wire.Attach(), exec_id=name) for name in "ab"]
    for _ in streams:
        made.until(wire.ExecStarted)
    state = made.reconnect()
    assert state.execs == {"a": -1, "b": -1}
    assert all(os.path.exists(f"/proc/{pid}") for pid in state.exec_pids.values())
    assert made.kill() == 137
    ends = [each for each in made.heard if isinstance(each, wire.ExecExited | wire.Exited)]
    assert {each.id: each.code for each in ends[:2] if isinstance(each, wire.ExecExited)} == {"a": 137, "b": 137}
    assert isinstance(ends[2], wire.Exited)
    for stream in streams:
        assert stream is not None
        stream.finish()


def test_their_codes_are_told_with_the_container_s_end(runtime: Runtime, bundle: TestBundle) -> None:
    made = runtime.launch(bundle, "sleep", "1000")
    made.started()
    for name, code in (("three", 3), ("four", 4)):
        made.exec("sh", "-c", f"exit {code}", exec_id=name)
        made.until(wire.ExecExited)
    made.exec("sleep", "1000", exec_id="runs")
    made.until(wire.ExecStarted)
    made.control.send(wire.Signal(9))
    told = made.until(wire.Exited)
    assert (told.code, told.execs) == (137, {"three": 3, "four": 4, "runs": 137})
    assert bundle.bundle.read_exit() == told
    made.release()


def test_exec_into_one_that_has_ended(runtime: Runtime, bundle: TestBundle) -> None:
    made = runtime.launch(bundle, "/bin/true")
    assert made.exited(release=False) == 0
    made.exec("true")
    assert "not running" in made.until(wire.ExecFailed).message
    made.release()


def test_what_is_read_too_late_is_not_started(container: Container, bundle: TestBundle) -> None:
    process = {"args": ["touch", "/late"], "env": ["PATH=/bin"], "cwd": "/"}
    container.control.send(wire.Exec("late", process, until=time.monotonic()))
    assert "in time" in container.until(wire.ExecFailed).message
    container.control.send(wire.Exec("soon", {**process, "args": ["touch", "/soon"]}, until=time.monotonic() + 60))
    assert container.until(wire.ExecExited) == wire.ExecExited("soon", 0)
    assert (bundle.upper / "soon").exists() and not (bundle.upper / "late").exists()


def test_codes_are_kept_for_the_next_daemon(container: Container, bundle: TestBundle) -> None:
    container.exec("sh", "-c", "touch /made; exit 6")
    container.control.close()
    eventually((bundle.upper / "made").exists)
    container.control = wire.connect(bundle.bundle.shim_socket)
    state = container.next()
    assert isinstance(state, wire.State)
    if state.execs["e"] == -1:
        assert container.until(wire.ExecExited).code == 6
    else:
        assert state.execs == {"e": 6}
