"""Both ends of a hijacked connection: frames taken apart, stdin passed on, half-close, detaching; and the loop."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from minirund.cli.context import write_all
from minirund.cli.loop import Loop, Signals, signal_name
from minirund.cli.streams import Console, Demultiplexer


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


FRAMES = frame(1, b"out ") + frame(2, b"err ") + frame(1, b"") + frame(3, b"daemon ") + frame(1, b"x" * 100)


@pytest.mark.parametrize("step", [1, 3, 8, 11, 1000])
def test_frames_cut_anywhere(step: int) -> None:
    written = {1: b"", 2: b""}

    def write(target: int, data: bytes) -> None:
        written[target] += data

    demultiplexer = Demultiplexer(write)
    for at in range(0, len(FRAMES), step):
        demultiplexer.feed(FRAMES[at : at + step])
    assert written == {1: b"out " + b"x" * 100, 2: b"err daemon "}


@contextmanager
def as_descriptor(number: int, replacement: int) -> Iterator[None]:
    """Let a descriptor of this process be another one for a while."""
    saved = os.dup(number)
    os.dup2(replacement, number)
    try:
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)


class Ends:
    """A console between pipes on this process's 0 and 1, and a socket."""

    def __init__(self) -> None:
        stdin, self.typing = os.pipe()
        self.shown, stdout = os.pipe()
        self.client, self.container = socket.socketpair()
        self._stack = [as_descriptor(0, stdin), as_descriptor(1, stdout)]
        for end in self._stack:
            end.__enter__()
        os.close(stdin)
        os.close(stdout)

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_: object) -> None:
        for end in reversed(self._stack):
            end.__exit__(None, None, None)
        for descriptor in (self.typing, self.shown):
            with suppress(OSError):
                os.close(descriptor)
        self.client.close()
        self.container.close()


def test_input_goes_in_output_comes_out_and_its_end_is_a_half_close() -> None:
    with Ends() as ends:
        loop = Loop()
        console = Console(loop, (ends.client, frame(1, b"first ")), tty=False, stdin=True, keys=None)

        def container() -> None:
            data = b""
            while piece := ends.container.recv(4096):
                data += piece
            ends.container.sendall(frame(1, data.upper()))
            ends.container.close()

        thread = threading.Thread(target=container)
        thread.start()
        os.write(ends.typing, b"typed")
        os.close(ends.typing)
        assert loop.run_until(console.done, 5)
        console.close()
        thread.join()
        assert os.read(ends.shown, 100) == b"first TYPED"
        assert (console.closed, console.detached) == (True, False)


def test_more_input_than_the_socket_holds_is_passed_on_whole() -> None:
    """The container writes while it is being written to: neither side may wait for the other."""
    with Ends() as ends:
        amount = 2_000_000
        loop = Loop()
        console = Console(loop, (ends.client, b""), tty=True, stdin=True, keys=None)
        echoed = bytearray()

        def container() -> None:
            while piece := ends.container.recv(65536):
                ends.container.sendall(piece)
            ends.container.close()

        def user() -> None:
            write_all(ends.typing, b"y" * amount)
            os.close(ends.typing)

        def screen() -> None:
            while len(echoed) < amount and (piece := os.read(ends.shown, 65536)):
                echoed.extend(piece)

        threads = [threading.Thread(target=work) for work in (container, user, screen)]
        for thread in threads:
            thread.start()
        assert loop.run_until(console.done, 10)
        console.close()
        for thread in threads:
            thread.join()
        assert len(echoed) == amount


def test_detach_keys_are_passed_on_and_end_the_session() -> None:
    with Ends() as ends:
        loop = Loop()
        console = Console(loop, (ends.client, b""), tty=True, stdin=True, keys=b"\x10\x11")
        os.write(ends.typing, b"ls\x10")
        os.write(ends.typing, b"\x11")
        assert loop.run_until(console.done, 5)
        assert (console.closed, console.detached) == (False, True)
        console.close()
        assert ends.container.recv(100) == b"ls\x10\x11"


def test_a_container_that_is_gone_ends_the_session_though_stdin_is_open() -> None:
    with Ends() as ends:
        loop = Loop()
        console = Console(loop, (ends.client, b""), tty=True, stdin=True, keys=None)
        ends.container.sendall(b"bye")
        ends.container.close()
        assert loop.run_until(console.done, 5)
        console.close()
        assert os.read(ends.shown, 10) == b"bye"


def test_a_container_that_reads_no_more_may_go_on_writing() -> None:
    with Ends() as ends:
        loop = Loop()
        console = Console(loop, (ends.client, b""), tty=True, stdin=True, keys=None)
        ends.container.shutdown(socket.SHUT_RD)
        os.write(ends.typing, b"unread")
        assert not loop.run_until(console.done, 0.05)
        ends.container.sendall(b"still here")
        ends.container.close()
        assert loop.run_until(console.done, 5)
        console.close()
        assert os.read(ends.shown, 20) == b"still here"


def test_without_stdin_nothing_is_read() -> None:
    with Ends() as ends:
        loop = Loop()
        console = Console(loop, (ends.client, b""), tty=True, stdin=False, keys=None)
        os.write(ends.typing, b"kept")
        ends.container.close()
        assert loop.run_until(console.done, 5)
        console.close()
        assert os.read(0, 10) == b"kept"


def test_everything_is_written_to_a_descriptor_that_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = os.urandom(1_000_000)
    found = bytearray()

    def reader() -> None:
        while piece := os.read(reading, 65536):
            found.extend(piece)

    thread = threading.Thread(target=reader)
    thread.start()
    write_all(writing, data)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert bytes(found) == data


def test_signals_arrive_in_the_loop_and_their_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    loop = Loop()
    caught: list[int] = []
    with Signals(loop, [signal.SIGUSR1, signal.SIGUSR2], caught.append):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert loop.run_until(lambda: len(caught) == 2, 5)
    assert sorted(caught) == [signal.SIGUSR1, signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_loop_says_when_nothing_happened() -> None:
    assert not Loop().run_until(lambda: False, 0.01)


def test_signal_names() -> None:
    assert [signal_name(number) for number in (1, 2, 15, 99)] == ["HUP", "INT", "TERM", "99"]


def test_a_process_dies_of_the_signal_that_ended_it() -> None:
    program = "from minirund.cli.loop import die_of; die_of(15)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGTERM
