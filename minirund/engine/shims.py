"""The engine's side of wire.py: the spawner it asks for shims, and its connection to each of them.

Live objects, never saved. Everything here runs on the event loop; a message is sent at once or, if the socket is full,
as soon as it has room. What a shim reports arrives at a Listener, in the order in which it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from minirund import wire
from minirund.bundle import SHIM_SOCKET, Bundle
from minirund.errors import EngineError, Unavailable

log = logging.getLogger(__name__)

Command = Callable[[int, tuple[int, int]], list[str]]
Descriptors = tuple[int, ...] | list[int]
ExecAnswer = wire.ExecStarted | wire.ExecFailed
SHORT_LIFE = 1.0  # seconds
GOODBYE_SECONDS = 10.0
PATIENCE, LOOKS = 5.0, 50
"""In so many seconds it is looked so many times whether a shim reads what it is told. It does so at once whatever its
container does, unless it is stopped (SIGSTOP) or stuck, or has much to do: execs may wait for each other."""
START_PATIENCE = 3 * PATIENCE
"""Seconds for a container or an exec to start before it is looked at who is to do it. Some starts take longer."""


class Link:
    """One channel on the event loop: ``on_message(message, descriptors)``, then once ``on_end()``."""

    def __init__(
        self,
        channel: wire.Channel,
        on_message: Callable[[wire.Message, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._channel, self._on_message, self._on_end = channel, on_message, on_end
        self._outbox: deque[tuple[wire.Message, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.open = True
        channel.setblocking(False)
        self._loop.add_reader(channel.fileno(), self._readable)

    def send(self, message: wire.Message, descriptors: Descriptors = ()) -> None:
        """Send and close the descriptors: from here on they are the other side's. Nothing is raised if it has gone."""
        if self._outbox or not self._try(message, descriptors):
            if not self._outbox and self.open:
                self._loop.add_writer(self._channel.fileno(), self._writable)
            self._outbox.append((message, list(descriptors)))

    def _try(self, message: wire.Message, descriptors: Descriptors) -> bool:
        try:
            if self.open:
                self._channel.send(message, descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            log.debug("a message was not delivered: %s", error)
        wire.close_all(list(descriptors))
        return True

    def _writable(self) -> None:
        while self._outbox:
            if not self._try(*self._outbox[0]):
                return
            self._outbox.popleft()
        self._loop.remove_writer(self._channel.fileno())

    @property
    def unread(self) -> int:
        """How much the other side has still to read; it gets less with each message read. Source: unix(7), SIOCOUTQ."""
        if not self.open:
            return 0
        sent = fcntl.ioctl(self._channel.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(sent, sys.byteorder) + len(self._outbox)

    def catch_up(self) -> None:
        """Read what is there now."""
        if self.open:
            self._readable()

    def _readable(self) -> None:
        while self.open:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            except (OSError, wire.ProtocolError) as error:
                log.warning("a process sent what is no message: %s", error)
                received = None
            if received is None:
                self.close()
                self._on_end()
                return
            self._on_message(*received)

    def close(self) -> None:
        """Hang up. ``on_end`` is not called any more."""
        if self.open:
            self.open = False
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
            self._channel.close()
            for _, descriptors in self._outbox:
                wire.close_all(descriptors)
            self._outbox.clear()


class Spawner:
    """The process that prepares starts and has shims forked. It is started again whenever it has gone."""

    def __init__(self, command: Command, token: int) -> None:
        """``command(descriptor, limit)``: the argument vector of a spawner with this control socket and RLIMIT_NOFILE.

        A copy of ``token`` goes with every Launch; it stays the caller's. See locks.py.
        """
        self._command, self._token = command, token
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
        """What containers begin with: the daemon's own limit, before it raised that for itself."""
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process, 0 for none."""
        return self._process.pid if self._process else 0

    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; it is ready when it reads."""
        channel, theirs = wire.Channel.pair()
        with theirs:
            self._process = subprocess.Popen(
                self._command(theirs.fileno(), self._descriptors),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._link = Link(channel, self._on_message, self._on_end)
        self._started = time.monotonic()

    def launch(self, message: wire.Launch, descriptors: Descriptors) -> None:
        """Ask for a shim. The descriptors are taken over."""
        if self._stopping:
            wire.close_all(list(descriptors))
            raise Unavailable("minirund is stopping")
        if self._link is None or not self._link.open:
            self.start()
        assert self._link is not None  # noqa: S101
        message.has_token = True
        self._link.send(message, [*descriptors, os.dup(self._token)])

    def go_on(self, message: wire.Go | wire.Stop) -> None:
        """Say how a start with an outline goes on. A spawner that has come since knows nothing of it."""
        if self._link is not None:
            self._link.send(message)

    def _on_message(self, message: wire.Message, descriptors: list[int]) -> None:
        wire.close_all(descriptors)
        log.warning("the spawner said: %s", message)

    def _on_end(self) -> None:
        code = self._process.wait() if self._process else None
        if self._stopping:
            return
        log.warning("the spawner has gone (exit status %s): starting another", code)
        if time.monotonic() - self._started > SHORT_LIFE:
            self.start()  # else at the next Launch: one that can't live is not started over and over

    def stop(self) -> None:
        """Let it end; the shims go on. One that has not come to its work, as systemd does not answer, is killed."""
        self._stopping = True
        if self._link:
            self._link.close()
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GOODBYE_SECONDS)
            self._process.kill()
            self._process.wait()


class Listener(Protocol):
    """Who wants to know what becomes of a shim."""

    def shim_exited(self, shim: Shim, exited: wire.Exited | None) -> None:
        """The container ended; None: the shim vanished without a word."""

    def exec_exited(self, shim: Shim, exec_id: str, code: int) -> None:
        """An exec ended."""


class Shim:
    """A connection to one container's shim."""

    def __init__(self, container_id: str, channel: wire.Channel, listener: Listener) -> None:
        self.container_id = container_id
        self._listener = listener
        self._answers: dict[str, tuple[asyncio.Future[Any], Callable[[ExecAnswer], None]]] = {}
        self._first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._exited = False
        self.started: wire.Started | None = None
        self._link = Link(channel, self._on_message, self._on_end)

    @property
    def open(self) -> bool:
        """Whether it can still be spoken to."""
        return self._link.open

    async def spoke(self) -> bool:
        """Whether its first word, or its end, came in ``START_PATIENCE``."""
        return bool((await asyncio.wait((self._first,), timeout=START_PATIENCE))[0])

    async def first_word(self) -> wire.Started | wire.Failed | wire.State | None:
        """What the shim says first; None if it vanished before."""
        try:
            return await asyncio.shield(self._first)
        except EngineError:
            return None

    async def reads(self) -> bool:
        """Whether it reads what it is told, be it slowly. False after ``PATIENCE`` seconds without a message read.

        What it is told here changes nothing.
        """
        self.send(wire.Signal(0))
        before = self._link.unread
        for _ in range(LOOKS):
            await asyncio.sleep(PATIENCE / LOOKS)
            now = self._link.unread
            if now < before or not now:
                return True
            before = now
        return False

    def send(self, message: wire.Message, descriptors: Descriptors = ()) -> None:
        """Send; the descriptors are taken over."""
        self._link.send(message, descriptors)

    async def exec(
        self, message: wire.Exec, descriptors: Descriptors, heard: Callable[[ExecAnswer], None] = lambda _: None
    ) -> ExecAnswer:
        """Start an exec and await how that went, as long as that takes.

        ``heard`` is called as soon as the answer is read, which may be in a `catch_up`. Raises EngineError if the shim
        vanishes meanwhile, TimeoutError if it does not read.
        """
        message.until = time.monotonic() + START_PATIENCE + PATIENCE
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[message.id] = answer, heard
        self.send(message, descriptors)
        try:
            while not (await asyncio.wait((answer,), timeout=START_PATIENCE))[0]:
                if not await self.reads() and not answer.done():
                    raise TimeoutError
            return answer.result()  # type: ignore[no-any-return]
        finally:
            self._answers.pop(message.id, None)

    def catch_up(self) -> None:
        """Take in what the shim has said already.

        A shim tells the daemon first and its clients next; a client may ask the daemon before the event loop has come
        to that. So who answers a question about a container catches up first.
        """
        self._link.catch_up()

    def close(self) -> None:
        """Hang up; the shim goes on. An exec that was asked for and has not been answered came too late."""
        self._link.close()
        for ident in tuple(self._answers):
            self._answer(wire.ExecFailed(ident, "exec", message="container is not running"))

    def _on_message(self, message: wire.Message, descriptors: list[int]) -> None:
        wire.close_all(descriptors)
        if isinstance(message, wire.Started | wire.Failed | wire.State) and not self._first.done():
            self._first.set_result(message)
            self.started = message if isinstance(message, wire.Started) else None
        elif isinstance(message, wire.ExecStarted | wire.ExecFailed):
            self._answer(message)
        elif isinstance(message, wire.ExecExited):
            self._listener.exec_exited(self, message.id, message.code)
        elif isinstance(message, wire.Exited):
            self._exited = True
            self._listener.shim_exited(self, message)

    def _answer(self, message: ExecAnswer) -> None:
        answer, heard = self._answers.get(message.id, (None, None))
        if answer is not None and heard is not None and not answer.done():
            answer.set_result(message)
            heard(message)

    def _on_end(self) -> None:
        gone = EngineError(f"the shim of container {self.container_id[:12]} has gone")
        for answer in (self._first, *(answer for answer, _ in self._answers.values())):
            if not answer.done():
                answer.set_exception(gone)
                answer.exception()  # seen: nobody need be waiting
        failed = not self._first.cancelled() and self._first.done() and self._first.exception() is None \
            and isinstance(self._first.result(), wire.Failed)  # fmt: skip
        if not self._exited and not failed:
            self._listener.shim_exited(self, None)


def kill(bundle: Bundle) -> None:
    """SIGKILL to a container's shim, and to nobody who has got its process ID since."""
    pid = bundle.read_shim_pid()
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            if bundle.read_shim_pid() == pid:
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)


def connect(directory: str, container_id: str, listener: Listener) -> Shim | None:
    """A connection to a shim that an earlier daemon started; None if there is none any more."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    descriptor = -1
    try:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.connect(f"/proc/self/fd/{descriptor}/{SHIM_SOCKET}")  # a path of any length fits so
    except OSError as error:
        sock.close()
        if error.errno not in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
            log.warning("the shim of %s can't be reached: %s", container_id[:12], error)
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return Shim(container_id, wire.Channel(sock), listener)
