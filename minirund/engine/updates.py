"""Changing a container that exists (``update``): its limits, while it runs or not, and its restart policy.

    checks ─▶ the running container's cgroup files ─▶ config.json in the bundle ─▶ the record ─▶ event "update"

All of it or nothing: where a later step fails, the earlier ones are taken back. What does not run has no cgroup: its
next start writes config.json anew. The restart policy is looked at when the container ends, so the record is all there
is to change. What becomes of a HostConfig is revision.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from cgroups import limits
from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError, ControllerMissing, FileMissing, LimitInvalid
from minirund.bundle import Bundle
from minirund.engine import bounds, conf, policy, resources, revision, sound
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container, Json
from minirund.engine.runner import Runner
from minirund.engine.transfer import storage_errors
from minirund.errors import Conflict, EngineError, InvalidArgument, MinirundError, NotSupported


class Updates:
    """The use case ``update``."""

    def __init__(self, catalog: Catalog, runner: Runner, events: Events, cgroup_root: Cgroup) -> None:
        self._catalog, self._runner, self._events, self._cgroup_root = catalog, runner, events, cgroup_root

    async def update(self, ref: str, asked: Json) -> list[str]:
        """Change what ``asked``, a part of a HostConfig, names: warnings.

        Raises NotFound, Conflict, InvalidArgument, EngineError, NotSupported (names the controller that is missing).
        """
        container = self._catalog.find(ref)
        sound.check_values(asked)
        bounds.check_v1_only(asked)
        revision.check_fields(asked)
        conf.check_names(asked.get("CgroupConf") or ())
        policy.check(asked.get("RestartPolicy"))
        warnings: list[str] = []
        await self._runner.to_its_end(self._update(container.id, asked, warnings))
        return warnings

    async def _update(self, ident: str, asked: Json, warnings: list[str]) -> None:
        async with self._runner.live(ident).lock:
            container = self._catalog.get(ident)
            wanted = await asyncio.to_thread(self._revised, container, asked, warnings)
            with ExitStack() as undo:
                if any(key in asked for key in revision.LIMITS):
                    await asyncio.to_thread(self._limit, container, wanted, undo)
                current = self._catalog.get(ident)  # it may have ended meanwhile
                container = self._catalog.put(current.but(host_config=wanted))
                undo.pop_all()
        self._events.container("update", container)

    def _revised(self, container: Container, asked: Json, warnings: list[str]) -> Json:
        """In a thread: what the HostConfig will be. Raises InvalidArgument, NotSupported, Conflict."""
        resources.check_disks(container.host_config, asked)
        try:
            wanted = revision.revised(container.host_config, asked) | _restart_policy(container, asked)
        except Conflict as error:
            raise _refusal(container, error) from None
        if any(key in asked for key in revision.LIMITS):
            warnings += resources.check(wanted, self._cgroup_root)
        return wanted

    def _limit(self, container: Container, wanted: Json, undo: ExitStack) -> None:
        """In a thread: change the cgroup's files and config.json, and say how to take that back."""
        old, new = (resources.limited(host) for host in (container.host_config, wanted))
        cgroup = self._runner.cgroup(container)
        if container.alive and cgroup.exists():
            undo.callback(_changed(cgroup, old, new, container))
        bundle = self._runner.bundle(container)
        with storage_errors(bundle.directory):
            rewrite(bundle, new, undo)


def _changed(cgroup: Cgroup, old: Json, new: Json, container: Container) -> Callable[[], None]:
    """Change a cgroup from the one OCI ``resources`` to the other: what takes it back."""
    try:
        before = cgroup.change(limits.from_oci(old), limits.from_oci(new))
    except (CgroupError, OSError) as error:
        if not cgroup.exists():  # it has ended: there is nothing left to limit
            return lambda: None
        raise _cgroup_error(container, error) from error
    return lambda: cgroup.put_back(before) if cgroup.exists() else None


def rewrite(bundle: Bundle, sections: Json, undo: ExitStack) -> None:
    """Put other limits into config.json, the devices' rules kept; none there (it never ran) is fine. Raises OSError."""
    try:
        config = bundle.read_config()
    except FileNotFoundError:
        return
    linux = config["linux"]
    rules = {key: value for key, value in linux["resources"].items() if key == "devices"}
    bundle.replace_config({**config, "linux": {**linux, "resources": {**rules, **sections}}})
    undo.callback(bundle.replace_config, config)


def _restart_policy(container: Container, asked: Json) -> Json:
    """Raises Conflict."""
    if container.status in {Status.REMOVING, Status.DEAD}:
        raise Conflict('container is marked for removal and cannot be "update"')
    wanted = asked.get("RestartPolicy")
    if not policy.name_of(wanted):
        return {}
    if container.auto_remove and policy.is_policy(wanted):
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    return {"RestartPolicy": wanted}


def _cgroup_error(container: Container, error: Exception) -> MinirundError:
    """The daemon's error for a change that a cgroup didn't take."""
    if isinstance(error, ControllerMissing | FileMissing):
        return NotSupported(_words(container, error))
    if isinstance(error, LimitInvalid):
        return InvalidArgument(_words(container, error))
    return EngineError(_words(container, error))


def _refusal(container: Container, why: Exception) -> Conflict:
    return Conflict(_words(container, why))


def _words(container: Container, why: Exception) -> str:
    return f"Cannot update container {container.id}: {why}"
