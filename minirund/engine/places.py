"""Where the containers' cgroups are: PARENT/ID below the cgroup v2 mount.

PARENT is the container's own (--cgroup-parent), else the daemon's. Limits that its owner sets on it hold for all
containers in it together. It is made when it is missing; what is made for a container's own goes with the last
container in it, and what is made for the daemon's when the daemon ends and no container runs. Directories that others
made stay (`cgroups.directories`).

The path of a container's cgroup is decided anew at each start, and kept in its record: another daemon, with another
parent, still finds it.
"""

from __future__ import annotations

import logging
import os

from cgroups import directories, nesting, placing
from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError, PlaceRefused
from minirund.bundle import Bundle
from minirund.engine.records import Container, Json
from minirund.errors import EngineError, InvalidArgument

log = logging.getLogger(__name__)

PARENT = "/minirund"
SHOWN = 300  # characters of a path that is none


class Places:
    """Finds and makes places for containers' cgroups, as Docker's cgroupfs driver."""

    driver = "cgroupfs"

    def __init__(self, top: Cgroup, parent: str) -> None:
        """``parent`` is the daemon's, "" for its own choice. Raises InvalidArgument if nothing can be made there."""
        self.top = Cgroup(top.path)
        self.parent = self._checked(parent) if parent else PARENT

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
        """The container's cgroup; where it would be, if there is none."""
        return Cgroup(self.top.path + (container.cgroup or self.next(container)))

    def left_by(self, bundle: Bundle) -> Cgroup:
        """The cgroup of a container that no record knows."""
        path = recorded(bundle) or os.path.join(self.parent, os.path.basename(bundle.directory))
        return Cgroup(self.top.path + path)

    def next(self, container: Container) -> str:
        """Where its cgroup will be at its next start: a path below the mount. Raises InvalidArgument."""
        return os.path.join(self._parent(container.host_config), container.id)

    def _parent(self, host: Json) -> str:
        asked = host.get("CgroupParent")
        return _normal(asked) if asked else self.parent

    def _checked(self, parent: str) -> str:
        path = _normal(parent)
        try:
            placing.check(self.top, path)
        except (PlaceRefused, OSError) as error:
            raise _refused(parent, error) from None
        return path


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


def _refused(parent: str, error: PlaceRefused | OSError) -> InvalidArgument:
    why = error.why if isinstance(error, PlaceRefused) else error.strerror
    return InvalidArgument(f"invalid cgroup parent (--cgroup-parent) {parent[:SHOWN]!r}: {why}")
