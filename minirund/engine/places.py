"""Where the containers' cgroups are: PARENT/ID below the cgroup v2 mount.

PARENT is the container's own (--cgroup-parent), else the daemon's. Limits that its owner sets on it hold for all
containers in it together. It is made when it is missing; what is made for a container's own goes with the last
container in it, and what is made for the daemon's when the daemon ends and no container runs. Directories that others
made stay (`cgroups.directories`).

Where systemd is in charge, the daemon's own parent is a scope that systemd has delegated (scopes.py), and the name of a
slice asks for one in there: limits of the slice hold. A path is a path as without systemd.

The path of a container's cgroup is decided anew at each start, and kept in its record: another daemon, with another
parent, still finds it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cgroups import directories, nesting, placing
from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError, PlaceRefused
from minirund.bundle import Bundle
from minirund.engine import scopes
from minirund.engine.records import Container, Json
from minirund.engine.settings import DRIVERS, EXEC_OPT
from minirund.engine.shims import Spawner
from minirund.errors import EngineError, InvalidArgument

log = logging.getLogger(__name__)

PARENT = "/minirund"
SHOWN = 300  # characters of a path that is none


class Places:
    """Finds and makes places for containers' cgroups, as Docker's cgroupfs driver."""

    driver = DRIVERS[0]

    def __init__(self, top: Cgroup, parent: str) -> None:
        """``parent`` is the daemon's, "" for its own choice. Raises InvalidArgument if nothing can be made there."""
        self.top = Cgroup(top.path)
        self.parent = self._checked(parent) if parent else PARENT

    def command(self, words: list[str]) -> list[str]:
        """The command line of a spawner that is about to be started, with what brings it to its place."""
        return words

    async def entered(self, spawner: Spawner) -> None:
        """Wait for the spawner to be in its place. Raises EngineError."""

    @asynccontextmanager
    async def held(self, container: Container, shim: Callable[[], int | None]) -> AsyncIterator[None]:
        """While this lasts, the container can be started in the cgroup of its record. Raises EngineError.

        ``shim`` is asked afterwards for the process ID of its shim, None if that has gone.
        """
        yield

    def open(self) -> None:
        """Make the daemon's own parent. Raises EngineError."""
        try:
            directories.make(self.top.path + self.parent, directories.KEPT)
        except OSError as error:
            raise EngineError(f"can't make the cgroup {self.parent}: {error.strerror}") from error

    def close(self) -> None:
        """No container runs: what was made for the daemon alone is of use to nobody."""
        directories.remove_made(self.top.path + self.parent, (directories.KEPT, directories.MADE))

    def check(self, host: Json) -> None:
        """Whether a container's own parent can be one. Raises InvalidArgument."""
        if host.get("CgroupParent"):
            self._checked(host["CgroupParent"])

    def of(self, container: Container) -> Cgroup:
        """The container's cgroup; one that is not there, if it has never had any."""
        return Cgroup(self.top.path + (container.cgroup or os.path.join(self.parent, container.id)))

    def left_by(self, bundle: Bundle) -> Cgroup:
        """The cgroup of a container that no record knows."""
        path = recorded(bundle) or os.path.join(self.parent, os.path.basename(bundle.directory))
        return Cgroup(self.top.path + path)

    def next(self, container: Container) -> str:
        """Where its cgroup will be at its next start: a path below the mount. Raises InvalidArgument."""
        return os.path.join(self._parent(container.host_config), container.id)

    def _parent(self, host: Json) -> str:
        asked = host.get("CgroupParent")
        return self._path(asked) if asked else self.parent

    def _path(self, parent: str) -> str:
        if scopes.is_slice(parent):
            raise _refused(parent, f"slices are systemd's, and the cgroup driver is {self.driver}: name a path, /team")
        return _normal(parent)

    def _checked(self, parent: str) -> str:
        path = self._path(parent)
        try:
            placing.check(self.top, path)
        except (PlaceRefused, OSError) as error:
            raise _refused(parent, error) from None
        return path


class ScopedPlaces(Places):
    """The same where systemd is in charge, as Docker's systemd driver."""

    driver = DRIVERS[1]

    def __init__(self, top: Cgroup, parent: str) -> None:
        """Raises as Places does."""
        self._slice = parent if scopes.is_slice(parent) else scopes.SLICE
        self._scope = scopes.Scope.new(self._slice)
        super().__init__(top, parent or scopes.SLICE)
        self._own = self.parent if parent and not scopes.is_slice(parent) else ""

    def command(self, words: list[str]) -> list[str]:
        """In a new scope; the containers that are started from now on are in there too."""
        self._scope = scopes.Scope.new(self._slice)
        self.parent = self._own or self._scope.path
        return self._scope.command(self.top, words)

    async def entered(self, spawner: Spawner) -> None:
        """Wait until systemd has made the scope. Raises EngineError; systemd-run has said why."""
        if not await scopes.entered(self._scope.shims(self.top), spawner.pid, spawner.lives):
            why = f"its words are one line above; --exec-opt {EXEC_OPT}={DRIVERS[0]} does without"
            raise scopes.refused(self._scope, why)

    @asynccontextmanager
    async def held(self, container: Container, shim: Callable[[], int | None]) -> AsyncIterator[None]:
        """A scope in the container's own slice is made for it alone. The spawner's is there as long as the spawner."""
        scope = scopes.scope_at(os.path.dirname(container.cgroup))
        if scope is None or not scopes.is_slice(container.host_config.get("CgroupParent") or ""):
            yield
            return
        async with scopes.held(self.top, scope, shim):
            yield

    def open(self) -> None:
        """Make the daemon's own parent, if that is a path."""
        if self._own:
            super().open()

    def close(self) -> None:
        """What was made for the daemon alone, and what an earlier one without systemd has left."""
        for parent in filter(None, (self._own, PARENT)):
            directories.remove_made(self.top.path + parent, (directories.KEPT, directories.MADE))

    def _path(self, parent: str) -> str:
        if scopes.is_slice(parent):
            return scopes.Scope.new(parent).path
        if parent.endswith(".slice"):
            raise _refused(parent, "a slice has no path in front of its name, as in --cgroup-parent team.slice")
        return _normal(parent)


def choose(top: Cgroup, parent: str, driver: str) -> Places:
    """systemd's way where it is in charge, unless ``driver`` says otherwise. Raises InvalidArgument."""
    make_room(top)
    systemd = scopes.runs_here(top)
    if driver == ScopedPlaces.driver and not systemd:
        raise InvalidArgument(
            f"--exec-opt {EXEC_OPT}={driver}: systemd is not in charge of the cgroups here: leave the option out"
        )
    return ScopedPlaces(top, parent) if systemd and driver != Places.driver else Places(top, parent)


def make_room(top: Cgroup) -> None:
    """In a container, or a CI job: have the root of its cgroups, which we see as the top, hand controllers down."""
    try:
        moved = nesting.make_room(top)
    except (CgroupError, OSError) as error:
        log.warning("there will be no limits: %s", error)
    else:
        if moved:
            log.info("moved %d processes from / to /%s of this cgroup namespace, to have limits", moved, nesting.LEAF)


def recorded(bundle: Bundle) -> str:
    """The cgroup that a bundle's config.json names: a path below the mount, "" for none."""
    try:
        path = (bundle.read_config().get("linux") or {}).get("cgroupsPath")
    except (OSError, ValueError):
        return ""
    return f"/{path.strip('/')}" if path else ""


def clear_cgroup(cgroup: Cgroup) -> None:
    """Kill whatever is in a cgroup and remove it; one that isn't there is fine."""
    try:
        cgroup.remove()
        cgroup.remove_parents()
    except (CgroupError, OSError) as error:
        log.warning("a cgroup stays behind: %s", error)


def _normal(parent: str) -> str:
    try:
        return placing.normal(parent)
    except PlaceRefused as error:
        raise _refused(parent, error) from None


def _refused(parent: str, error: PlaceRefused | OSError | str) -> InvalidArgument:
    why = error if isinstance(error, str) else error.why if isinstance(error, PlaceRefused) else error.strerror
    return InvalidArgument(f"invalid cgroup parent (--cgroup-parent) {parent[:SHOWN]!r}: {why}")
