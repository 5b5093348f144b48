"""The shim's side of the conversation with the daemon: one connection at a time, and a door for the next daemon.

The connection that came with ``Launch`` is the first. When the daemon dies, a new one finds ``shim.sock`` in the run
directory and connects; it is told the ``State`` and takes the place of the old connection. What is to be said while
nobody listens is not kept here: ``State`` says it. Nothing blocks: messages to a daemon that is busy wait in a queue.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable

from minirund import wire
from minirund.runtime.loop import GONE, READ, WRITE, Loop

Receive = Callable[[wire.Message, list[int]], None]


class Control:
    """Owns the connection and the listening socket."""

    def __init__(self, loop: Loop, first: int, receive: Receive, state: Callable[[], wire.State]) -> None:
        self._loop, self._receive, self._state = loop, receive, state
        self._channel: wire.Channel | None = None
        self._queue: deque[wire.Message] = deque()
        self._listener: socket.socket | None = None
        self._inode = 0
        self._take(wire.Channel(socket.socket(fileno=first)))

    @property
    def connected(self) -> bool:
        """Whether a daemon listens."""
        return self._channel is not None

    def listen(self, listener: int, path: str, inode: int) -> None:
        """Open the door: ``listener`` is shim.sock, at ``path``, of this inode number."""
        self._listener = made = socket.socket(fileno=listener)
        self._path, self._inode = path, inode
        self._loop.watch(listener, READ, lambda _events: self._accept(made))

    def send(self, message: wire.Message) -> None:
        """Say it to the daemon, if there is one."""
        if self._channel is not None:
            self._queue.append(message)
            self._flush()

    def _take(self, channel: wire.Channel) -> None:
        self._drop()
        channel.setblocking(False)
        self._channel = channel
        self._loop.watch(channel.fileno(), READ, self._ready)

    def _drop(self) -> None:
        if self._channel is not None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
        self._channel = None
        self._queue.clear()

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _address = listener.accept()
        except OSError:
            return
        self._take(wire.Channel(accepted))
        self.send(self._state())

    def _flush(self) -> None:
        while self._channel is not None and self._queue:
            try:
                self._channel.send(self._queue[0])
            except BlockingIOError:
                self._loop.watch(self._channel.fileno(), READ | WRITE, self._ready)
                return
            except OSError:
                self._drop()
                return
            self._queue.popleft()
        if self._channel is not None:
            self._loop.watch(self._channel.fileno(), READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & (READ | GONE) and self._channel is not None:
            self._read(self._channel)

    def _read(self, channel: wire.Channel) -> None:
        try:
            received = channel.receive()
        except BlockingIOError:
            return
        except wire.ProtocolError:
            return  # a newer daemon's message that we don't know: it will see that nothing comes of it
        except OSError:
            received = None
        if received is None:
            self._drop()
        else:
            self._receive(*received)

    def close(self) -> None:
        """Take the door away if it is still ours, then hang up: who hears that finds nothing of us."""
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            with contextlib.suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:
                    os.unlink(self._path)
            self._listener.close()
        self._drop()
