"""The shim: one process per container, from its start to the last word about its end. It outlives the daemon.

    Start ─▶ init ──▶ Started ──▶ output, clients, execs ... ──▶ init ends ──▶ Exited ──▶ Release ─▶ gone
              └─────▶ Failed ─▶ gone

Here is the shim that is awake; what it is before, and why it sleeps first, is in birth.py. It is a fork of the zygote,
and a single thread around one epoll. What it holds: the container's stdio, its cgroup,
init's pidfd, the clients. What it writes: container.log, exit.json, shim.sock and shim.pid. Init and the execs are its
children, so their exit codes come here and can't be lost with the daemon.

When the daemon has gone the shim goes on, and at the end leaves exit.json for the next one. It stays after the end only
for a daemon that has not said ``Release`` yet, or for clients that wait for the container's removal, or have output
left to read.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import time

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError
from minirund import wire
from minirund.bundle import Bundle
from minirund.runtime import syscalls
from minirund.runtime.clients import Waiters
from minirund.runtime.context import Host
from minirund.runtime.control import Control
from minirund.runtime.execs import Execs
from minirund.runtime.log import LogWriter
from minirund.runtime.loop import Loop
from minirund.runtime.process import Pipes, Process
from minirund.runtime.start import Born, Start
from minirund.runtime.stdio import Session


class Shim:
    """One container's life. Owns everything that it made."""

    def __init__(self, host: Host, start: Start, born: Born) -> None:
        self.id, self.start = start.id, start
        self.bundle = Bundle(start.told["bundle"], start.told["run"])
        self.loop = Loop()
        self.control = Control(self.loop, start.take("daemon"), self._receive, self._state)
        self.waiters = Waiters(self.loop)
        stdin, once = start.told.get("stdin") or (False, False)
        self.session = Session(self.loop, stdin, once, self._outputs_ended)
        self.process = Process(self.loop, self.session, self._on_started, self._on_failed, self._on_exited)
        self.cgroup = Cgroup(start.told["cgroup"]) if "cgroup" in start.told else None
        self.cgroup_fd = start.take("cgroup")
        self.execs = Execs(self.loop, self.control, host, start, self.process, self.cgroup_fd)
        self.started = born.started
        self.code: int | None = None
        self.ooms = 0
        self.exited: wire.Exited | None = None
        self.done = self.deserted = False
        self.released = False

    # --- the start

    def take_over(self, born: Born) -> None:
        """What was opened for us, and init. The log comes before anybody is attached who may want it replayed."""
        start = self.start
        if start.get("log") >= 0:
            self.session.log = LogWriter(start.told["log"], start.take("log"))
        if start.get("listener") >= 0:
            self.control.listen(start.take("listener"), self.bundle.shim_socket, start.told["door"])
        self.take_clients()
        if born.pid:
            self.process.adopt(born.pid, born.pidfd, start.take("report"), born.started > 0)
            self.process.connect(Pipes(*map(start.take, ("stdin", "stdout", "stderr"))))

    def take_clients(self) -> None:
        """Those who are there from the start miss nothing."""
        packed = self.start.take("clients")
        if packed < 0:
            return
        with wire.Channel(socket.socket(fileno=packed)) as channel:
            received = channel.receive()
        launch, descriptors = received or (None, [])
        assert isinstance(launch, wire.Launch)  # noqa: S101 - prepare.py has put it there
        for client, descriptor in zip(launch.clients, descriptors, strict=True):
            if isinstance(client, wire.Wait):
                self.waiters.add(descriptor, client)
            else:
                self.session.attach(descriptor, client)

    def _on_started(self) -> None:
        if self.started:  # in our sleep, and told
            return
        self.started = time.time_ns()
        self.control.send(wire.Started(self.process.pid, self.started))
        self.start.close("token")

    def _on_failed(self, failed: wire.Failed) -> None:
        self.fail(failed)

    def fail(self, failed: wire.Failed) -> None:
        """The start failed: leave nothing, say why, end.

        Where the spawner ended before init had its plan, say nothing: the daemon asks for the start again, with the
        same clients.
        """
        self.deserted = failed.step == wire.LOST
        if not self.deserted:
            self.session.give_up()
        self.remove_cgroup()
        self.let_go()
        if not self.deserted:
            self.waiters.answer(failed.exit_code, removed=True)
            self.control.send(failed)
        self.control.close()
        self.start.close("token")
        self.done = True

    # --- while it runs

    def _receive(self, message: wire.Message, descriptors: list[int]) -> None:
        """What the daemon says."""
        match message:
            case wire.Attach():
                self.session.attach(descriptors.pop(0), message)
            case wire.Wait():
                self.add_waiter(descriptors.pop(0), message)
            case wire.Exec():
                self.start_exec(message, descriptors.pop(0) if message.attach else -1)
            case wire.Resize():
                self.resize(message)
            case wire.Signal():
                self.signal(message.number)
            case wire.Release():
                self.release()
            case _:
                pass
        wire.close_all(descriptors)

    def add_waiter(self, descriptor: int, wait: wire.Wait) -> None:
        """A client waits; if all has come to pass already it is told now."""
        self.waiters.add(descriptor, wait)
        if self.exited is not None:
            self.waiters.answer(self.exited.code, removed=self.released)

    def start_exec(self, message: wire.Exec, client: int) -> None:
        """Another process in the container."""
        self.execs.start(message, client, running=self.started > 0 and self.exited is None)

    def resize(self, message: wire.Resize) -> None:
        """A terminal has another size."""
        if not message.exec_id:
            self.session.resize(message.height, message.width)
        else:
            self.execs.resize(message)

    def signal(self, number: int) -> None:
        """To init, by its pidfd: never to another process with a reused number."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.pidfd >= 0 and self.exited is None:
                signal.pidfd_send_signal(self.process.pidfd, number)

    def _state(self) -> wire.State:
        codes, pids = self.execs.codes(), self.execs.pids()
        return wire.State(self.process.pid, self.started, self.exited, codes, pids, self.waiters.until_removed())

    # --- the end

    def _on_exited(self, code: int) -> None:
        """Init has ended, and with its PID namespace all in it; where it had none of its own, the cgroup tells."""
        self.code, self.ooms = code, self.oom_kills()
        if self.cgroup is not None and not self.config_has_pid_namespace():
            self.cgroup.kill()
        self.execs.finish()
        self.session.process_ended()

    def _outputs_ended(self) -> None:
        """The output is in the log: now the end is recorded and told."""
        if self.code is None:
            return
        self.remove_cgroup()
        self.exited = wire.Exited(self.code, time.time_ns(), self.ooms > 0, self.ooms, self.execs.codes())
        try:
            self.bundle.write_exit(self.exited)
        except OSError as error:
            warn(f"{self.bundle.exit_path}: {error.strerror}")
        self.control.send(self.exited)
        self.waiters.answer(self.code, removed=False)

    def config_has_pid_namespace(self) -> bool:
        """Whether init's end is the end of all."""
        return bool(self.start.told["namespaces"] & syscalls.CLONE_NEWPID)

    def oom_kills(self) -> int:
        """How many processes in it the kernel killed for want of memory."""
        try:
            return 0 if self.cgroup is None else self.cgroup.events("memory.events").get("oom_kill", 0)
        except OSError:
            return 0

    def remove_cgroup(self) -> None:
        """Take the cgroup away, with whoever is still in it."""
        if self.cgroup_fd >= 0:
            os.close(self.cgroup_fd)
            self.cgroup_fd = -1
        if self.cgroup is None:
            return
        try:
            os.rmdir(self.cgroup.path)
        except OSError:
            try:
                self.cgroup.remove()
            except (CgroupError, OSError) as error:
                warn(f"{self.cgroup.path}: {error}")
        self.cgroup.remove_parents()
        self.cgroup = None

    def release(self) -> None:
        """The daemon knows how it ended: everybody may know."""
        self.released = True
        if self.exited is not None:
            self.waiters.answer(self.exited.code, removed=True)

    def may_go(self) -> bool:
        """Whether nothing is left to do."""
        if self.done:
            return True
        if self.exited is None or (self.control.connected and not self.released):
            return False
        return not self.waiters.until_removed() or self.released

    def let_go(self) -> None:
        """Of the root file system, then of shim.pid, if that is still ours; shim.sock goes with the control."""
        self.process.unmount()
        with contextlib.suppress(OSError):
            if self.bundle.read_shim_pid() == os.getpid():
                os.unlink(self.bundle.shim_pid)

    def run(self) -> None:
        """Until nothing is left to do; clients that are slow to read keep us a little longer, without our door.

        The root file system goes when everybody has been told. The container's next start waits for that: for the end
        of shim.pid.
        """
        while not self.may_go():
            self.loop.turn()
        self.let_go()
        self.control.close()
        while not self.deserted and (self.session.has_clients or self.execs.have_clients):
            self.loop.turn()


def wake(host: Host, start: Start, born: Born) -> None:
    """The whole shim, from here to its end."""
    start.forget(born)
    shim, failed = Shim(host, start, born), start.failed() or born.failed
    shim.take_over(born)
    if failed is not None:
        shim.fail(failed)
    gc.enable()
    shim.run()


def warn(line: str) -> None:
    """A word to the daemon's log."""
    with contextlib.suppress(OSError):
        os.write(2, f"minirund-shim: {line}\n".encode())
