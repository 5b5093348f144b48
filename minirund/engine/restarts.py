"""Containers that are started again: the clocks between an end and the next start. policy.py decides, runner.py starts.

    end ──policy──▶ RESTARTING ──pause──▶ start ──▶ RUNNING
                        │                   └─ refused: RESTARTING, a longer pause, if that may pass; else EXITED
                        └─ stop, kill, rm -f ──▶ EXITED

What waits is in the records: state, pause, and when the container ended. So a daemon that dies loses nothing: the next
one sets the clocks again. It also starts what had ended for good and comes back with it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from minirund.engine import lifecycle, policy
from minirund.engine.catalog import Catalog
from minirund.engine.lifecycle import Event, Status
from minirund.engine.records import Container
from minirund.engine.runner import Runner
from minirund.errors import InvalidArgument, MinirundError, NotFound, NotSupported, StepFailed, Unavailable

log = logging.getLogger(__name__)

LASTING = (InvalidArgument, NotFound, NotSupported, StepFailed)
"""Why a start fails that would fail again: its command, its mounts. All else passes: a full disk, a container whose
network is to be joined and that has ended."""


class Restarts:
    """The clocks. Those of one daemon; the lock of a container is held by who starts or stops it."""

    def __init__(self, catalog: Catalog, runner: Runner) -> None:
        self._catalog, self._runner = catalog, runner
        self._clocks: dict[str, asyncio.TimerHandle] = {}
        self._open = False

    @property
    def waiting(self) -> int:
        """How many wait for their next start."""
        return len(self._clocks)

    def take_up(self) -> None:
        """A new daemon is ready to start containers: those that wait, and those that come back with it."""
        self._open = True
        for container in self._catalog.containers():
            self.schedule(self._back(container))

    def _back(self, container: Container) -> Container:
        if container.status is not Status.EXITED or not policy.comes_back(container):
            return container
        after = lifecycle.after(container.status, Event.RETRY, container.name)
        return self._catalog.change(container.id, status=after, stopped=False, restart_count=0, pause=0)

    def schedule(self, container: Container) -> None:
        """Start it when its pause is over, if it is to be started again. The time since its end counts."""
        if container.status is Status.RESTARTING and self._open:
            past = time.time() - container.finished / 1e9
            self._set(container.id, min(max(container.pause / 1000 - past, 0), container.pause / 1000))

    def _set(self, ident: str, seconds: float) -> None:
        self._stop(ident)
        self._clocks[ident] = asyncio.get_running_loop().call_later(seconds, self._due, ident)

    def _stop(self, ident: str) -> None:
        clock = self._clocks.pop(ident, None)
        if clock is not None:
            clock.cancel()

    def _due(self, ident: str) -> None:
        del self._clocks[ident]
        if ident in self._catalog:
            self._runner.spawn(self._start(ident))

    async def _start(self, ident: str) -> None:
        async with self._runner.live(ident).lock:
            if ident not in self._catalog:
                self._runner.forget(ident)
                return
            container = self._catalog.get(ident)
            if container.status is not Status.RESTARTING or ident in self._clocks:  # stopped, or ended anew, meanwhile
                return
            try:
                await self._runner.start(container)
            except MinirundError as error:
                self._failed(container, error)

    def _failed(self, container: Container, error: MinirundError) -> None:
        if isinstance(error, Unavailable) or not self._open:
            return  # the daemon ends: the next one goes on
        log.warning("container %s can't be started again: %s", container.name, error)
        if isinstance(error, LASTING):
            self._give_up(container.but(error=str(error)))
        else:
            longer = policy.pause(container.pause)
            self._catalog.change(container.id, pause=longer, exit_code=container.exit_code, error=str(error))
            self._set(container.id, longer / 1000)

    def cancel(self, ident: str) -> bool:
        """Start it no more: it was stopped by hand. False if it doesn't wait to be started. With the lock held."""
        container = self._catalog.get(ident)
        if container.status is not Status.RESTARTING:
            return False
        self._catalog.change(ident, stopped=True)
        self._give_up(container)
        return True

    def _give_up(self, container: Container) -> None:
        """It has ended as it did last, and who waits for an end is told."""
        self._stop(container.id)
        after = lifecycle.after(Status.RESTARTING, Event.EXIT, container.name)
        self._catalog.change(container.id, status=after, exit_code=container.exit_code, pause=0, error=container.error)
        self._runner.live(container.id).answer_waits(container.exit_code)

    def close(self) -> None:
        """Stop the clocks: the next daemon sets them again."""
        self._open = False
        for ident in tuple(self._clocks):
            self._stop(ident)
