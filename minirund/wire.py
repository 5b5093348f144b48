"""What the processes say to each other: one datagram a message, descriptors beside it.

    daemon ──Launch + report, [netns], clients──▶ spawner ──fork──▶ shim ──clone3──▶ init
    daemon ──Go │ Stop──────────────────────────▶ spawner ────────── the plan ───────▶ init
                                                                     │
    daemon ◀──────────── Started │ Failed ──────────── (report) ─────┤   the report socket stays:
                                                                     │   it is the control connection
    daemon ──Attach + client, Exec + [client], Wait + client────────▶│
    daemon ──Resize, Signal─────────────────────────────────────────▶│
    daemon ◀─ExecStarted │ ExecFailed, ExecExited───────────────────┤
    daemon ◀─Exited─────────────────────────────────────────────────┤
    daemon ──Release──────────────────────────────────────────────▶ shim ends

    a new daemon ──connect to <run>/containers/<id>/shim.sock──▶ shim
    a new daemon ◀──State────────────────────────────────────── shim      and on as above

The sockets are AF_UNIX SOCK_SEQPACKET: a message arrives whole or not at all, and end-of-file means that the other
process has gone. A message is one JSON object with a "type" (the class name below) and a "v" (the protocol's
version); fields that the reader does not know are passed over, fields that the writer did not know have defaults. So a
daemon speaks to shims that an older or a newer one started. A message longer than ``INLINE_BYTES`` travels in a
memfd, the first of its descriptors, and the datagram says so: ``{"memfd": true}``.

A descriptor that is sent is duplicated by the kernel; the sender closes its own copy. The receiver owns what it got.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

VERSION = 1
INLINE_BYTES = 64 * 1024
MAX_DESCRIPTORS = 250  # the kernel's SCM_MAX_FD is 253

STDIN, STDOUT, STDERR = 0, 1, 2


STARTED = b'{"v": 1, "type": "Started", "pid": %d, "time": %d}'
"""``Started`` as a template: a shim sends it while it has touched as little memory as can be (runtime/birth.py)."""


LOST = "wait for the plan"
"""The step of init's ``Failed`` where the spawner ended before it could say all. The start will be asked for again, so
the shim ends without a word."""


class ProtocolError(Exception):
    """The other side sent something that is no message."""


@dataclass(slots=True)
class Attach:
    """A client's connection becomes a container's or an exec's stdio. One descriptor: the client's socket.

    The HTTP head has been answered already; what is on the socket is the stream. ``framed``: output goes out in
    Docker's multiplexed frames (8 bytes: stream, 0, 0, 0, big-endian length); else raw, as a terminal's does.
    ``unread`` is what the client had sent behind its request, one character a byte (latin-1). ``detach_keys``
    likewise; empty means none. ``logs`` replays the log first; without ``stream`` the connection ends after that.
    """

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: str = "\x10\x11"
    unread: str = ""
    logs: bool = False
    stream: bool = True


@dataclass(slots=True)
class Wait:
    """A client waits for the exit code. One descriptor: the client's socket, its HTTP head already sent.

    The shim writes one HTTP chunk ``{"StatusCode": N}``, the closing chunk, and closes the socket: when the container
    has ended, or, for ``removed``, when the daemon says ``Release``.
    """

    removed: bool = False


@dataclass(slots=True)
class Launch:
    """Start the container whose bundle is in ``bundle``. Descriptors: report, then the network namespace if
    ``has_netns`` (for the config's network namespace without a path), then one for each of ``clients``, then, if
    ``has_token``, a token: who holds a copy is busy with this start. The shim closes it as soon as the container runs,
    and can be found through shim.sock by then, or has failed. See engine/locks.py.

    ``outline``: what config.json is going to say of namespaces, cgroup and stdio, if it is not there yet. Shim and init
    come to be meanwhile, and then wait: for ``Go``, or ``Stop``.
    """

    id: str
    bundle: str
    run: str
    has_netns: bool = False
    clients: list[Attach | Wait] = field(default_factory=list)
    has_token: bool = False
    outline: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Go:
    """The bundle of a container that was launched with an outline is complete."""

    id: str


@dataclass(slots=True)
class Stop:
    """It will never be complete: the start fails."""

    id: str


@dataclass(slots=True)
class Started:
    """init has called execve. ``pid`` is init's in the daemon's PID namespace; ``time`` nanoseconds since 1970."""

    pid: int
    time: int


@dataclass(slots=True)
class Failed:
    """The start failed, and nothing of it is left. ``exit_code`` is 125, 126 or 127, as a shell's."""

    step: str
    errno: int = 0
    path: str = ""
    message: str = ""
    exit_code: int = 125


@dataclass(slots=True)
class Exec:
    """Run ``process`` (OCI process object, JSON) in the container. A descriptor (the client's socket) if ``attach``.

    A shim that reads it after ``until`` (monotonic clock, seconds; 0: at any time) does not start it: its user has been
    told that there is no answer.
    """

    id: str
    process: dict[str, Any]
    attach: Attach | None = None
    until: float = 0.0


@dataclass(slots=True)
class ExecStarted:
    """The exec has called execve."""

    id: str
    pid: int


@dataclass(slots=True)
class ExecFailed:
    """The exec could not start. An attached client was told so in its stream."""

    id: str
    step: str
    errno: int = 0
    path: str = ""
    message: str = ""
    exit_code: int = 126


@dataclass(slots=True)
class ExecExited:
    """An exec ended. Told before its clients' streams end: who sees that may ask for the code."""

    id: str
    code: int


@dataclass(slots=True)
class Exited:
    """The container ended, its output is in the log, its cgroup is gone. Also what exit.json holds."""

    code: int
    time: int
    oom: bool = False
    ooms: int = 0
    """How many processes the OOM killer ended; an older shim says 0."""
    execs: dict[str, int] = field(default_factory=dict)
    """How its last execs ended, for a daemon that was away: exec ID to exit code; an older shim says none."""


@dataclass(slots=True)
class Resize:
    """Set the size of the container's terminal, or of the exec's that is named."""

    height: int
    width: int
    exec_id: str = ""


@dataclass(slots=True)
class Signal:
    """Send a signal to init."""

    number: int


@dataclass(slots=True)
class Release:
    """The daemon has recorded the exit (and removed the container where it had to): answer who waits for that."""


@dataclass(slots=True)
class State:
    """The first thing a shim says to a daemon that connects: what has come to pass so far."""

    pid: int
    started: int
    exited: Exited | None = None
    execs: dict[str, int] = field(default_factory=dict)
    """Exec ID to exit code, -1 for one that runs."""
    exec_pids: dict[str, int] = field(default_factory=dict)
    removal_awaited: bool = False
    """Whether a client waits there for the container's removal."""


Message = (
    Attach | Wait | Launch | Go | Stop | Started | Failed | Exec | ExecStarted | ExecFailed | ExecExited | Exited
    | Resize | Signal | Release | State
)  # fmt: skip

_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in Message.__args__}


def encode(message: Message) -> bytes:
    """A message as JSON, with its type and the protocol's version."""
    return json.dumps({"v": VERSION, **_plain(message)}).encode()


def decode(data: bytes) -> Message:
    """The message in ``data``. Raises ProtocolError."""
    try:
        message: Message = _typed(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a message: {data[:80]!r} ({error})") from error
    if type(message).__name__ not in _TYPES:
        raise ProtocolError(f"not a message: {data[:80]!r}")
    return message


def _plain(value: Any) -> Any:
    if type(value).__name__ in _TYPES:
        return {"type": type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if not (isinstance(value, dict) and value.get("type") in _TYPES):
        return value
    cls = _TYPES[value["type"]]
    known = {f.name for f in fields(cls)}
    return cls(**{name: _typed(item) if name != "process" else item for name, item in value.items() if name in known})


def frame(stream: int, data: bytes) -> bytes:
    """A piece of a stream in Docker's multiplexed form: the stream, three zeros, the length (big-endian), the bytes."""
    return struct.pack(">BxxxI", stream, len(data)) + data


class Channel:
    """A SEQPACKET socket that carries messages. Owns the socket; ``close`` it, or use it in a ``with``."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the socket for the other side: hand that one on, then close it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def fileno(self) -> int:
        """For epoll and the event loop."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        self._socket.setblocking(flag)

    def send(self, message: Message, descriptors: tuple[int, ...] | list[int] = ()) -> None:
        """Send one message. The descriptors stay the caller's. Raises OSError (EPIPE: the other side has gone)."""
        data, memfd = encode(message), -1
        if len(data) > INLINE_BYTES:
            memfd = _memfd(data)
            data, descriptors = b'{"memfd": true}', [memfd, *descriptors]
        try:
            socket.send_fds(self._socket, [data], list(descriptors), socket.MSG_NOSIGNAL)
        finally:
            if memfd >= 0:
                os.close(memfd)

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors, or None at end-of-file.

        Raises BlockingIOError, OSError, ProtocolError.
        """
        data, descriptors = self._receive_datagram()
        if not data:
            return None
        if data == b'{"memfd": true}' and descriptors:
            with os.fdopen(descriptors.pop(0), "rb") as file:
                file.seek(0)
                data = file.read()
        try:
            return decode(data), descriptors
        except ProtocolError:
            close_all(descriptors)
            raise

    def _receive_datagram(self) -> tuple[bytes, list[int]]:
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(2 * INLINE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # it closed without reading all of ours; told once, and before its last words
            return self._receive_datagram()
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(payload[: len(payload) // 4 * 4])
        return data, list(descriptors)

    def close(self) -> None:
        """Close the socket; the other side reads end-of-file."""
        self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """A socket's path under a name that fits: sockaddr_un holds 108 bytes, a path may hold 4,096. For a ``with``."""
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


def connect(path: str) -> Channel:
    """Connect to a shim's socket, however long its path. Raises OSError: FileNotFoundError, ConnectionRefusedError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with short_path(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return Channel(sock)


def _memfd(data: bytes) -> int:
    descriptor = os.memfd_create("message", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor


def close_all(descriptors: list[int]) -> None:
    """Close descriptors that nobody wants."""
    for descriptor in descriptors:
        os.close(descriptor)
