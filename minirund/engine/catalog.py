"""All containers and execs as they are now: records in memory, each change written through to the store.

Readers take what is there; nobody waits for a lock. A change is: make the new record, save it, put it in place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from minirund.engine.lifecycle import Status
from minirund.engine.names import by_prefix, check_name, new_name
from minirund.engine.records import Container, Exec
from minirund.engine.store import Store
from minirund.errors import Conflict, NotFound


class Catalog:
    """The records, by ID and by name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._containers = {record.id: record for record in store.containers()}
        self._execs = {record.id: record for record in store.execs()}
        self._names = {record.name: record.id for record in self._containers.values()}

    def containers(self) -> list[Container]:
        """Every container, the newest first."""
        return sorted(self._containers.values(), key=lambda record: record.created, reverse=True)

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._containers

    def get(self, container_id: str) -> Container:
        """By its whole ID. Raises NotFound."""
        try:
            return self._containers[container_id]
        except KeyError:
            raise NotFound(f"No such container: {container_id}") from None

    def find(self, ref: str) -> Container:
        """By ID, name or the beginning of an ID. Raises NotFound, InvalidArgument if several begin so."""
        if found := self._containers.get(ref) or self._containers.get(self._names.get(ref.removeprefix("/"), "")):
            return found
        ident = by_prefix(self._containers.keys(), ref)
        if ident is None:
            raise NotFound(f"No such container: {ref if len(ref) <= 256 else ref[:253] + '...'}")
        return self._containers[ident]

    def claim(self, name: str | None) -> str:
        """A name for a new container: the one asked for, or one that is free. Raises InvalidArgument, Conflict."""
        if not name:
            return new_name(self._names.keys())
        name = check_name(name)
        if name in self._names:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{self._names[name]}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        return name

    def put(self, record: Container) -> Container:
        """Save a container's record, new or changed. Raises StorageFull: then all is as it was."""
        self._store.put(record)
        return self._place(record)

    def _place(self, record: Container) -> Container:
        old = self._containers.get(record.id)
        if old is not None and old.name != record.name:
            del self._names[old.name]
        self._containers[record.id] = record
        self._names[record.name] = record.id
        return record

    def change(self, container_id: str, **changes: object) -> Container:
        """Put a record in place that differs so. It says what has come to pass: a full disk is nothing against it."""
        record = self.get(container_id).but(**changes)
        self._store.settle(record)
        return self._place(record)

    def removing(self, record: Container) -> Container:
        """Show that a container is on its way out. Not saved: its directory goes first, and a record without one tells
        the next daemon as much."""
        return self._place(record.but(status=Status.REMOVING))

    def delete(self, record: Container) -> None:
        """Forget a container and its execs."""
        self.forget_execs(record.id)
        self._store.delete(record)
        self._containers.pop(record.id, None)
        if self._names.get(record.name) == record.id:
            del self._names[record.name]

    async def synced(self, *directories: str) -> None:
        """Return when all changes until now, and what was made in these directories, outlive a power cut."""
        await self._store.synced(*directories)

    def execs_of(self, container_id: str) -> Iterator[Exec]:
        """The execs of a container."""
        return (record for record in tuple(self._execs.values()) if record.container_id == container_id)

    def exec(self, exec_id: str) -> Exec:
        """An exec by its ID, or the beginning of it. Raises NotFound."""
        ident = exec_id if exec_id in self._execs else by_prefix(self._execs.keys(), exec_id)
        if ident is None:
            raise NotFound(f"No such exec instance: {exec_id[:256]}")
        return self._execs[ident]

    def put_exec(self, record: Exec) -> Exec:
        """Save what has become of an exec."""
        self._store.settle(record)
        self._execs[record.id] = record
        return record

    def forget_execs(self, container_id: str) -> None:
        """Drop what is known of a container's execs."""
        for record in self.execs_of(container_id):
            self._forget(record)

    def forget_old_execs(self, seconds: float = 300) -> None:
        """Drop execs that ended, or never started, this long ago: their exit code has been read, or will not be."""
        before = time.time_ns() - int(seconds * 1e9)
        for record in tuple(self._execs.values()):
            if not record.running and record.created < before:
                self._forget(record)

    def _forget(self, record: Exec) -> None:
        self._store.delete(record)
        self._execs.pop(record.id, None)


def not_running(container: Container) -> str:
    """Why nothing can be done in a container without an init."""
    if container.status is Status.RESTARTING:
        return f"container {container.id} is restarting, wait until the container is running"
    return f"container {container.id} is not running"


def check_runs(container: Container) -> None:
    """Raises Conflict for a container without an init."""
    if not container.alive:
        raise Conflict(not_running(container))
