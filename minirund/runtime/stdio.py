"""The stdio of one process: its output to the log and to clients, the clients' input to its stdin.

                      ┌──▶ log
    process ──pipe or terminal──▶ Session ──▶ client, client, ...
    process ◀──pipe or terminal── Sink ◀───── client, client, ...

A Session belongs to the container or to one exec, and lives in the shim. Every byte is read once. When a client's
buffer is full, the process is not read from until there is room, so the process itself waits: that is backpressure. A
Session ends when its process and all outputs have ended; then its clients get what is left, and are closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable

from minirund import wire
from minirund.runtime import devices
from minirund.runtime.clients import Client
from minirund.runtime.log import LogReader, LogWriter
from minirund.runtime.loop import READ, WRITE, Loop

CHUNK = 64 * 1024
INPUT_FULL = 64 * 1024
LEFT_BEHIND = 4 << 20  # more than a pipe can hold: what is read at most after the process has ended
HELD_OPEN = 0.2  # seconds that an output may stay open after the process has ended


class Sink:
    """The way to a process's stdin. Owns the descriptor."""

    def __init__(self, loop: Loop, descriptor: int, on_room: Callable[[], None]) -> None:
        os.set_blocking(descriptor, False)
        self._loop, self._descriptor, self._on_room = loop, descriptor, on_room
        self._waiting = bytearray()
        self._ending = False
        self.closed = False

    def write(self, data: bytes) -> None:
        """Pass bytes on, now or when the process reads; to a closed stdin they are lost."""
        if not (self.closed or self._ending):
            self._waiting += data
            self._flush()

    @property
    def room(self) -> bool:
        """Whether more should be sent."""
        return len(self._waiting) < INPUT_FULL

    def end(self) -> None:
        """Close once all has been passed on."""
        self._ending = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """Close: a pipe's reader sees end-of-file."""
        if not self.closed:
            self.closed = True
            self._waiting.clear()
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)

    def _flush(self, _events: int = 0) -> None:
        was_full = not self.room
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting)]
        except BlockingIOError:
            self._loop.watch(self._descriptor, WRITE, self._flush)
        except OSError:  # nobody reads there any more
            self.close()
        else:
            self._loop.forget(self._descriptor)
            if self._ending:
                self.close()
        if was_full and self.room:
            self._on_room()


class Session:
    """The outputs, the stdin and the clients of one process. Owns them all."""

    def __init__(self, loop: Loop, stdin: bool, end_stdin: bool, on_end: Callable[[], None]) -> None:
        """``stdin``: the process has one that clients may write to. ``end_stdin``: it is closed when the first client
        that had it has gone or has nothing more to send."""
        self._loop, self._stdin, self._end_stdin, self._on_end = loop, stdin, end_stdin, on_end
        self.log: LogWriter | None = None
        self._outputs: dict[int, int] = {}
        self._clients: list[Client] = []
        self._sink: Sink | None = None
        self._paused = self._draining = False
        self._early = bytearray()
        self._early_end = False
        self.terminal = -1
        """The terminal's master, or -1."""
        self.ended = False

    # --- the process's side

    def add_output(self, descriptor: int, stream: int) -> None:
        """Read from here; the session owns the descriptor."""
        os.set_blocking(descriptor, False)
        self._outputs[descriptor] = stream
        if not self._paused:
            self._watch(descriptor)

    def set_input(self, descriptor: int) -> None:
        """Where input goes; what clients have sent before is waiting."""
        self._sink = Sink(self._loop, descriptor, self._update_clients)
        self._sink.write(bytes(self._early))
        self._early.clear()
        if self._early_end:
            self._sink.end()
        self._update_clients()

    def set_terminal(self, master: int) -> None:
        """Output and input are one terminal."""
        self.terminal = master
        self.set_input(os.dup(master))
        self.add_output(master, wire.STDOUT)

    def resize(self, height: int, width: int) -> None:
        """Tell the terminal its size; a process without one does not care."""
        if self.terminal >= 0 and not self.ended:
            with contextlib.suppress(OSError):
                devices.set_size(self.terminal, {"height": height, "width": width})

    def _read(self, descriptor: int) -> bool:
        """One read; False at the end of this output, or when there is nothing now."""
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's way of saying that its other side is closed
                raise
            data = b""
        if not data:
            self._end_output(descriptor)
            return False
        self._give_out(self._outputs[descriptor], data)
        return True

    def _give_out(self, stream: int, data: bytes) -> None:
        if self.log is not None:
            self.log.write(stream, data)
        for client in list(self._clients):
            client.send(stream, data)
        self._check_pressure()

    def _end_output(self, descriptor: int) -> None:
        self._loop.forget(descriptor)
        del self._outputs[descriptor]
        os.close(descriptor)
        if descriptor == self.terminal:
            self.terminal = -1
        if self._draining and not self._outputs:
            self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._loop.cancel(self.give_up)
        if self._sink is not None:
            self._sink.close()
        if self.log is not None:
            self.log.close()
        self._on_end()  # the daemon is told before any client: who sees its stream end may ask for the exit code
        for client in list(self._clients):
            client.finish()

    def process_ended(self) -> None:
        """Take what the process left, whether or not clients keep up. An output that somebody else holds open gets a
        little more time, and is then given up."""
        self._draining = True
        for descriptor in list(self._outputs):
            for _ in range(LEFT_BEHIND // CHUNK):
                if not self._read(descriptor):
                    break
        if not self._outputs:
            self._end()
            return
        for descriptor in self._outputs:
            self._watch(descriptor)
        self._loop.call_at(time.monotonic() + HELD_OPEN, self.give_up)

    def give_up(self) -> None:
        """Read no more, and end."""
        for descriptor in list(self._outputs):
            self._end_output(descriptor)
        self._end()

    # --- the clients' side

    def attach(self, descriptor: int, attach: wire.Attach) -> None:
        """A client's socket becomes part of this. The session owns it."""
        attach.stdin = attach.stdin and self._stdin
        client = Client(self._loop, descriptor, attach, self)
        self._clients.append(client)
        replay = self._replay() if attach.logs else None
        client.start(replay)
        if self.ended and not client.closed:
            client.finish()
        self._check_pressure()

    def _replay(self) -> LogReader | None:
        return LogReader(self.log.path) if self.log is not None else None

    def say(self, text: str) -> None:
        """A word of our own to the clients, as output; not for the log."""
        for client in list(self._clients):
            client.send(wire.STDOUT, text.encode())

    @property
    def has_clients(self) -> bool:
        """Whether somebody is still to be given something."""
        return bool(self._clients)

    def close_clients(self) -> None:
        """Hang up on everybody."""
        for client in list(self._clients):
            client.close()

    def take_input(self, data: bytes) -> None:
        """See ``clients.Stdio``."""
        if self._sink is not None:
            self._sink.write(data)
        elif not self.ended:
            self._early += data

    def input_room(self) -> bool:
        """See ``clients.Stdio``."""
        return self._sink.room if self._sink is not None else len(self._early) < INPUT_FULL

    def input_ended(self, client: Client) -> None:
        """See ``clients.Stdio``. A terminal has no end of input: its user types ctrl-d."""
        if not (client.attach.stdin and self._end_stdin) or self.terminal >= 0:
            return
        self._early_end = True
        if self._sink is not None:
            self._sink.end()

    def drained(self) -> None:
        """See ``clients.Stdio``."""
        if self._paused:
            self._check_pressure()

    def unrecorded(self) -> Iterable[tuple[int, bytes]]:
        """See ``clients.Stdio``."""
        return list(self.log.waiting()) if self.log is not None else ()

    def client_gone(self, client: Client) -> None:
        """See ``clients.Stdio``."""
        self._clients.remove(client)
        self.input_ended(client)
        self._check_pressure()

    def _update_clients(self) -> None:
        for client in list(self._clients):
            client.update()

    def _check_pressure(self) -> None:
        """Stop reading the process while a client's buffer is full; go on when none is."""
        full = any(client.full for client in self._clients)
        if full == self._paused or self._draining:
            return
        self._paused = full
        for descriptor in self._outputs:
            if full:
                self._loop.forget(descriptor)  # not just without events: a hang-up would be told for ever
            else:
                self._watch(descriptor)

    def _on_ready(self, descriptor: int) -> None:
        if descriptor in self._outputs:
            self._read(descriptor)

    def _watch(self, descriptor: int) -> None:
        self._loop.watch(descriptor, READ, lambda _events: self._on_ready(descriptor))
