"""Shims are forked ahead of time: who forks them, what becomes of those who wait, and what they start with."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bundles import PATIENCE, Runtime, TestBundle, eventually, kinds, make_bundle

from minirund import wire
from minirund.runtime.command import command


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except OSError:
        return ""


def zygote(runtime: Runtime) -> int:
    spawner = runtime.process.pid
    eventually(lambda: [title(each) for each in children(spawner)] == ["minirund-zygote"], "there is no zygote")
    return children(spawner)[0]


def waiting(of: int) -> int:
    """The shim that waits. It has the zygote's title still, and a session of its own."""
    found: list[int] = eventually(
        lambda: [each for each in children(of) if title(each) == "minirund-zygote" and os.getsid(each) == each],
        "no shim waits",
    )
    return found[0]


def test_a_shim_waits_and_the_next_one_is_made(bundle: TestBundle) -> None:
    with Runtime() as runtime:
        of = zygote(runtime)
        first = waiting(of)
        container = runtime.launch(bundle, "/bin/sleep", "1000")
        container.started()
        assert container.shim_pid() == first
        assert title(first) == f"minirund-shim {bundle.id}"
        eventually(lambda: waiting(of) != first)
        assert container.kill() == 137


def test_the_zygote_and_who_waits_go_with_the_spawner(bundle: TestBundle) -> None:
    with Runtime() as runtime:
        of = zygote(runtime)
        left = [of, waiting(of)]
        runtime.process.kill()
        for each in left:
            eventually(lambda each=each: not title(each), "it stays")


def test_a_shim_that_waits_is_killed(runtime: Runtime, bundle: TestBundle) -> None:
    of = zygote(runtime)
    killed = waiting(of)
    os.kill(killed, signal.SIGKILL)
    assert runtime.run(bundle, "/bin/true").code == 0
    assert waiting(of) != killed


def test_without_the_zygote_the_spawner_goes(tmp_path: Path, lower: Path) -> None:
    runtime = Runtime()
    of = zygote(runtime)
    last = waiting(of)
    os.kill(of, signal.SIGKILL)
    eventually(lambda: not title(of))
    assert runtime.run(make_bundle(tmp_path, lower), "/bin/true").code == 0  # by the one that waited
    eventually(lambda: not title(last))
    bundle = make_bundle(tmp_path, lower)
    container = runtime.launch(bundle, "/bin/true")
    assert container.next() is None  # the daemon hears nothing, and asks a new spawner
    container.control.close()
    assert runtime.process.wait(PATIENCE) == 0
    assert not title(of)
    with runtime:
        Path(bundle.cgroup).rmdir()


@contextmanager
def failing_forks(of: int, calls: Path, which: str = "1+") -> Iterator[None]:
    """Let a process's forks fail: ``which`` in strace(1)'s words."""
    command = ["strace", "-p", str(of), "-e", f"inject=clone:error=EAGAIN:when={which}", "-o", str(calls)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            yield
        finally:
            tracer.terminate()


def test_a_fork_that_failed_ahead_of_a_start_fails_no_start(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    of = zygote(runtime)
    waiting(of)
    with failing_forks(of, tmp_path / "calls", "1"):
        assert runtime.run(make_bundle(tmp_path, lower), "/bin/true").code == 0  # by the one that waits
        eventually(lambda: "EAGAIN" in (tmp_path / "calls").read_text(), "no fork failed")
        assert runtime.run(make_bundle(tmp_path, lower), "/bin/true").code == 0


def test_a_start_that_no_shim_can_be_forked_for_is_told_to_all_who_wait(
    runtime: Runtime, tmp_path: Path, lower: Path
) -> None:
    of = zygote(runtime)
    waiting(of)
    with failing_forks(of, tmp_path / "calls"):
        assert runtime.run(make_bundle(tmp_path, lower), "/bin/true").code == 0  # by the one that waits
        bundle = make_bundle(tmp_path, lower)
        for _ in range(3):
            failed = runtime.launch(bundle, "/bin/true", clients=(wire.Attach(), wire.Wait()))
            assert failed.until(wire.Failed).errno == errno.EAGAIN
            assert failed.next() is None
            for stream in failed.streams:
                stream.finish()
            assert [bytes(stream.received) for stream in failed.streams] == [
                b"",
                b'13\r\n{"StatusCode":125}\n\r\n0\r\n\r\n',
            ]
            assert not Path(bundle.cgroup).exists() and not Path(bundle.bundle.shim_socket).exists()
            failed.control.close()
    assert runtime.run(make_bundle(tmp_path, lower), "/bin/true").code == 0


def test_many_at_once_each_get_a_shim(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    containers = [runtime.launch(make_bundle(tmp_path, lower), "sh", "-c", f"exit {code}") for code in range(12)]
    assert [container.exited() for container in containers] == list(range(12))


def test_the_rehearsal_leaves_nothing_open(runtime: Runtime) -> None:
    shim = waiting(zygote(runtime))  # it may be on its way there
    expected = ["/dev/null", "/dev/null", "pipe", "socket"]
    eventually(lambda: kinds(shim) == expected, lambda: f"it holds {kinds(shim)}")


@pytest.mark.parametrize("soft", [123, 456])
def test_the_limit_of_descriptors_is_there_from_the_first_shim_on(bundle: TestBundle, soft: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    runtime = Runtime.__new__(Runtime)
    runtime.channel, theirs = wire.Channel.pair()
    words = command(theirs.fileno(), (soft, hard))
    runtime.process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
    theirs.close()
    with runtime:
        result = runtime.sh(bundle, "ulimit -Sn; ulimit -Hn")
    assert result.stdout.split() == [b"%d" % soft, b"%d" % hard]
