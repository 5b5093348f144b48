"""A start on its way from the spawner to a shim: what the shim is told, and the descriptors that it is given, by name.

    spawner ──one datagram──▶ shim, which waits for it

The spawner has opened everything that can be opened before there is a process (prepare.py). What is long, the
configuration and the seccomp program, travels in memfds: who needs it reads it there. So the shim itself reads little
and writes to little of its memory, and that is what an idle container costs.

    daemon               the control connection of wire.py; "token" with it: see ``wire.Launch``
    told                 a memfd: what ``Start.told`` holds, packed
    plan, seccomp        memfds: config.json without what the spawner carries out, packed; a filter program, or nothing.
                         Both may still be empty: "init_plan" is a socket on which init hears when they are written
    listener, log        shim.sock, container.log
    cgroup               its directory
    stdin stdout stderr  the shim's ends of the pipes; "init0" .. "init2" are the process's
    report, init         the socket on which init reports, and its other end
    join0 join1 ...      namespaces that others made
    clients              a socket that holds the ``Launch`` with the clients' descriptors, if there are clients

This message stays between processes of one version, so it is no part of wire.py; and it is packed by marshal: to read
that init copies fewer pages than to read JSON.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from typing import Any

from minirund import wire
from minirund.runtime import syscalls
from minirund.runtime.context import Joined

MOST_BYTES, MOST_DESCRIPTORS = 4096, 64
HEAD = struct.Struct("=Q4b2B")
"""The message's beginning, all that a shim has to know to bear init and to sleep. Places are places of descriptors.

    Q   the mask of namespaces for clone3
    b   place of the report; -1: there is nothing to bear
    b   place of the cgroup's directory, or -1
    b   place of a PID namespace to join, or -1
    b   whether it may sleep: nobody waits for it to be awake
    B   how many descriptors, from the third on, are watched by a shim that sleeps
    B   how many, the last, are init's

The first descriptor is ``told``, the second the token. Behind the head comes the title of the process."""
WATCHED = ("daemon", "listener", "stdout", "stderr")
CHILDS = ("init", "join")


class Start:
    """What the shim is told. Owns the descriptors; ``take`` gives one away."""

    def __init__(self, told: dict[str, Any], descriptors: dict[str, int]) -> None:
        self.told, self.descriptors = told, descriptors

    @property
    def id(self) -> str:
        """The container's."""
        return str(self.told["id"])

    def get(self, name: str) -> int:
        """A descriptor that stays here; -1 for none."""
        return self.descriptors.get(name, -1)

    def take(self, name: str) -> int:
        """A descriptor that is the caller's from now on; -1 for none."""
        return self.descriptors.pop(name, -1)

    def close(self, *names: str) -> None:
        """Close some."""
        for name in names:
            if name in self.descriptors:
                os.close(self.descriptors.pop(name))

    def joins(self) -> list[Joined]:
        """The namespaces to join, open."""
        named = enumerate(self.told["joins"])
        return [Joined(self.descriptors[f"join{number}"], kind, path) for number, (kind, path) in named]

    def plan(self) -> dict[str, Any]:
        """The configuration."""
        return unpack(self.descriptors["plan"])

    def fail(self, failed: wire.Failed) -> None:
        """It ends here: all that is left to do is to tell."""
        self.close(*(set(self.descriptors) - {"daemon", "token", "clients"}))
        self.told["failed"] = wire.encode(failed).decode()

    def failed(self) -> wire.Failed | None:
        """Why it ended, if it did."""
        text = self.told.get("failed")
        message = wire.decode(text.encode()) if text else None
        return message if isinstance(message, wire.Failed) else None

    def send(self, door: socket.socket) -> None:
        """Hand it to the next shim that waits at the other end of ``door``; close our copies. Raises OSError."""
        names = self._in_order()
        self.descriptors["told"] = memfd("start", pack({**self.told, "names": names}))
        try:
            data = self._head(names) + f"minirund-shim {self.id}".encode()
            socket.send_fds(door, [data], [self.descriptors[name] for name in names], socket.MSG_NOSIGNAL)
        finally:
            self.close(*names)

    def _in_order(self) -> list[str]:
        """The names of the descriptors, as HEAD says."""
        if "token" not in self.descriptors:
            self.descriptors["token"] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        first = ["told", "token", *(name for name in WATCHED if name in self.descriptors)]
        last = [name for name in self.descriptors if name.startswith(CHILDS)]
        return [*first, *(name for name in self.descriptors if name not in (*first, *last)), *last]

    def _head(self, names: list[str]) -> bytes:
        pids = (number for number, (kind, _path) in enumerate(self.told["joins"]) if kind == syscalls.CLONE_NEWPID)
        places = (names.index(name) if name in names else -1 for name in ("report", "cgroup", f"join{next(pids, -1)}"))
        watched = sum(name in WATCHED for name in names)
        childs = sum(name.startswith(CHILDS) for name in names)
        return HEAD.pack(self.told["namespaces"], *places, "clients" not in names, watched, childs)

    @classmethod
    def parse(cls, descriptors: list[int]) -> Start:
        """What ``send`` has sent."""
        told = unpack(descriptors[0])
        return cls(told, dict(zip(told["names"], descriptors, strict=True)))

    def forget(self, born: Born) -> None:
        """Those that were closed while the shim was hardly awake."""
        closed = (*(CHILDS if born.pid else ()), *(("token",) if born.started else ()))
        for name in list(self.descriptors):
            if name.startswith(closed):
                del self.descriptors[name]


class Born:
    """What has become of init before the shim was awake."""

    def __init__(self) -> None:
        self.pid, self.pidfd = 0, -1
        self.started = 0
        """When it reached execve, nanoseconds since 1970; 0: not yet."""
        self.failed: wire.Failed | None = None


def receive(door: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """The next start: its head, and its descriptors; no bytes when the other side has gone."""
    flags |= socket.MSG_CMSG_CLOEXEC
    data, descriptors, _flags, _address = socket.recv_fds(door, MOST_BYTES, MOST_DESCRIPTORS, flags)
    return data, descriptors


def memfd(name: str, data: bytes) -> int:
    """The bytes behind a descriptor."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    write_memfd(descriptor, data)
    return descriptor


def write_memfd(descriptor: int, data: bytes) -> None:
    """All of it, behind what is there."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_memfd(descriptor: int) -> bytes:
    """All of it, wherever its other readers are."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def pack(data: dict[str, Any]) -> bytes:
    """Plain data, of the kinds that JSON knows."""
    return marshal.dumps(data)


def unpack(descriptor: int) -> dict[str, Any]:
    """What lies packed in a memfd."""
    data: dict[str, Any] = marshal.loads(read_memfd(descriptor))  # noqa: S302 - the spawner has made it
    return data
