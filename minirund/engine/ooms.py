"""The event `oom`: the kernel has killed processes of a container for want of memory. Told when it happens.

Often the container lives on: it was a child that had to go. So memory.events of every container that runs is looked at
(`cgroups.notices`), and each rise of its count of kills is one event. How many have been told is in the record: a new
daemon tells what came in between, and no kill twice. Those of a container's last moments come with its end, in the
shim's words, as its cgroup has gone by then. Where the host has no memory controller there is no such file, and no
event.

A container with memory.oom.group is killed as one, and that is one event, however many processes it had: their kills
are counted one after the other, and the group's between the first and the second. So it is the group's that counts.
"""

from __future__ import annotations

import asyncio

from cgroups.cgroup import Cgroup
from cgroups.notices import Notices
from minirund import wire
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.records import Container

FILE, COUNT, GROUP_COUNT = "memory.events", "oom_kill", "oom_group_kill"  # the last one since Linux 5.17
GROUP = "memory.oom.group"
ALL = 1 << 62
"""Told of as many kills as there may be: the container has been killed as one."""


def killed_as_one(container: Container) -> bool:
    """Whether it has memory.oom.group: the kernel takes "1" and what it reads as that."""
    return str((container.host_config.get("CgroupConf") or {}).get(GROUP, "")).strip().endswith("1")


def kills(container: Container, flags: dict[str, int]) -> int:
    """How many kills there are to tell of, by the flags of memory.events."""
    if not killed_as_one(container):
        return flags.get(COUNT, 0)
    return ALL if flags.get(GROUP_COUNT, flags.get(COUNT, 0)) else 0


class Ooms:
    """Who looks at the containers' memory.events. Lives on the event loop."""

    def __init__(self, catalog: Catalog, events: Events) -> None:
        self._catalog, self._events = catalog, events
        self._notices = Notices()
        self._reading = False

    def watch(self, container: Container, cgroup: Cgroup) -> None:
        """A container runs."""
        try:
            flags = self._notices.add(container.id, cgroup.file(FILE))
        except OSError:  # no controller; or it has ended, and the end is on its way
            return
        if not self._reading:
            asyncio.get_running_loop().add_reader(self._notices.fileno(), self._changed)
            self._reading = True
        self._tell(container.id, flags)

    def _changed(self) -> None:
        for ident, flags in self._notices.changed():
            self._tell(ident, flags)

    def _tell(self, ident: str, flags: dict[str, int]) -> None:
        if ident in self._catalog:
            container = self._catalog.get(ident)
            found = kills(container, flags)
            if found > container.ooms:
                self._events.container("oom", self._catalog.change(ident, ooms=found))

    def ended(self, container: Container, exited: wire.Exited) -> None:
        """A container has ended. A shim of an older version knows whether, and not how often."""
        self._notices.remove(container.id)
        if (exited.ooms or int(exited.oom)) > self._catalog.get(container.id).ooms:
            self._events.container("oom", container)

    def close(self) -> None:
        """Look no more."""
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._notices.fileno())
        self._notices.close()
