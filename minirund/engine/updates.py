"""Changing a container that exists (``update``): what of its HostConfig can be exchanged, and where that takes effect.

The restart policy is looked at when the container ends, so the record is all there is to change.
"""

from __future__ import annotations

from minirund.engine import policy
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container, Json
from minirund.engine.runner import Runner
from minirund.errors import Conflict, NotSupported


class Updates:
    """The use case ``update``."""

    def __init__(self, catalog: Catalog, runner: Runner, events: Events) -> None:
        self._catalog, self._runner, self._events = catalog, runner, events

    async def update(self, ref: str, asked: Json) -> list[str]:
        """Change what ``asked``, a part of a HostConfig, names: warnings. Raises NotFound, Conflict, InvalidArgument.

        All of it or, where something is refused, nothing.
        """
        container = self._catalog.find(ref)
        if other := next((key for key in asked if key != "RestartPolicy"), None):
            raise NotSupported(f"changing a container's limits ({other}) is not offered yet")
        policy.check(asked.get("RestartPolicy"))
        async with self._runner.live(container.id).lock:
            container = self._catalog.get(container.id)
            changes = _restart_policy(container, asked)
            container = self._catalog.put(container.but(host_config={**container.host_config, **changes}))
        self._events.container("update", container)
        return []


def _restart_policy(container: Container, asked: Json) -> Json:
    """Raises Conflict."""
    if container.status in {Status.REMOVING, Status.DEAD}:
        raise _refusal(container, 'container is marked for removal and cannot be "update"')
    wanted = asked.get("RestartPolicy")
    if not policy.name_of(wanted):
        return {}
    if container.auto_remove and policy.is_policy(wanted):
        raise _refusal(container, "Restart policy cannot be updated because AutoRemove is enabled for the container")
    return {"RestartPolicy": wanted}


def _refusal(container: Container, why: str) -> Conflict:
    return Conflict(f"Cannot update container {container.id}: {why}")
