"""Raw mode on a real pseudo-terminal, and the detach keys."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import Iterator

import pytest

from minirund.cli.terminal import KeySequence, RawMode, is_terminal, key_bytes


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_raw_mode_is_left_again(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with RawMode(terminal):
        inside = termios.tcgetattr(terminal)
        assert not inside[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert not inside[1] & termios.OPOST
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_is_left_on_an_exception(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    with pytest.raises(RuntimeError), RawMode(terminal):
        raise RuntimeError
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_that_is_not_wanted_touches_nothing() -> None:
    with RawMode(-1, enabled=False):
        pass


def test_is_terminal(terminal: int) -> None:
    reading, writing = os.pipe()
    assert is_terminal(terminal)
    assert not is_terminal(reading)
    os.close(reading)
    os.close(writing)
    assert not is_terminal(reading)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a,B", b"aB"),
        ("ctrl-a,d", b"\x01d"),
        ("ctrl-@,ctrl-_", b"\x00\x1f"),
    ],
)
def test_key_names(keys: str, expected: bytes) -> None:
    assert key_bytes(keys) == expected


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-1", "ctrl-pq", "abc", "a,,b"])
def test_no_such_key(keys: str) -> None:
    with pytest.raises(ValueError, match="invalid detach keys"):
        key_bytes(keys)


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ([b"\x10\x11"], True),
        ([b"ab\x10", b"\x11"], True),
        ([b"\x10a\x11"], False),
        ([b"\x10\x10\x11"], True),
        ([b"\x11\x10"], False),
    ],
)
def test_key_sequence(typed: list[bytes], seen: bool) -> None:
    sequence = KeySequence(b"\x10\x11")
    assert [sequence.seen(data) for data in typed][-1] is seen


SESSION = """
import socket, os, sys
sys.path.insert(0, {root!r})
from minirund.cli.session import Session, ending_by_signal
from minirund.cli.streams import Console

class Response:
    def __init__(self, sock): self.sock = sock
    def take(self): return self.sock, b""

class Away:
    def begin(self, *_): raise __import__("minirund.client").client.ConnectError("/none", 2)

mine, its = socket.socketpair()
its.sendall(b"ready")
session = Session(Away(), "/containers/x", tty=True, stdin=True)
def follow():
    with session.signals():
        session.stream(Response(mine))
    return 0
ending_by_signal(follow)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_that_ends_the_command_finds_the_terminal_restored(number: int, tmp_path: os.PathLike[str]) -> None:
    """The program is a real session on a pseudo-terminal; only the daemon, which it does not need, is away."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for descriptor in (0, 1, 2):
            os.dup2(slave, descriptor)
        os.execv(sys.executable, [sys.executable, "-c", SESSION.format(root=root)])
    shown = b""
    while not shown.endswith(b"ready"):
        assert select.select([master], [], [], 10)[0], shown
        shown += os.read(master, 100)
    assert not termios.tcgetattr(slave)[3] & termios.ICANON
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -number
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
