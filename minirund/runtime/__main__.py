"""The runtime alone: ``python -m minirund.runtime run BUNDLE`` and ``... spec``.

``run`` starts a bundle with the caller's own stdin, stdout and stderr, through the same spawner and shim as always,
waits for its end and passes its exit code on. ``spec`` prints a default config.json. So somebody can try out a
configuration written by hand, with no daemon:

    mkdir -p b/rootfs/bin && cp /bin/busybox b/rootfs/bin/sh
    python -m minirund.runtime spec > b/config.json
    python -m minirund.runtime run b
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator
from typing import Any

from minirund import wire
from minirund.runtime.command import command
from minirund.runtime.spec import default_config

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
HEADER = 8


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m minirund.runtime", description="Run an OCI bundle, alone.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("spec", help="print a default config.json")
    run_parser = commands.add_parser("run", help="run a bundle in the foreground")
    run_parser.add_argument("bundle")
    options = parser.parse_args()
    if options.command == "spec":
        print(json.dumps(default_config(), indent=4))
        return 0
    return run(os.path.abspath(options.bundle))


def run(bundle: str) -> int:
    """Run a bundle with our stdio; returns its exit code."""
    with open(f"{bundle}/config.json", "rb") as file:
        config = json.load(file)
    with tempfile.TemporaryDirectory(prefix="minirund-") as run_directory, spawner() as channel:
        process = config.get("process") or {}
        ours, report = wire.Channel.pair()
        stream, client = socket.socketpair()
        terminal = bool(process.get("terminal"))
        attach = wire.Attach(stdin=True, framed=not terminal, detach_keys="")
        launch = wire.Launch(os.path.basename(bundle), bundle, run_directory, clients=[attach])
        channel.send(launch, [report.fileno(), client.fileno()])
        report.close()
        client.close()
        with ours, stream, raw_terminal(terminal):
            return Foreground(ours, stream, terminal).serve()


@contextlib.contextmanager
def spawner() -> Iterator[wire.Channel]:
    """A spawner of our own, for one container."""
    ours, theirs = wire.Channel.pair()
    process = subprocess.Popen(command(theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        with ours:
            yield ours
    finally:
        process.wait()


@contextlib.contextmanager
def raw_terminal(wanted: bool) -> Iterator[None]:
    """Our terminal passes every key on, until the end."""
    if not (wanted and os.isatty(0)):
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class Foreground:
    """Our stdio on one side, the container's stream and the shim's messages on the other."""

    def __init__(self, control: wire.Channel, stream: socket.socket, terminal: bool) -> None:
        self._control, self._stream, self._terminal = control, stream, terminal
        self._unframed = bytearray()
        self._code: int | None = None

    def serve(self) -> int:
        """Until the output has ended and the exit code is known."""
        poller = select.poll()
        sources: dict[int, Any] = {0: self._type, self._stream.fileno(): self._show, self._control.fileno(): self._hear}
        for descriptor in sources:
            poller.register(descriptor, select.POLLIN)
        self._forward_signals()
        open_sources = set(sources)
        while open_sources - {0}:
            for descriptor, _events in poller.poll():
                if not sources[descriptor]():
                    poller.unregister(descriptor)
                    open_sources.discard(descriptor)
        return 125 if self._code is None else self._code

    def _forward_signals(self) -> None:
        for number in PASSED_ON:
            signal.signal(number, lambda got, _frame: self._tell(wire.Signal(got)))
        if self._terminal and os.isatty(0):
            signal.signal(signal.SIGWINCH, lambda _got, _frame: self._resize())

    def _tell(self, message: wire.Message) -> None:
        with contextlib.suppress(OSError):
            self._control.send(message)

    def _resize(self) -> None:
        rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
        self._tell(wire.Resize(rows, columns))

    def _type(self) -> bool:
        """Our stdin -> the container's."""
        data = os.read(0, 32768)
        try:
            if data:
                self._stream.sendall(data)
            else:
                self._stream.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return bool(data)

    def _show(self) -> bool:
        """The container's output -> our stdout and stderr."""
        data = self._stream.recv(65536)
        if self._terminal:
            write_all(1, data)
            return bool(data)
        self._unframed += data
        while len(self._unframed) >= HEADER:
            stream, length = struct.unpack(">BxxxI", self._unframed[:HEADER])
            if len(self._unframed) < HEADER + length:
                break
            write_all(stream, self._unframed[HEADER : HEADER + length])
            del self._unframed[: HEADER + length]
        return bool(data)

    def _hear(self) -> bool:
        """What the shim says."""
        received = self._control.receive()
        if received is None:
            return False
        message = received[0]
        if isinstance(message, wire.Failed):
            write_all(2, f"{message.message}\n".encode())
            self._code = message.exit_code
        elif isinstance(message, wire.Exited):
            self._code = message.code
            self._control.send(wire.Release())
        elif isinstance(message, wire.Started) and self._terminal and os.isatty(0):
            self._resize()
        return True


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """write(2) until all is written."""
    view = memoryview(bytes(data))
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    sys.exit(main())
