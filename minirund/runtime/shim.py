"""The shim: one process per container, from its start to the last word about its end. It outlives the daemon.

    Launch ─▶ cgroup, init ──▶ Started ──▶ output, clients, execs ... ──▶ init ends ──▶ Exited ──▶ Release ─▶ gone
                     └──────▶ Failed ─▶ gone

It is a fork of the spawner, and a single thread around one epoll. What it holds: the container's stdio, its cgroup,
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
from typing import Any, NamedTuple, NoReturn

from cgroups import devices as device_programs
from cgroups.cgroup import ACCOUNTED, Cgroup
from cgroups.errors import CgroupError
from cgroups.limits import from_oci, settings
from minirund import wire
from minirund.bundle import Bundle
from minirund.errors import StepFailed
from minirund.runtime import init, syscalls
from minirund.runtime.clients import Waiters
from minirund.runtime.context import Context, Host, Joined, kind_of, new_namespaces
from minirund.runtime.control import Control
from minirund.runtime.execs import Execs
from minirund.runtime.log import LogWriter
from minirund.runtime.loop import Loop
from minirund.runtime.process import Process
from minirund.runtime.stdio import Session


class Prepared(NamedTuple):
    """What the spawner has worked out once for many containers, and the shim finds in its memory."""

    host: Host
    config: dict[str, Any]
    seccomp: bytes
    device_program: int  # descriptor, -1 for none


class Shim:
    """One container's life. Owns everything that it made."""

    def __init__(self, launch: wire.Launch, prepared: Prepared, report: socket.socket, netns: int) -> None:
        self.id, self.prepared, self.config, self.netns = launch.id, prepared, prepared.config, netns
        self.bundle = Bundle(launch.bundle, launch.run)
        self.loop = Loop()
        self.control = Control(self.loop, report, self._receive, self._state)
        self.waiters = Waiters(self.loop)
        extension = self.config.get("minirund") or {}
        self.stdin, self.log = bool(extension.get("stdin")), extension.get("log")
        once = bool(extension.get("stdin_once"))
        self.session = Session(self.loop, self.stdin, once, self._outputs_ended)
        self.process = Process(self.loop, self.session, self._on_started, self._on_failed, self._on_exited)
        self.cgroup: Cgroup | None = None
        self.cgroup_fd = -1
        self.execs: Execs | None = None
        self.started = 0
        self.code: int | None = None
        self.token = -1
        """Held while the start is under way (see ``wire.Launch``)."""
        self.oom = False
        self.exited: wire.Exited | None = None
        self.done = False
        self.released = False

    # --- the start

    def open_session(self) -> None:
        """The log, before anybody is attached who may want it replayed."""
        if self.log:
            self.session.log = LogWriter(os.path.join(self.bundle.directory, self.log))

    def take_clients(self, clients: list[wire.Attach | wire.Wait], descriptors: list[int]) -> None:
        """Those who are there from the start miss nothing."""
        for client in clients:
            if isinstance(client, wire.Wait):
                self.waiters.add(descriptors.pop(0), client)
            else:
                self.session.attach(descriptors.pop(0), client)

    def launch(self) -> None:
        """Up to init's clone, and, while that works, our own files. Raises StepFailed, CgroupError, OSError."""
        self.bundle.clear_exit()
        self.refuse_what_is_not_done()
        self.make_cgroup()
        self.start_init()
        self.control.listen(self.bundle)
        self.bundle.write_shim_pid(os.getpid())

    def refuse_what_is_not_done(self) -> None:
        """Parts of the specification that this runtime does not carry out: not passed over. Raises StepFailed."""
        if any((self.config.get("hooks") or {}).values()):
            raise StepFailed("config.json: hooks are not offered")
        if (self.config.get("process") or {}).get("apparmorProfile"):
            raise StepFailed("config.json: process.apparmorProfile is not offered: there are no AppArmor profiles here")

    def start_init(self) -> None:
        """clone3, into the cgroup and the namespaces. Raises StepFailed, OSError."""
        process = self.config.get("process") or {}
        ctx = Context(self.prepared.host, self.bundle.directory, self.config, process)
        ctx.seccomp = self.prepared.seccomp
        ctx.joins = self.open_joined()
        for each in ctx.joins:
            if each.kind == syscalls.CLONE_NEWPID:
                syscalls.setns(each.descriptor, each.kind, each.path)  # takes effect for children
        joined = sum({each.kind for each in ctx.joins})
        self.process.start(ctx, init.STEPS, new_namespaces(self.config, joined), self.cgroup_fd, self.stdin)
        for each in ctx.joins:
            os.close(each.descriptor)
        self.netns = -1

    def make_cgroup(self) -> None:
        """The container's cgroup, with its limits and its device program, before anybody lives in it."""
        linux = self.config.get("linux") or {}
        path, resources = linux.get("cgroupsPath"), linux.get("resources") or {}
        if not path:
            return
        if not self.prepared.host.cgroup_mount:
            raise StepFailed("make the cgroup: no cgroup v2 hierarchy is mounted")
        self.cgroup = Cgroup(os.path.join(self.prepared.host.cgroup_mount, path.strip("/")))
        self.cgroup.create(self.prepared.host.controllers.intersection(ACCOUNTED))
        limits = from_oci(resources)
        if settings(limits):
            self.cgroup.apply(limits)
        self.cgroup_fd = self.cgroup.open()
        if self.prepared.device_program >= 0:
            device_programs.attach_loaded(self.cgroup_fd, self.prepared.device_program)
            os.close(self.prepared.device_program)

    def open_joined(self) -> list[Joined]:
        """Open the namespaces that others made, while the host's /proc is in sight."""
        found = []
        for each in (self.config.get("linux") or {}).get("namespaces") or ():
            kind, path = kind_of(each["type"]), each.get("path")
            if path:
                found.append(Joined(os.open(path, os.O_RDONLY | os.O_CLOEXEC), kind, path))
            elif kind == syscalls.CLONE_NEWNET and self.netns >= 0:
                found.append(Joined(self.netns, kind, "network"))
        return found

    def _on_started(self) -> None:
        self.started = time.time_ns()
        self.execs = Execs(self.loop, self.control, self.prepared, self.bundle, self.process, self.cgroup_fd)
        self.control.send(wire.Started(self.process.pid, self.started))
        self.close_token()

    def _on_failed(self, failed: wire.Failed) -> None:
        self.fail(failed)

    def fail(self, failed: wire.Failed) -> None:
        """The start failed: leave nothing, say why, end."""
        self.session.give_up()
        self.remove_cgroup()
        self.remove_run_files()
        self.waiters.answer(failed.exit_code, removed=True)
        self.control.send(failed)
        self.control.close()
        self.close_token()
        self.done = True

    def close_token(self) -> None:
        """The start is over: a new daemon may look what has become of it."""
        if self.token >= 0:
            os.close(self.token)
            self.token = -1

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
        execs = self.execs or Execs(self.loop, self.control, self.prepared, self.bundle, self.process, self.cgroup_fd)
        execs.start(message, client, running=self.started > 0 and self.exited is None)

    def resize(self, message: wire.Resize) -> None:
        """A terminal has another size."""
        if not message.exec_id:
            self.session.resize(message.height, message.width)
        elif self.execs is not None:
            self.execs.resize(message)

    def signal(self, number: int) -> None:
        """To init, by its pidfd: never to another process with a reused number."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.pidfd >= 0 and self.exited is None:
                signal.pidfd_send_signal(self.process.pidfd, number)

    def _state(self) -> wire.State:
        execs = self.execs
        codes, pids = (execs.codes(), execs.pids()) if execs is not None else ({}, {})
        return wire.State(self.process.pid, self.started, self.exited, codes, pids, self.waiters.until_removed())

    # --- the end

    def _on_exited(self, code: int) -> None:
        """Init has ended, and with its PID namespace all in it; where it had none of its own, the cgroup tells."""
        self.code, self.oom = code, self.was_oom_killed()
        if self.cgroup is not None and not self.config_has_pid_namespace():
            self.cgroup.kill()
        if self.execs is not None:
            self.execs.finish()
        self.session.process_ended()

    def _outputs_ended(self) -> None:
        """The output is in the log: now the end is recorded and told."""
        if self.code is None:
            return
        self.remove_cgroup()
        self.exited = wire.Exited(self.code, time.time_ns(), self.oom)
        try:
            self.bundle.write_exit(self.exited)
        except OSError as error:
            warn(f"{self.bundle.exit_path}: {error.strerror}")
        self.control.send(self.exited)
        self.waiters.answer(self.code, removed=False)

    def config_has_pid_namespace(self) -> bool:
        """Whether init's end is the end of all."""
        return bool(new_namespaces(self.config, 0) & syscalls.CLONE_NEWPID)

    def was_oom_killed(self) -> bool:
        """Whether the kernel killed somebody in it for want of memory."""
        try:
            return self.cgroup is not None and self.cgroup.events("memory.events").get("oom_kill", 0) > 0
        except OSError:
            return False

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

    def remove_run_files(self) -> None:
        """shim.pid, if it is still ours; shim.sock goes with the control."""
        with contextlib.suppress(OSError):
            if self.bundle.read_shim_pid() == os.getpid():
                os.unlink(self.bundle.shim_pid)

    def run(self) -> None:
        """Until nothing is left to do; clients that are slow to read keep us a little longer, without our door."""
        while not self.may_go():
            self.loop.turn()
        self.remove_run_files()
        self.control.close()
        while self.session.has_clients or (self.execs is not None and self.execs.have_clients):
            self.loop.turn()


def main(launch: wire.Launch, prepared: Prepared, descriptors: list[int]) -> NoReturn:
    """The shim's life; the spawner has forked, and these descriptors are ours."""
    code = 1
    try:
        serve(launch, prepared, descriptors)
        code = 0
    except BaseException as error:
        warn(f"shim of {launch.id}: {type(error).__name__}: {error}")
        if os.environ.get("MINIRUND_DEBUG"):
            import traceback  # noqa: PLC0415

            traceback.print_exc()
    os._exit(code)


def serve(launch: wire.Launch, prepared: Prepared, descriptors: list[int]) -> None:
    """Start the container, and stay with it."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    syscalls.set_title(f"minirund-shim {launch.id}")
    report = socket.socket(fileno=descriptors.pop(0))
    shim = Shim(launch, prepared, report, descriptors.pop(0) if launch.has_netns else -1)
    shim.token = descriptors.pop() if launch.has_token else -1
    try:
        shim.open_session()
        shim.take_clients(launch.clients, descriptors)
        shim.launch()
    except Exception as error:  # whatever is wrong with a configuration: the daemon hears of it
        shim.fail(init.failure(error, "prepare the container"))
    wire.close_all(descriptors)
    gc.enable()
    shim.run()


def warn(line: str) -> None:
    """A word to the daemon's log."""
    with contextlib.suppress(OSError):
        os.write(2, f"minirund-shim: {line}\n".encode())
