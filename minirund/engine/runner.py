"""Containers in motion: start, signals, pause, attach, and what happens when one ends.

The order of a start: a place in the network, the record with its address, Launch; and while shim and init come to be,
the files in the run directory and config.json, and Go. From then on the container is the shim's; the engine listens. An
end is recorded as soon as it is reported, without a lock: nothing that waits for it may stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError
from minirund import wire
from minirund.bundle import Bundle
from minirund.engine import lifecycle, policy, resources, shims, stopped
from minirund.engine.catalog import Catalog, not_running
from minirund.engine.events import Events
from minirund.engine.exposition import Histogram
from minirund.engine.failures import never_started, start_error
from minirund.engine.lifecycle import Event, Status
from minirund.engine.network import Network, Place
from minirund.engine.ooms import Ooms
from minirund.engine.places import Places, clear_cgroup
from minirund.engine.preparation import Preparation, joined, outline
from minirund.engine.records import Container, Endpoint, Json
from minirund.engine.settings import Settings
from minirund.engine.shims import Shim, Spawner
from minirund.engine.transfer import storage_errors
from minirund.engine.waiters import Live, answer, for_removal
from minirund.errors import Conflict, EngineError, InvalidArgument

log = logging.getLogger(__name__)

Others = dict[str, Container]
Word = wire.Started | wire.Failed | wire.State | None
Clients = list[tuple[wire.Attach | wire.Wait, int]]
PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds before each try to launch: a new spawner needs some time
KILLED = 137  # 128 + SIGKILL: how a container ends whose shim vanished


class Runner:
    """Everything that moves. Implements shims.Listener."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        network: Network,
        spawner: Spawner,
        events: Events,
        rootfs: Callable[[Container], Json],
        places: Places,
    ) -> None:
        """``rootfs`` says how a container's root file system is put together: an OverlayMount as JSON."""
        self._catalog, self._network = catalog, network
        self._preparation = Preparation(settings, network, rootfs)
        self._spawner, self._events, self._places = spawner, events, places
        self._live: dict[str, Live] = {}
        self.ooms = Ooms(catalog, events)
        self.starts = Histogram()  # of those that succeeded, in seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self.on_end: Callable[[Container], None] = lambda _: None
        """Called once for every container that ended, after the record says so."""

    def live(self, container_id: str) -> Live:
        """The live object of a container."""
        found = self._live.get(container_id)
        if found is None:
            found = self._live[container_id] = Live()
            found.ended.set()
        return found

    def catch_up(self, container: Container) -> Container:
        """The container as its shim last described it."""
        live = self._live.get(container.id)
        if container.alive and live is not None and live.shim is not None:
            live.shim.catch_up()
            return self._catalog.get(container.id)
        return container

    def forget(self, container_id: str) -> None:
        """The container has been removed: answer who waits for that."""
        live = self._live.pop(container_id, None)
        if live is not None:
            self._dismiss(live)

    def bundle(self, container: Container) -> Bundle:
        """The container's directories."""
        return self._preparation.bundle(container)

    def cgroup(self, container: Container) -> Cgroup:
        """The container's cgroup."""
        return self._places.of(container)

    def spawn(self, work: Any) -> None:
        """Run a coroutine in the background, and see to it that it is not forgotten."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work that goes on even if its caller is cancelled, as when the daemon stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def finish(self) -> None:
        """Wait for what runs in the background."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- start ----

    async def start(self, container: Container) -> None:
        """Start a container that is not running. Raises StartFailed, EngineError, InvalidArgument.

        The caller holds the lock and has checked the state. A start goes on to its end even if the caller is
        cancelled, as when the daemon stops: a shim that was asked for can't be called back.
        """
        await self.to_its_end(self._start(container))

    async def _start(self, container: Container) -> None:
        begun, others = time.monotonic(), joined(container, self._catalog)
        place = await self._network.place(container, others.get("network"))
        live = self.live(container.id)
        clients: Clients = []
        try:
            container = container.but(endpoint=place.endpoint, error="", oom_killed=False, ooms=0)
            container, config = await self._prepare(container, place, others)
            clients = live.take_held(removal=container.auto_remove)
            self._dismiss(live)
            live.awaited_removal = any(for_removal(client) for client, _ in clients)
            await self._launch(container, config, place, others, clients)
            self.starts.observe(time.monotonic() - begun)
        except BaseException as error:
            self._not_started(container, place.endpoint, error)
            raise

    async def _prepare(self, container: Container, place: Place, others: Others) -> tuple[Container, Json]:
        """The record, and config.json. What looks at the host's paths, maybe of a server that has gone: in a thread."""
        container = self._catalog.put(container.but(cgroup=self._places.next(container)))
        with storage_errors(self.bundle(container).directory):
            if any(container.host_config.get(key) for key in resources.HOSTS_PATHS):
                return container, await asyncio.to_thread(self._preparation.config, container, place, others)
            return container, self._preparation.config(container, place, others)

    async def _launch(self, container: Container, config: Json, place: Place, others: Others, clients: Clients) -> None:
        """Launch, and once more if nobody says a word: the spawner, or the shim, was killed at that moment."""
        bundle = self.bundle(container)
        has_netns = place.descriptor >= 0
        message = wire.Launch(container.id, bundle.directory, bundle.run, has_netns, [client for client, _ in clients])
        spare = [place.descriptor] * has_netns + [descriptor for _, descriptor in clients]
        try:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                await stopped.let_go(bundle, container.name)
                async with self._places.held(container, bundle.read_shim_pid):
                    message.outline = outline(config)
                    shim = self._ask(message, [os.dup(descriptor) for descriptor in spare])
                    word = await self._go_on(container, config, place, shim)
                if word is not None:
                    break
                shim.close()
                await asyncio.to_thread(clear_cgroup, self.cgroup(container))
                container, config = await self._prepare(container, place, others)  # maybe another place
            self._judge(container, shim, word)
        finally:
            wire.close_all(spare)

    def _ask(self, message: wire.Launch, descriptors: list[int]) -> Shim:
        channel, theirs = wire.Channel.pair()
        shim = Shim(message.id, channel, self)
        live = self.live(message.id)
        live.shim = shim
        live.ended.clear()
        self._spawner.launch(message, [theirs.detach(), *descriptors])
        return shim

    async def _go_on(self, container: Container, config: Json, place: Place, shim: Shim) -> Word:
        """Shim and init come to be. Write the bundle meanwhile, say so, and hear what the shim says."""
        try:
            with storage_errors(self.bundle(container).directory):
                self._preparation.write(container, place, config)
        except BaseException:
            self._spawner.go_on(wire.Stop(container.id))
            await self._first_word(shim)
            shim.close()
            raise
        self._spawner.go_on(wire.Go(container.id))
        return await self._first_word(shim)

    async def _first_word(self, shim: Shim) -> Word:
        while not await shim.spoke():
            await asyncio.to_thread(stopped.end, self._spawner.pid, shim.container_id)
        return await shim.first_word()

    def _judge(self, container: Container, shim: Shim, word: Word) -> None:
        if isinstance(word, wire.Started):
            if self._catalog.get(container.id).started < word.time:
                self._started(container, word)
            if not shim.open and self._catalog.get(container.id).alive:  # killed right after its first word
                self.spawn(self.end_orphan(container))
            return
        shim.close()
        if isinstance(word, wire.Failed):
            raise start_error(word)
        raise EngineError(never_started(container.name, len(PAUSES)))

    def _started(self, container: Container, word: wire.Started) -> None:
        container = self._catalog.change(
            container.id, status=Status.RUNNING, pid=word.pid, started=word.time, exit_code=0
        )
        if container.endpoint:
            self._events.network("connect", self._network.id, "bridge", container.id)
        self._events.container("start", container)
        self.ooms.watch(container, self.cgroup(container))

    def _not_started(self, container: Container, endpoint: Endpoint | None, error: BaseException) -> None:
        live = self.live(container.id)
        live.ended.set()
        live.shim = None
        self._network.release(endpoint)
        if container.id in self._catalog:
            code = getattr(error, "exit_code", 128)
            self._catalog.change(container.id, endpoint=None, error=str(error), exit_code=code)

    def abandon(self, container: Container) -> None:
        """A start that came no further than its address: free that."""
        self._network.release(container.endpoint)
        self._catalog.change(container.id, endpoint=None)

    # ---- ends ----

    def shim_exited(self, shim: Shim, exited: wire.Exited | None) -> None:
        """A container ended (shims.Listener)."""
        live = self.live(shim.container_id)
        if live.shim is not shim or shim.container_id not in self._catalog:
            return
        container = self._catalog.get(shim.container_id)
        if exited is None:
            if container.alive:
                log.warning("the shim of %s has gone: its container is ended", container.id[:12])
                self.spawn(self.end_orphan(container))
        elif container.alive:
            self.record_end(container, exited)
        else:
            self._ended_at_once(container, shim, exited)

    def _ended_at_once(self, container: Container, shim: Shim, exited: wire.Exited) -> None:
        """Exited came in one go with Started, whose reader has not been woken yet."""
        word = shim.started
        if word is not None and container.started < word.time:
            self._started(container, word)
            self.record_end(self._catalog.get(container.id), exited)

    async def end_orphan(self, container: Container) -> None:
        """Kill what is left of a container without a shim, and record its end."""
        await asyncio.to_thread(clear_cgroup, self.cgroup(container))
        container = self._catalog.get(container.id)
        exited = self.bundle(container).read_exit() or wire.Exited(KILLED, time.time_ns())
        if container.alive:
            self.record_end(container, exited)

    def record_end(self, container: Container, exited: wire.Exited) -> None:
        """A container has ended: record it, free its address, tell."""
        for record in self._catalog.execs_of(container.id):
            if record.running:
                self._catalog.put_exec(record.but(exit_code=exited.execs.get(record.id, KILLED)))
        place = container.endpoint
        self._network.release(place)
        container = self._catalog.change(
            container.id, pid=0, exit_code=exited.code, finished=exited.time, oom_killed=exited.oom, endpoint=None,
            **policy.at_end(container, exited.code, exited.time),
        )  # fmt: skip
        self.ooms.ended(container, exited)
        self._events.container("die", container, exitCode=str(exited.code))
        if place:
            self._events.network("disconnect", self._network.id, "bridge", container.id)
        live = self.live(container.id)
        live.ended.set()
        if not (container.auto_remove or live.awaited_removal):
            self._dismiss(live)
        self.on_end(container)

    def _dismiss(self, live: Live) -> None:
        """Let the shim go: its container's end is on record, and nobody waits for more."""
        if live.shim is not None:
            live.shim.send(wire.Release())
            live.shim.close()
            live.shim = None

    # ---- while it runs ----

    def shim_of(self, container: Container) -> Shim:
        """The shim of a running container. Raises Conflict."""
        shim = self.live(container.id).shim
        if not container.alive or shim is None or not shim.open:
            raise Conflict(not_running(container))
        return shim

    async def kill(self, container: Container) -> None:
        """SIGKILL to everything in it, and wait for the end. Raises EngineError.

        A shim that does not tell of the end, and does not read either, goes too: then that is the end.
        """
        cgroup, live = self.cgroup(container), self.live(container.id)
        await asyncio.to_thread(cgroup.kill)
        if await self.ended(container, shims.PATIENCE):
            return
        if live.shim is not None and not cgroup.processes() and not await live.shim.reads():
            log.warning("the shim of %s does not answer: it is killed", container.id[:12])
            shims.kill(self.bundle(container))
        if not await self.ended(container, shims.PATIENCE):
            raise EngineError(f"container {container.name} did not end after SIGKILL: is it stuck in the kernel?")

    async def signal(self, container: Container, number: int) -> None:
        """Send a signal to init."""
        self.shim_of(container).send(wire.Signal(number))

    async def ended(self, container: Container, timeout: float | None = None) -> bool:
        """Wait until it has ended; False if it has not within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.live(container.id).ended.wait()
        except TimeoutError:
            return False
        return True

    async def pause(self, container: Container) -> Container:
        """Freeze. Raises Conflict, EngineError."""
        after = lifecycle.after(container.status, Event.PAUSE, container.name)
        await self._freezer(container, Cgroup.freeze)
        return self._while_alive(container.id, after)

    async def unpause(self, container: Container) -> Container:
        """Thaw. Raises Conflict, EngineError."""
        if container.status is not Status.PAUSED:
            raise Conflict(f"Container {container.id} is not paused")
        await self._freezer(container, Cgroup.thaw)
        return self._while_alive(container.id, Status.RUNNING)

    def _while_alive(self, container_id: str, status: Status) -> Container:
        """Record it, unless the container has ended meanwhile."""
        container = self._catalog.get(container_id)
        return self._catalog.change(container_id, status=status) if container.alive else container

    async def _freezer(self, container: Container, work: Callable[[Cgroup], None]) -> None:
        cgroup = self.cgroup(container)
        try:
            await asyncio.to_thread(work, cgroup)
        except (CgroupError, OSError) as error:
            if not cgroup.exists() and await self.ended(container, 1):  # the shim removes it, and tells us then
                raise Conflict(f"container {container.id} is not running") from None
            raise EngineError(str(error)) from error

    def attach(self, container: Container, attach: wire.Attach, descriptor: int) -> None:
        """Give a client to the shim, or keep it for the next start. Takes the descriptor over."""
        self._give(container, attach, descriptor)

    def wait(self, container: Container, before: Container, condition: str, descriptor: int) -> None:
        """Have a wait answered when it is time. Takes the descriptor over. ``before``: when it was asked for."""
        waiting = wire.Wait(removed=condition == "removed")
        ended_since = not container.alive and container.finished != before.finished
        if (ended_since and not waiting.removed) or (condition == "not-running" and not container.active):
            answer(descriptor, container.exit_code)
        else:
            self._give(container, waiting, descriptor)

    def _give(self, container: Container, client: wire.Attach | wire.Wait, descriptor: int) -> None:
        live = self.live(container.id)
        if container.alive and live.shim is not None and (container.auto_remove or not for_removal(client)):
            live.awaited_removal |= for_removal(client)
            live.shim.send(client, [descriptor])
        else:
            live.hold(client, descriptor)

    def resize(self, container: Container, height: int, width: int, exec_id: str = "") -> None:
        """Set a terminal's size."""
        self.shim_of(container).send(wire.Resize(height, width, exec_id))

    def exec_exited(self, shim: Shim, exec_id: str, code: int) -> None:
        """An exec ended (shims.Listener)."""
        with contextlib.suppress(EngineError, InvalidArgument):
            record = self._catalog.put_exec(self._catalog.exec(exec_id).but(exit_code=code))
            self._events.container(
                "exec_die", self._catalog.get(record.container_id), execID=exec_id, exitCode=str(code)
            )
