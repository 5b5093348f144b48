"""Clients that wait, and who holds their connection meanwhile.

A connection that was handed over belongs to exactly one process: to the shim while the container runs, to the engine
while there is no shim (an attach before start, a wait for the next exit). What the engine holds goes with Launch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import dataclass, field

from minirund import wire
from minirund.engine.shims import Shim


@dataclass(slots=True)
class Live:
    """What is never saved of a container: its lock, its shim, and the clients that wait for it to start or to go."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever changes what the container does; never to read."""
    shim: Shim | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no init runs."""
    awaited_removal: bool = False
    """Whether a client of the shim waits until the container has been removed."""
    held: list[tuple[wire.Attach | wire.Wait, int]] = field(default_factory=list)
    doomed: int = 0
    """How many are about to remove it by force: it is not started again meanwhile."""

    def hold(self, client: wire.Attach | wire.Wait, descriptor: int) -> None:
        """Keep a client until the next start; those that hung up meanwhile are let go."""
        self.drop_gone()
        self.held.append((client, descriptor))

    def take_held(self, removal: bool = True) -> list[tuple[wire.Attach | wire.Wait, int]]:
        """The held clients: they are the caller's now. Without ``removal`` not those that wait for the removal."""
        self.drop_gone()
        taken = [entry for entry in self.held if removal or not for_removal(entry[0])]
        self.held = [entry for entry in self.held if entry not in taken]
        return taken

    def answer_waits(self, code: int) -> None:
        """It has ended, and does not start again by itself: who waits for an end gets the code."""
        waits = [entry for entry in self.held if isinstance(entry[0], wire.Wait) and not entry[0].removed]
        self.held = [entry for entry in self.held if entry not in waits]
        for _, descriptor in waits:
            answer(descriptor, code)

    def drop_gone(self) -> None:
        """Close the connections whose client has gone."""
        gone = [entry for entry in self.held if hung_up(entry[1])]
        self.held = [entry for entry in self.held if entry not in gone]
        for _, descriptor in gone:
            os.close(descriptor)

    def answer_held(self, code: int) -> None:
        """The container goes and will not start again: waiters get the code, attached clients the end."""
        for client, descriptor in self.take_held():
            if isinstance(client, wire.Wait):
                answer(descriptor, code)
            else:
                os.close(descriptor)


def for_removal(client: wire.Attach | wire.Wait) -> bool:
    """Whether it waits for the removal."""
    return isinstance(client, wire.Wait) and client.removed


def hung_up(descriptor: int) -> bool:
    """Whether the client has closed its connection (a closed sending half alone is no end: ``run </dev/null``)."""
    import select  # noqa: PLC0415 - seldom needed

    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def hang_up(descriptor: int, attach: wire.Attach, line: str) -> None:
    """A last line to an attached client, and the end of its stream, whoever else holds it."""
    with socket.socket(fileno=os.dup(descriptor)) as client, contextlib.suppress(OSError):
        data = f"{line}\r\n".encode()
        client.setblocking(False)
        client.send(wire.frame(wire.STDOUT, data) if attach.framed else data)
        client.shutdown(socket.SHUT_RDWR)


def answer(descriptor: int, code: int) -> None:
    """Write the end of a wait's HTTP answer, whose head has been sent, and close. Takes the descriptor over."""
    body = json.dumps({"StatusCode": code}, separators=(",", ":")) + "\n"
    with socket.socket(fileno=descriptor) as client, contextlib.suppress(OSError):
        client.setblocking(False)
        client.sendall(f"{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode())
