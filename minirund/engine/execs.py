"""Execs: further processes in a running container. Their records are saved: an exit code survives the daemon."""

from __future__ import annotations

import contextlib
import os
import time

from minirund import wire
from minirund.engine import sound, spec
from minirund.engine.catalog import Catalog, check_runs
from minirund.engine.events import Events
from minirund.engine.failures import exec_error, unanswered
from minirund.engine.lifecycle import Status
from minirund.engine.names import new_id
from minirund.engine.records import Container, Exec, Json
from minirund.engine.runner import Runner
from minirund.engine.shims import ExecAnswer
from minirund.engine.waiters import hang_up
from minirund.errors import Conflict, InvalidArgument, NotFound, Unavailable

GIVEN_UP = 126
"""The exit code of an exec that could not be started, as an exec's that fails."""


class Execs:
    """The execs of all containers."""

    def __init__(self, catalog: Catalog, runner: Runner, events: Events) -> None:
        self._catalog, self._runner, self._events = catalog, runner, events

    def create(self, ref: str, config: Json) -> str:
        """Make one, not started: its ID. Raises NotFound, Conflict, InvalidArgument."""
        container = self._running(self._catalog.find(ref))
        if not config.get("Cmd"):
            raise InvalidArgument("No exec command specified")
        sound.check_exec(config)
        self._catalog.forget_old_execs()
        record = Exec(new_id(), container.id, config, time.time_ns())
        self._catalog.put_exec(record)  # also on a full disk: somebody may want to look what fills it
        command = " ".join(config["Cmd"])
        self._events.container(f"exec_create: {command}", container, execID=record.id)
        return record.id

    def _running(self, container: Container) -> Container:
        if container.status is Status.PAUSED:
            raise Conflict(f"container {container.name} is paused, unpause the container before exec")
        check_runs(container)
        return container

    def get(self, exec_id: str) -> Exec:
        """By ID. Raises NotFound."""
        record = self._catalog.exec(exec_id)
        if record.running and record.container_id in self._catalog:
            self._runner.catch_up(self._catalog.get(record.container_id))
        return self._catalog.exec(record.id)

    def running_in(self, container: Container) -> list[str]:
        """The IDs of a container's execs that run."""
        return [record.id for record in self._catalog.execs_of(container.id) if record.running]

    def check(self, exec_id: str) -> Exec:
        """Whether it may be started. Raises NotFound, Conflict."""
        record = self.get(exec_id)
        if record.started:
            state = "is already running" if record.running else "has already run"
            raise Conflict(f"exec command {record.id} {state}")
        self._runner.shim_of(self._running(self._catalog.get(record.container_id)))
        return record

    async def start(
        self,
        exec_id: str,
        attach: wire.Attach | None,
        descriptor: int | None,
        tty: bool,
        console_size: tuple[int, int] | None,
    ) -> None:
        """Start it. An attached client reads in its stream what failed; without one it is raised. Takes the descriptor.

        Raises StartFailed, StepFailed, EngineError, and what ``check`` raises.
        """
        try:
            record = self.check(exec_id)
            container = self._catalog.get(record.container_id)
            process = dict(spec.exec_process(container, record.config, tty, console_size))
            kept = -1 if descriptor is None else os.dup(descriptor)
        except BaseException:
            if descriptor is not None:
                wire.close_all([descriptor])
            raise
        command = " ".join(record.config["Cmd"])
        self._events.container(f"exec_start: {command}", container, execID=record.id)
        try:
            failed = await self._launch(container, record, wire.Exec(record.id, process, attach), descriptor)
        except TimeoutError:
            self._give_up(container, record, attach, kept)
            return
        finally:
            wire.close_all([] if descriptor is None else [kept])
        if failed is not None and attach is None:
            raise exec_error(failed)

    async def _launch(
        self, container: Container, record: Exec, message: wire.Exec, descriptor: int | None
    ) -> wire.ExecFailed | None:
        """Have the shim start it: what failed, or None. Takes the descriptor over."""
        self._catalog.put_exec(record.but(started=True))
        passed = [] if descriptor is None else [descriptor]
        word = await self._runner.shim_of(container).exec(message, passed, self._heard)
        return word if isinstance(word, wire.ExecFailed) else None

    def _heard(self, word: ExecAnswer) -> None:
        """At once: the client's stream may have ended, and its next question be on its way."""
        with contextlib.suppress(NotFound):
            record = self._catalog.exec(word.id)
            if isinstance(word, wire.ExecFailed):
                self._catalog.put_exec(record.but(exit_code=word.exit_code))
            elif record.exit_code is None:
                self._catalog.put_exec(record.but(pid=word.pid))

    def _give_up(self, container: Container, record: Exec, attach: wire.Attach | None, descriptor: int) -> None:
        """The shim does not read. Should it do so later, it will not start what it was asked for so long ago."""
        self._catalog.put_exec(self._catalog.exec(record.id).but(exit_code=GIVEN_UP))
        why = unanswered(container.name, self._runner.bundle(container).read_shim_pid())
        if attach is None:
            raise Unavailable(why)
        hang_up(descriptor, attach, why)

    def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set its terminal's size."""
        record = self.get(exec_id)
        if not record.running:
            raise Conflict(f"exec {exec_id} is not running")
        self._runner.resize(self._catalog.get(record.container_id), height, width, record.id)
