"""minirun at a terminal, and through the daemon's death. The terminal is a pseudo-terminal; a test types at it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon import BIN, DaemonHost
from waiting import PATIENCE, until

pytestmark = pytest.mark.usefixtures("no_containers_left")

DETACH = b"\x10\x11"


class Terminal:
    """`minirun WORDS` with a terminal of its own."""

    def __init__(self, host: DaemonHost, *words: str, size: tuple[int, int] = (24, 80)) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.shown = b""
        self.process = subprocess.Popen(
            [str(BIN / "minirun"), *words],
            env=host.environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one thread, one ioctl
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def until(self, text: bytes) -> None:
        """Read until this is shown; what came before it is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come, but {self.shown!r}"
            if select.select([self.master], [], [], left)[0]:
                self.shown += os.read(self.master, 4096)
        self.shown = self.shown.partition(text)[2]

    def ends(self) -> int:
        """The exit code; the terminal must be as it was."""
        code = self.process.wait(PATIENCE)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 4096)
        assert termios.tcgetattr(self.slave) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextmanager
def terminal(host: DaemonHost, *words: str, size: tuple[int, int] = (24, 80)) -> Iterator[Terminal]:
    found = Terminal(host, *words, size=size)
    try:
        yield found
    finally:
        found.close()


def test_a_shell(host: DaemonHost) -> None:
    with terminal(host, "run", "-it", "--rm", "busybox", "sh", size=(31, 97)) as shell:
        shell.until(b"# ")
        shell.type(b"stty size; tty\n")
        shell.until(b"31 97")
        shell.until(b"/dev/pts/0")
        shell.resize(40, 120)
        shell.process.send_signal(signal.SIGWINCH)
        shell.type(b"until stty size | grep '40 12[0]'; do sleep 0.1; done\n")  # not what the terminal echoes
        shell.until(b"40 120")
        shell.type(b"sh -c 'echo be\"\"gun; sleep 1000'\n")
        shell.until(b"begun")
        shell.type(b"\x03")
        shell.until(b"# ")
        shell.type(b"exit 7\n")
        assert shell.ends() == 7
    assert host.cli("ps", "-aq").stdout == ""


def test_detach_and_attach(host: DaemonHost) -> None:
    with terminal(host, "run", "-it", "--name", "shell", "busybox", "sh") as shell:
        shell.until(b"# ")
        shell.type(b"mine=1$((1+1))\n")
        shell.until(b"# ")
        shell.type(DETACH)
        assert shell.ends() == 0
    assert host.cli("ps", "--format", "{{.Names}}").stdout == "shell\n"
    with terminal(host, "attach", "shell") as shell:
        shell.type(b"echo $mine\n")
        shell.until(b"\n12\r\n")
        shell.type(DETACH)
        assert shell.ends() == 1
        assert b"read escape sequence" in shell.shown
    with terminal(host, "attach", "--detach-keys", "ctrl-x,y", "shell") as shell:
        shell.type(b"\x18y")
        assert shell.ends() == 1
    with terminal(host, "attach", "shell") as shell:
        shell.type(b"exit 5\n")
        assert shell.ends() == 5
    with terminal(host, "start", "-ai", "shell") as shell:
        shell.until(b"# ")
        shell.type(b"exit 6\n")
        assert shell.ends() == 6


def test_exec_at_a_terminal(host: DaemonHost) -> None:
    host.cli("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
    with terminal(host, "exec", "-it", "idle", "sh", size=(33, 99)) as shell:
        shell.until(b"# ")
        shell.type(b"stty size\n")
        shell.until(b"33 99")
        shell.type(b"exit 4\n")
        assert shell.ends() == 4
    with terminal(host, "exec", "-it", "idle", "sh") as shell:
        shell.until(b"# ")
        shell.type(DETACH)
        assert shell.ends() == 1
        assert b"read escape sequence" in shell.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_is_restored_when_a_signal_ends_the_command(host: DaemonHost, number: int) -> None:
    with terminal(host, "run", "-it", "busybox", "sh") as shell:
        shell.until(b"# ")
        shell.process.send_signal(number)
        assert shell.ends() == -number


def test_a_pull_at_a_terminal_is_refused_in_one_line(host: DaemonHost) -> None:
    with terminal(host, "pull", "127.0.0.1:1/none") as pull:
        assert pull.ends() == 1
        assert b"Using default tag: latest\r\n" in pull.shown
        assert b"Error response from daemon" in pull.shown


def test_sessions_outlive_the_daemon(own_host: DaemonHost) -> None:
    """A shell of run, a shell of exec, and a run that nobody types at go through a kill -9 and the next start."""
    host = own_host
    host.start()
    host.load_busybox()
    script = "echo begun; read line; echo $line; exit 3"
    with (
        terminal(host, "run", "-it", "--rm", "--name", "first", "busybox", "sh") as first,
        terminal(host, "run", "-it", "--name", "second", "busybox", "sh", "-c", script) as second,
    ):
        first.until(b"# ")
        second.until(b"begun")
        with terminal(host, "exec", "-it", "first", "sh") as third:
            third.until(b"# ")
            host.kill9()
            first.type(b"echo still $((40+2))\n")
            first.until(b"still 42")
            third.type(b"echo here $((40+3))\n")
            third.until(b"here 43")
            second.type(b"typed while it was away\n")
            second.until(b"typed while it was away")
            assert second.ends() == 3
            third.type(b"exit 9\n")
            assert third.process.poll() is None
            host.start()
            assert third.ends() == 9
        first.type(b"echo again $((40+4))\n")
        first.until(b"again 44")
        first.type(b"exit 8\n")
        assert first.ends() == 8
    assert host.cli("ps", "-a", "--format", "{{.Names}} {{.Status}}").stdout.startswith("second Exited (3)")


def test_following_a_log_through_the_daemon_s_death_ends_with_a_word(own_host: DaemonHost) -> None:
    host = own_host
    host.start()
    host.load_busybox()
    host.cli("run", "-d", "--name", "talk", "busybox", "sh", "-c", "echo hello; sleep 1000")
    command = [str(BIN / "minirun"), "logs", "-f", "talk"]
    with subprocess.Popen(
        command, env=host.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as logs:
        assert logs.stdout is not None
        assert logs.stderr is not None
        assert logs.stdout.readline() == "hello\n"
        host.kill9()
        code, words = logs.wait(PATIENCE), logs.stderr.read()
    host.start()
    assert code == 1
    assert words.startswith("minirun: the log broke off")
    assert len(words.splitlines()) == 1


def test_exit_codes_outlive_the_daemon(own_host: DaemonHost) -> None:
    """Two runs and a wait, begun before a kill -9; one container ends while no daemon is there, the others later."""
    host = own_host
    host.start()
    host.load_busybox()

    def begin(*words: str) -> subprocess.Popen[str]:
        command = [str(BIN / "minirun"), *words]
        return subprocess.Popen(
            command,
            env=host.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    script = "echo begun; while [ ! -e /go ]; do sleep 0.02; done; echo on; exit {}"

    with (
        begin("run", "--rm", "--name", "soon", "busybox", "sh", "-c", script.format(4)) as soon,
        begin("run", "--name", "late", "busybox", "sh", "-c", script.format(5)) as late,
    ):
        for run in (soon, late):
            assert run.stdout is not None
            assert run.stdout.readline() == "begun\n"
        found = {name: host.api("GET", f"/containers/{name}/json")[1] for name in ("soon", "late")}
        before = host.clients_of(found["late"]["Id"])
        with begin("wait", "late") as waiting:
            until(lambda: host.clients_of(found["late"]["Id"]) > before, "it does not wait")
            host.kill9()
            Path(f"/proc/{found['soon']['State']['Pid']}/root/go").touch()
            assert soon.stdout is not None
            assert soon.stdout.readline() == "on\n"
            host.start()
            host.cli("exec", "late", "touch", "/go")
            assert [run.communicate(timeout=PATIENCE) for run in (soon, late, waiting)] == [
                ("", ""),
                ("on\n", ""),
                ("5\n", ""),
            ]
            assert [run.returncode for run in (soon, late, waiting)] == [4, 5, 0]
