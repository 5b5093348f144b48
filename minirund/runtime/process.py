"""A process that the shim starts: init, or an exec. One clone3, a report socket, a pidfd, and pipes.

The parent's half of ``init.py``: it makes the pipes, clones, and turns what the child reports and how it ends into
calls of three functions. The child is a copy of the shim: same memory, same descriptors; those that are the shim's own
are close-on-exec, so execve ends them.
"""

from __future__ import annotations

import gc
import json
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from minirund import wire
from minirund.runtime import init, syscalls
from minirund.runtime.context import MOUNTED, READY, TERMINAL, Context
from minirund.runtime.loop import READ, Loop
from minirund.runtime.stdio import Session

REPORT_BYTES = 65536


class Pipes(NamedTuple):
    """The shim's ends; -1 where there is none."""

    stdin: int
    stdout: int
    stderr: int


def make_pipes(ctx: Context, stdin: bool, output: bool = True) -> Pipes:
    """Pipes for the process; its ends go to the context. Without ``stdin`` or ``output``: /dev/null."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    in_child, in_shim = os.pipe2(os.O_CLOEXEC) if stdin else (null, -1)
    out_shim, out_child = os.pipe2(os.O_CLOEXEC) if output else (-1, null)
    err_shim, err_child = os.pipe2(os.O_CLOEXEC) if output else (-1, null)
    ctx.stdio = (in_child, out_child, err_child)
    if null not in ctx.stdio:
        os.close(null)
    return Pipes(in_shim, out_shim, err_shim)


class Process:
    """A child of the shim. Owns its pidfd and the report socket, until both are done."""

    def __init__(
        self,
        loop: Loop,
        session: Session,
        on_started: Callable[[], None],
        on_failed: Callable[[wire.Failed], None],
        on_exited: Callable[[int], None],
    ) -> None:
        self._loop, self._session = loop, session
        self._on_started, self._on_failed, self._on_exited = on_started, on_failed, on_exited
        self._ready = False
        self._failed: wire.Failed | None = None
        self._report: socket.socket | None = None
        self.pid, self.pidfd = 0, -1
        self.code: int | None = None
        self.mounted: list[int] = []
        """What keeps the root file system mounted."""

    def start(self, ctx: Context, steps: tuple[init.Step, ...], namespaces: int, cgroup: int, stdin: bool) -> None:
        """Clone the child and let it take the steps. Raises StepFailed, OSError: then there is no child."""
        pipes = None if ctx.terminal else make_pipes(ctx, stdin, output=ctx.output)
        report, ctx.report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid, self.pidfd = syscalls.clone3(namespaces, cgroup)
            if self.pid == 0:
                gc.disable()
                init.become(ctx, steps)
        finally:
            self._close_childs_ends(ctx)
        self._listen(report)
        if pipes is not None:
            self.connect(pipes)

    def adopt(self, pid: int, pidfd: int, report: int, started: bool) -> None:
        """A child that was cloned before we were awake. ``started``: it has reached execve, its report has ended."""
        self.pid, self.pidfd = pid, pidfd
        self._listen(socket.socket(fileno=report))
        if started:
            self._hear_out()

    def _listen(self, report: socket.socket) -> None:
        self._report = report
        report.setblocking(False)
        self._loop.watch(report.fileno(), READ, lambda _events: self._read_report(report))
        self._loop.watch(self.pidfd, READ, lambda _events: self._reap())

    def _close_childs_ends(self, ctx: Context) -> None:
        ctx.report.close()
        for descriptor in set(ctx.stdio or ()):
            os.close(descriptor)

    def connect(self, pipes: Pipes) -> None:
        """Its output, and its stdin, to the session."""
        for descriptor, stream in ((pipes.stdout, wire.STDOUT), (pipes.stderr, wire.STDERR)):
            if descriptor >= 0:
                self._session.add_output(descriptor, stream)
        if pipes.stdin >= 0:
            self._session.set_input(pipes.stdin)

    def _read_report(self, report: socket.socket) -> None:
        """Until its end: the root, a terminal, a failure, or the word that execve comes next."""
        try:
            data, descriptors, _flags, _address = socket.recv_fds(report, REPORT_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        if data == TERMINAL and descriptors:
            self._session.set_terminal(descriptors[0])
        elif data == MOUNTED:
            self.mounted = descriptors
        elif data == READY:
            self._ready = True
        elif data:
            self._failed = read_failure(data)
        else:
            self._end_report(report)

    def _end_report(self, report: socket.socket) -> None:
        self._loop.forget(report.fileno())
        report.close()
        self._report = None
        if self._ready and self._failed is None:
            self._on_started()
        if self.code is not None:
            self._finish(self.code)

    def _reap(self) -> None:
        """The process has ended; a report that is still open is read to its end first."""
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        if result is None:  # WNOHANG was not asked for: this is for the type checker
            return
        self._loop.forget(self.pidfd)
        exited = result.si_code == os.CLD_EXITED
        self.code = result.si_status if exited else 128 + result.si_status
        if self._report is None:
            self._finish(self.code)

    def _finish(self, code: int) -> None:
        if self._failed is not None:
            self._on_failed(self._failed)
        elif not self._ready:
            self._on_failed(wire.Failed("start", 0, "", "container init ended before its program could be executed"))
        else:
            self._on_exited(code)

    def reap_now(self) -> None:
        """It has ended or is about to: hear its report out, and reap it."""
        self._hear_out()
        if self.code is None:
            self._reap()

    def _hear_out(self) -> None:
        while self._report is not None:
            self._report.setblocking(True)
            self._read_report(self._report)

    def unmount(self) -> None:
        """Let go of the root file system, which takes as long as the disk does to write."""
        for descriptor in self.mounted:
            os.close(descriptor)
        self.mounted = []

    def close(self) -> None:
        """Give the pidfd back."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def read_failure(data: bytes) -> wire.Failed:
    """What the child sent before it ended."""
    try:
        message = wire.decode(data)
    except wire.ProtocolError:
        return wire.Failed("start", 0, "", json.dumps(data.decode(errors="replace")))
    return message if isinstance(message, wire.Failed) else wire.Failed("start")
