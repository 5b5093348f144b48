"""Execs: further processes in a container that runs. The shim is their parent, so their exit codes come to it.

An exec joins init's namespaces by its pidfd, and is born in the container's cgroup. A PID namespace can only be entered
by one's children: the shim itself enters it for that, once, and stays outside with its own process ID.
"""

from __future__ import annotations

import time

from minirund import wire
from minirund.errors import MinirundError, StartFailed
from minirund.runtime import init, syscalls
from minirund.runtime.context import Context, Host, Joined, namespaces_of
from minirund.runtime.control import Control
from minirund.runtime.loop import Loop
from minirund.runtime.process import Process
from minirund.runtime.start import Start
from minirund.runtime.stdio import Session

ENGINES_OWN, NOT_EXECUTABLE = 125, 126
REMEMBERED = 256  # exit codes kept for a daemon that was away


class Exec:
    """One of them: its process and its stdio."""

    def __init__(self, execs: Execs, message: wire.Exec, client: int) -> None:
        self.id, self.message, self._execs = message.id, message, execs
        self._end: wire.Message
        self._code = -1
        attach = message.attach
        stdin = bool(attach and attach.stdin)
        self.session = Session(execs.loop, stdin, True, self._session_ended)
        if attach is not None:
            self.session.attach(client, attach)
        self.process = Process(execs.loop, self.session, self._started, self.failed, self._exited)

    def start(self, ctx: Context, cgroup: int) -> None:
        """Clone it. Raises StepFailed, OSError."""
        attach = self.message.attach
        ctx.output = attach is not None
        self.process.start(ctx, init.EXEC_STEPS, 0, cgroup, bool(attach and attach.stdin))

    def _started(self) -> None:
        self._execs.control.send(wire.ExecStarted(self.id, self.process.pid))

    def failed(self, failed: wire.Failed) -> None:
        """It could not start: the client is told in its stream, as Docker does."""
        why = failed.message
        self.session.say(f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown\r\n")
        code = failed.exit_code if failed.exit_code != ENGINES_OWN else NOT_EXECUTABLE
        self._end = wire.ExecFailed(self.id, failed.step, failed.errno, failed.path, why, code)
        self._code = code
        self.session.process_ended()

    def _exited(self, code: int) -> None:
        self._end, self._code = wire.ExecExited(self.id, code), code
        self.session.process_ended()

    def _session_ended(self) -> None:
        """Its output is on its way to the clients: now its end is told, before their streams end."""
        self._execs.ended(self, self._code)
        self._execs.control.send(self._end)


class Execs:
    """All of a container's. Owns their processes and sessions."""

    def __init__(self, loop: Loop, control: Control, host: Host, start: Start, container: Process, cgroup: int) -> None:
        self.loop, self.control = loop, control
        self._host, self._start, self._container, self._cgroup = host, start, container, cgroup
        self._running: dict[str, Exec] = {}
        self._closing: list[Exec] = []
        self._codes: dict[str, int] = {}
        self._in_pid_namespace = False

    def start(self, message: wire.Exec, client: int, running: bool) -> None:
        """Start one, or say why not."""
        made = Exec(self, message, client)
        self._running[made.id] = made
        try:
            if not running:
                raise StartFailed("container is not running", 126)
            if 0 < message.until < time.monotonic():
                raise StartFailed("the shim did not answer in time", 126)
            made.start(self._context(message), self._cgroup)
        except (MinirundError, OSError) as error:
            made.failed(init.failure(error, "exec"))

    def _context(self, message: wire.Exec) -> Context:
        config = self._start.plan()
        ctx = Context(self._host, self._start.told["bundle"], config, message.process)
        ctx.seccomp, ctx.is_exec = self._start.get("seccomp"), True
        kinds = namespaces_of(config)
        if kinds & syscalls.CLONE_NEWPID and not self._in_pid_namespace:
            syscalls.setns(self._container.pidfd, syscalls.CLONE_NEWPID)
            self._in_pid_namespace = True
        ctx.joins = [Joined(self._container.pidfd, kinds & ~syscalls.CLONE_NEWPID, "init")]
        return ctx

    def resize(self, message: wire.Resize) -> None:
        """An exec's terminal has another size."""
        if message.exec_id in self._running:
            self._running[message.exec_id].session.resize(message.height, message.width)

    def ended(self, made: Exec, code: int) -> None:
        """Remember how it ended, and not for ever."""
        made.process.close()
        self._running.pop(made.id, None)
        self._closing = [each for each in (*self._closing, made) if each.session.has_clients]
        self._codes[made.id] = code
        while len(self._codes) > REMEMBERED:
            del self._codes[next(iter(self._codes))]

    def finish(self) -> None:
        """The container has ended: so have they. Say so for each before the container's own end is told."""
        for made in list(self._running.values()):
            made.process.reap_now()
            made.session.give_up()

    @property
    def have_clients(self) -> bool:
        """Whether a client has output left to read."""
        self._closing = [made for made in self._closing if made.session.has_clients]
        return bool(self._closing)

    def codes(self) -> dict[str, int]:
        """Exit codes by ID; -1 runs."""
        return {**self._codes, **dict.fromkeys(self._running, -1)}

    def pids(self) -> dict[str, int]:
        """Process IDs of those that run."""
        return {made.id: made.process.pid for made in self._running.values()}
