"""One hijacked connection joined to this process's stdin, stdout and stderr.

After ``101 UPGRADED`` the connection carries what is typed one way, and the other way either a terminal's bytes as
they are or, without a terminal, frames (Docker Engine API, "Stream format")::

    [1 stdout | 2 stderr | 3 the daemon's own error] [0 0 0] [length, 4 bytes, big endian] [that many bytes]

The end of stdin is passed on as a half-close, so that ``echo x | minirun run -i cat`` ends.
"""

from __future__ import annotations

import os
from select import POLLIN, POLLOUT

from minirund.cli.context import write_all
from minirund.cli.terminal import KeySequence
from minirund.lean import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirund.cli.loop import Loop

_HEADER = 8
_SIZE = 256 * 1024


class Demultiplexer:
    """Takes the frames apart; ``write(descriptor, data)`` gets what belongs to stdout (1) and stderr (2)."""

    def __init__(self, write: Callable[[int, bytes], None] = write_all) -> None:
        self._write = write
        self._header = b""
        self._left = 0
        self._target = 1

    def feed(self, data: bytes) -> None:
        """Some more bytes of the connection, cut anywhere. Neighbours with one target are written at once."""
        data, position = self._header + data, 0
        self._header = b""
        pieces: list[bytes] = []
        target = self._target
        while position < len(data):
            if not self._left:
                if len(data) - position < _HEADER:
                    self._header = data[position:]
                    break
                self._take_header(data, position)
                position += _HEADER
                if self._target != target:
                    self._write_all(target, pieces)
                    target = self._target
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            pieces.append(piece)
        self._write_all(target, pieces)

    def _take_header(self, data: bytes, position: int) -> None:
        self._target = 2 if data[position] in (2, 3) else 1
        self._left = int.from_bytes(data[position + 4 : position + _HEADER], "big")

    def _write_all(self, target: int, pieces: list[bytes]) -> None:
        if text := b"".join(pieces):
            self._write(target, text)
        pieces.clear()


def sink(*, tty: bool) -> Callable[[bytes], None]:
    """Where a connection's bytes go: to stdout as they are with a terminal, else taken apart."""
    return (lambda data: write_all(1, data)) if tty else Demultiplexer().feed


class Console:
    """Moves bytes both ways until the other side closes, or the detach keys have been typed.

    The daemon's side acts on the keys; here they only tell a detach from an end.
    """

    def __init__(
        self, loop: Loop, taken: tuple[socket.socket, bytes], *, tty: bool, stdin: bool, keys: bytes | None
    ) -> None:
        self._loop = loop
        self._socket, leftover = taken
        self._sink = sink(tty=tty)
        self._keys = KeySequence(keys) if keys else None
        self._unsent = b""
        self._reading = stdin
        self.closed = False
        self.detached = False
        self._socket.setblocking(False)
        if leftover:
            self._sink(leftover)
        self._watch()

    def done(self) -> bool:
        """Whether the stream has ended, one way or the other."""
        return self.closed or self.detached

    def close(self) -> None:
        """Leave the loop and close the connection."""
        self._loop.off(0)
        self._loop.off(self._socket.fileno())
        self._socket.close()

    def _watch(self) -> None:
        self._loop.on(self._socket.fileno(), self._ready, POLLIN | POLLOUT if self._unsent else POLLIN)
        if self._reading and not self._unsent:
            self._loop.on(0, self._typed)
        else:
            self._loop.off(0)

    def _ready(self, events: int) -> None:
        if self._unsent and events & POLLOUT:
            self._send()
        if events & ~POLLOUT:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._sink(data)
        else:
            self.closed = True
            self._loop.off(0)
            self._loop.off(self._socket.fileno())

    def _typed(self, _: int) -> None:
        try:
            data = os.read(0, _SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._reading = False
            self._half_close()
            self._watch()
            return
        self._unsent = data
        self._send()
        self.detached = self._keys is not None and self._keys.seen(data)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass
        except OSError:  # the other side reads no more, but may still have something to say
            self._unsent = b""
            self._reading = False
        self._watch()

    def _half_close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._reading = False
