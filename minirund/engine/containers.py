"""Containers: the use cases of the API, one method each. What moves is runner.py's; what is saved is catalog.py's.

What only looks is in reading.py; what starts containers again is in restarts.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import time

from minirund import wire
from minirund.engine import (
    devices,
    lifecycle,
    mounts,
    network,
    offered,
    policy,
    quota,
    resources,
    security,
    sound,
    spec,
)
from minirund.engine.catalog import Catalog, check_runs, not_running
from minirund.engine.configuration import merge, parse_signal
from minirund.engine.events import Events
from minirund.engine.filters import Filters, check_keys, labels_pass, until
from minirund.engine.images import Images
from minirund.engine.lifecycle import Event, Status
from minirund.engine.names import check_name, new_id
from minirund.engine.places import Places, clear_cgroup
from minirund.engine.reading import Reading
from minirund.engine.ready import Ready, require_room
from minirund.engine.records import Container, Image, Json
from minirund.engine.restarts import Restarts
from minirund.engine.runner import Runner
from minirund.engine.settings import Settings
from minirund.engine.transfer import storage_errors
from minirund.engine.trash import Trash
from minirund.engine.waiters import answer
from minirund.errors import Conflict, InvalidArgument, MinirundError, NotFound

STOP_SECONDS = 10
REMEMBERED = 256


class Containers(Reading):
    """The containers of this daemon."""

    def __init__(
        self,
        catalog: Catalog,
        runner: Runner,
        restarts: Restarts,
        images: Images,
        events: Events,
        trash: Trash,
        places: Places,
        settings: Settings,
    ) -> None:
        super().__init__(catalog, runner, images)
        self._restarts, self._events, self._trash, self._places = restarts, events, trash, places
        self._settings = settings
        self.ready = Ready(settings.containers_dir)
        self._gone: dict[str, int] = {}  # exit codes of containers that were removed a moment ago
        runner.on_end = self._on_end

    # ---- create ----

    async def create(
        self, name: str | None, config: Json, host_config: Json, networking: Json, platform: str | None = None
    ) -> tuple[str, list[str]]:
        """Make a container, not started: its ID, and warnings. Raises NotFound, Conflict, InvalidArgument, ..."""
        asked = config.get("Image") or ""
        if not asked:
            raise InvalidArgument("no image given: name one in Image")
        offered.check_config(config)
        image = self._images.get(asked)
        self._images.check_platform(image, platform, asked)
        merged = merge(config, self._images.config(image).get("config") or {})
        args = (*(merged.get("Entrypoint") or ()), *(merged.get("Cmd") or ()))
        if not args:
            raise InvalidArgument("no command specified")
        if any(host_config.get(key) for key in resources.SLOW):
            warnings = await asyncio.to_thread(self._check, merged, host_config, networking)
        else:
            warnings = self._check(merged, host_config, networking)
        return await self._make(name, asked, image, (merged, host_config, networking, args)), warnings

    def _check(self, config: Json, host: Json, networking: Json) -> list[str]:
        """Whatever can be refused before there is anything to take back. Warnings."""
        sound.check(config, host, networking)
        offered.check(host, networking)
        network.mode_of(host)
        security.policy(host)
        spec.check_sysctls(host)
        policy.check_host(host)
        quota.check(host, self._settings.containers_dir, self._settings.layer_size)
        devices.rules(host)
        warnings = resources.check(host, self._places.top)
        self._places.check(host)
        mounts.wanted(host)
        parse_signal(config.get("StopSignal") or "SIGTERM")
        return warnings

    async def _make(
        self, name: str | None, asked: str, image: Image, parts: tuple[Json, Json, Json, tuple[str, ...]]
    ) -> str:
        config, host, networking, args = parts
        require_room(self._settings.containers_dir)
        ready = None if host.get("AutoRemove") or quota.size_of(host) else self.ready.take()
        ident = ready or new_id()
        config.setdefault("Hostname", "")
        if not config["Hostname"]:
            config["Hostname"] = os.uname().nodename if network.mode_of(host) == "host" else ident[:12]
        container = Container(
            id=ident, name=self._catalog.claim(name), image=asked, image_id=image.id, layers=image.layers,
            config=config, host_config=host, args=args, created=time.time_ns(), networking=networking,
        )  # fmt: skip
        directory = self._runner.bundle(container).rw_path
        try:
            self._catalog.put(container)  # from here on the name is taken
            if ready is None:
                with storage_errors(directory):
                    quota.make_layer(directory, host)
        except BaseException:
            self._catalog.delete(container)
            self._trash.put(os.path.dirname(directory))
            raise
        self._events.container("create", container)
        if not container.auto_remove:
            above = os.path.dirname(directory)
            await self._catalog.synced(*((directory, above, os.path.dirname(above)) if ready is None else ()))
        return ident

    # ---- motion ----

    async def start(self, ref: str) -> bool:
        """Start; False if it was running. Raises StartFailed, Conflict, EngineError."""
        container = self.get(ref)
        async with self._runner.live(container.id).lock:
            container = self._catalog.get(container.id)
            if container.status in {Status.RUNNING, Status.RESTARTING}:
                return False
            if container.status is Status.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            lifecycle.after(container.status, Event.START, container.name)
            await self._start(policy.afresh(container))
        return True

    async def _start(self, container: Container) -> None:
        try:
            await self._runner.start(container)
        except MinirundError:
            if container.auto_remove:  # nobody will start it again
                self._runner.spawn(self._discard(container.id))
            raise

    async def stop(self, ref: str, timeout: int | None = None, signal: str | None = None) -> bool:
        """Ask it to end, and after ``timeout`` seconds (-1: never) make it; False if it was not running."""
        container = self.get(ref)
        async with self._runner.live(container.id).lock:
            return await self._stop(container.id, timeout, signal)

    async def _stop(self, ident: str, timeout: int | None, signal: str | None) -> bool:
        if self._restarts.cancel(ident):
            self._events.container("stop", self._catalog.get(ident))
            return True
        container = self._catalog.get(ident)
        if not container.alive:
            return False
        number = parse_signal(signal or container.config.get("StopSignal") or "SIGTERM")
        if timeout is None:
            timeout = container.config.get("StopTimeout")
        container = self._catalog.change(ident, stopped=True)
        await self._runner.signal(container, number)
        if container.status is Status.PAUSED:  # a frozen process can't act on it
            container = await self._runner.unpause(container)
        seconds = STOP_SECONDS if timeout is None else timeout
        if not await self._runner.ended(container, None if seconds < 0 else seconds):
            await self._runner.kill(container)
        self._events.container("stop", container)
        return True

    async def restart(self, ref: str, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop if it runs, and start."""
        container = self.get(ref)
        async with self._runner.live(container.id).lock:
            await self._stop(container.id, timeout, signal)
            container = self._catalog.get(container.id)
            if self._runner.live(container.id).doomed:
                raise Conflict(f"container {container.name} is marked for removal and cannot be started")
            lifecycle.after(container.status, Event.START, container.name)
            await self._runner.start(policy.afresh(container))
            self._events.container("restart", container)

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        """Send a signal; SIGKILL is awaited. Raises Conflict if it is not running."""
        container = self.get(ref)
        number = parse_signal(signal)
        if container.status is Status.RESTARTING and policy.is_stop(number, container):
            async with self._runner.live(container.id).lock:
                if container.id in self._catalog and self._restarts.cancel(container.id):
                    return
            container = self.get(container.id)
        if not container.alive:
            raise Conflict(f"cannot kill container: {ref}: {not_running(container)}")
        if policy.is_stop(number, container):
            container = self._catalog.change(container.id, stopped=True)
        self._events.container("kill", container, signal=str(number))
        if number == signals.SIGKILL:
            await self._runner.kill(container)
        else:
            await self._runner.signal(container, number)

    async def pause(self, ref: str) -> None:
        """Freeze all its processes."""
        container = self.get(ref)
        async with self._runner.live(container.id).lock:
            container = self._catalog.get(container.id)
            if container.status is Status.PAUSED:
                raise Conflict(f"container {container.id} is already paused")
            check_runs(container)
            self._events.container("pause", await self._runner.pause(container))

    async def unpause(self, ref: str) -> None:
        """Thaw them."""
        container = self.get(ref)
        async with self._runner.live(container.id).lock:
            self._events.container("unpause", await self._runner.unpause(self._catalog.get(container.id)))

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name."""
        container = self.get(ref)
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        if check_name(name) == container.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        renamed = self._catalog.put(container.but(name=self._catalog.claim(name)))
        self._events.container("rename", renamed, oldName=f"/{container.name}")
        await self._catalog.synced()

    # ---- remove ----

    async def remove(self, ref: str, force: bool = False, volumes: bool = False) -> None:
        """Remove, and with ``force`` kill first: at once, however long somebody's stop would wait for it."""
        container = self.get(ref)
        live = self._runner.live(container.id)
        live.doomed += force
        try:
            if force and live.lock.locked() and container.alive:
                await self._end(container.id)
            async with live.lock:
                await self._remove_locked(container.id, ref, force)
        finally:
            live.doomed -= force

    async def _end(self, ident: str) -> None:
        """Kill, and for good: no restart policy brings it back."""
        await self._runner.kill(self._catalog.change(ident, stopped=True))

    async def _remove_locked(self, ident: str, ref: str, force: bool) -> None:
        if ident not in self._catalog:
            raise NotFound(f"No such container: {ref}")
        container = self._catalog.get(ident)
        if container.active and not force:
            raise Conflict(
                f'cannot remove container "/{container.name}": container is {container.status}: '
                "stop the container before removing or force remove"
            )
        if container.alive:
            await self._end(ident)
        self._restarts.cancel(ident)
        await self._remove(self._catalog.get(ident))

    async def _remove(self, container: Container) -> None:
        """Directories, record, then the answer to those who waited for it."""
        if container.status is not Status.REMOVING:
            lifecycle.after(container.status, Event.REMOVE, container.name)
            container = self._catalog.removing(container)
        bundle = self._runner.bundle(container)
        self._trash.put(bundle.directory)
        self._catalog.delete(container)
        self._events.container("destroy", container)
        self._gone[container.id] = container.exit_code
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self._runner.live(container.id).answer_held(container.exit_code)
        self._runner.forget(container.id)
        bundle.remove_run()  # last: it holds the door of a shim that was still to be let go

    async def _discard(self, ident: str) -> None:
        """Remove a container that nobody asked to keep; one that is gone already is fine."""
        async with self._runner.live(ident).lock:
            if ident in self._catalog and not self._catalog.get(ident).alive:
                await self._remove(self._catalog.get(ident))
            elif ident not in self._catalog:
                self._runner.forget(ident)

    def _on_end(self, container: Container) -> None:
        self._restarts.schedule(container)
        if container.auto_remove:
            self._runner.spawn(self._discard(container.id))

    async def finish_removals(self) -> None:
        """At start: what was about to go when the daemon ended. As with Docker: any --rm that doesn't run."""
        for container in self._catalog.containers():
            if container.status is Status.REMOVING or (container.auto_remove and not container.alive):
                await asyncio.to_thread(clear_cgroup, self._runner.cgroup(container))
                await self._discard(container.id)

    async def prune(self, filters: Filters) -> tuple[list[str], int]:
        """Remove all that don't run: their IDs, and the bytes set free."""
        check_keys(filters, {"label", "until", "label!"})
        before = until(filters)
        gone, freed = [], 0
        for container in self._catalog.containers():
            passes = container.created < before and labels_pass(filters, container.config.get("Labels"))
            if passes and not container.active:
                with contextlib.suppress(NotFound, Conflict):  # gone, or started, meanwhile
                    size, _ = await self.sizes(container.id)
                    await self.remove(container.id)
                    freed += size
                    gone.append(container.id)
        self._events.prune("container", freed)
        return gone, freed

    # ---- clients ----

    async def attach(self, before: Container, attach: wire.Attach, descriptor: int) -> None:
        """Make a client's connection its stdio, now or at its next start. Takes the descriptor over.

        ``before`` is the container as it was when the client asked: if it has ended since, the stream ends too.
        """
        if before.id not in self._catalog or (before.alive and self._has_ended(before)):
            os.close(descriptor)
        else:
            self._runner.attach(self.get(before.id), attach, descriptor)

    def exit_code(self, ref: str, condition: str) -> int | None:
        """The answer to a wait, or None if there is something to wait for.

        One that was removed a moment ago still has its answer, by its whole ID: the shim that held an earlier wait may
        have been killed.
        """
        if ref in self._gone:
            return self._gone[ref]
        container = self.get(ref)
        if condition == "not-running" and not container.active:
            return container.exit_code
        return None

    async def hand_wait(self, before: Container, condition: str, descriptor: int) -> None:
        """See to it that the wait on this connection gets its answer. Takes the descriptor over.

        ``before`` is the container as it was when the client asked: an end since then is what it waits for.
        """
        if before.id not in self._catalog:
            answer(descriptor, self._gone.get(before.id, before.exit_code))
        else:
            self._runner.wait(self.get(before.id), before, condition, descriptor)

    def resize(self, ref: str, height: int, width: int) -> None:
        """Set its terminal's size. Raises Conflict."""
        self._runner.resize(self.get(ref), height, width)
