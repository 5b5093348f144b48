"""Who is connected to a container: clients on its stdio, and clients that wait for its exit code.

A client is the other end of somebody's ``docker attach``, ``exec`` or ``run``: its HTTP request has been answered, what
is on the socket now is the stream. Output goes out raw (a terminal's) or in Docker's frames: 8 bytes, the first of
them the stream, the last four the length. Nothing here blocks: what a client does not take waits in a buffer, and when
that is full nobody reads the container's output until the client does, or goes.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Protocol

from minirund import wire
from minirund.runtime.log import LogReader
from minirund.runtime.loop import GONE, READ, WRITE, Loop

FULL, ROOM = 256 * 1024, 64 * 1024
INPUT = 32 * 1024


class DetachKeys:
    """Watches typed bytes for the sequence that detaches. What only looked like its beginning is passed on."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._held = keys, b""

    def filter(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the sequence is complete). Bytes behind a complete one are dropped."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            while not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._keys:
                return bytes(passed), True
        return bytes(passed), False


class Stdio(Protocol):
    """What a client needs of the session that it is attached to."""

    def take_input(self, data: bytes) -> None:
        """Bytes for the process's stdin."""

    def input_room(self) -> bool:
        """Whether stdin takes more now."""

    def input_ended(self, client: Client) -> None:
        """The client will send no more."""

    def drained(self) -> None:
        """A client has read what it was sent."""

    def unrecorded(self) -> Iterable[tuple[int, bytes]]:
        """(stream, bytes) that was printed and is not in the log yet."""

    def client_gone(self, client: Client) -> None:
        """The client is closed: forget it."""


class Client:
    """One attached connection. Owns its socket."""

    def __init__(self, loop: Loop, descriptor: int, attach: wire.Attach, stdio: Stdio) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._loop, self._stdio, self.attach = loop, stdio, attach
        self._out = bytearray()
        self._keys = DetachKeys(attach.detach_keys.encode("latin-1"))
        self._reading = attach.stdin
        self._finishing = False
        self.replay: LogReader | None = None
        self.closed = False

    def start(self, replay: LogReader | None) -> None:
        """Begin: what had been sent behind the request comes first; for the client, what is in the log."""
        self.replay = replay
        self._finishing = self._finishing or (replay is None and not self.attach.stream)
        if self.attach.stdin and self.attach.unread:
            self._input(self.attach.unread.encode("latin-1"))
        if not self.closed:
            self._flush()

    @property
    def full(self) -> bool:
        """Whether the container's output has to wait for this client."""
        return len(self._out) > FULL

    def update(self) -> None:
        """Watch for what is of interest now."""
        if not self.closed:
            wanted = READ if self._reading and self._stdio.input_room() else 0
            self._loop.watch(self._socket.fileno(), wanted | (WRITE if self._out else 0), self._ready)

    def send(self, stream: int, data: bytes) -> None:
        """Output for the client, if it wants that stream; one that still reads the log finds it there."""
        if self.replay is None:
            self._put(stream, data)
            if self._out:
                self._flush()

    def finish(self) -> None:
        """No more output will come: close as soon as all has been taken."""
        self._finishing = True
        self._reading = False
        self._flush()

    def close(self) -> None:
        """Close now: the peer reads end-of-file, and not a reset for what it had still sent."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self._socket.fileno())
        if self.replay is not None:
            self.replay.close()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
            while self._socket.recv(INPUT):
                pass
        self._socket.close()
        self._stdio.client_gone(self)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and not self.closed:
            self._read()
        elif events & GONE and not self.closed:
            self.close()

    def _flush(self) -> None:
        """Send as much as the socket takes."""
        try:
            self._send_all()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._finishing and not self._out:
            self.close()
            return
        self.update()
        if len(self._out) < ROOM:
            self._stdio.drained()

    def _send_all(self) -> None:
        """Raises BlockingIOError where the peer has to read first."""
        self._refill()
        while self._out:
            del self._out[: self._socket.send(self._out)]
            self._refill()

    def _refill(self) -> None:
        """While the log is replayed: its next pieces. At its end comes what is not in it yet, then the present."""
        while self.replay is not None and len(self._out) < ROOM:
            pairs = self.replay.read()
            for stream, data in pairs or self._stdio.unrecorded():
                self._put(stream, data)
            if not pairs:
                self.replay.close()
                self.replay = None
                self._finishing = self._finishing or not self.attach.stream

    def _put(self, stream: int, data: bytes) -> None:
        wanted = self.attach.stderr if stream == wire.STDERR else self.attach.stdout
        if wanted and data:
            self._out += wire.frame(stream, data) if self.attach.framed else data

    def _read(self) -> None:
        """Typed bytes, or the end of them."""
        try:
            data = self._socket.recv(INPUT)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if data:
            self._input(data)
            return
        self._reading = False
        self._stdio.input_ended(self)
        self.update()

    def _input(self, data: bytes) -> None:
        passed, detached = self._keys.filter(data)
        if passed:
            self._stdio.take_input(passed)
        if detached:
            self.close()


class Waiters:
    """Clients that wait for the exit code: each gets one HTTP chunk. Owns their sockets."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[socket.socket, bool]] = {}

    def add(self, descriptor: int, wait: wire.Wait) -> None:
        """Let one wait; it may go away meanwhile. One that has ended its own side alone still reads its answer."""
        waiting = socket.socket(fileno=descriptor)
        waiting.setblocking(False)
        self._waiting[descriptor] = (waiting, wait.removed)
        self._loop.watch(descriptor, 0, lambda _gone: self._drop(descriptor))

    def _drop(self, descriptor: int) -> None:
        waiting, _removed = self._waiting.pop(descriptor)
        self._loop.forget(descriptor)
        waiting.close()

    def until_removed(self) -> bool:
        """Whether somebody waits for more than the exit."""
        return any(removed for _socket, removed in self._waiting.values())

    def answer(self, code: int, removed: bool) -> None:
        """Tell them, and close: those that wait for the exit, or (``removed``) all."""
        body = b'{"StatusCode":%d}\n' % code
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        for descriptor, (waiting, for_removal) in list(self._waiting.items()):
            if removed or not for_removal:
                with contextlib.suppress(OSError):
                    waiting.send(chunks)
                    waiting.shutdown(socket.SHUT_WR)
                self._drop(descriptor)
