"""What a new daemon finds: containers that run on, containers that ended meanwhile, and leftovers, which go.

The truth about a container, in this order: its shim, if it answers; exit.json; else its shim is gone without a word,
and what is left in its cgroup is killed. After a reboot the run directories are gone too. Nothing is started here, and
no container goes that is whole on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import time

from minirund import wire
from minirund.bundle import Bundle
from minirund.engine import shims, trial
from minirund.engine.catalog import Catalog
from minirund.engine.lifecycle import Status
from minirund.engine.places import Places, clear_cgroup, recorded
from minirund.engine.records import Container
from minirund.engine.runner import KILLED, Runner
from minirund.engine.settings import Settings
from minirund.engine.trash import Trash

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10
UNSEEN = 255
"""How a container ended that ran when the machine went down (a power cut): Docker's number. Nobody knows."""


async def recover(catalog: Catalog, runner: Runner, settings: Settings, trash: Trash, places: Places) -> None:
    """Make records and world agree."""
    for container in catalog.containers():
        if not container.cgroup and (cgroup := recorded(runner.bundle(container))):  # started by an older version
            container = catalog.change(container.id, cgroup=cgroup)  # noqa: PLW2901
        if not container.alive and not _is_whole(runner.bundle(container)):
            log.info("leftover of a container that was half made, or half removed: %s", container.id[:12])
            catalog.removing(container)
            await adopt(container, runner)  # who waits there for the removal is told when it is done
        else:
            await _find_out(container, catalog, runner)
    await asyncio.to_thread(_clear_unknown, catalog, settings, trash, places)
    await asyncio.to_thread(trial.sweep, places.top)


def _is_whole(bundle: Bundle) -> bool:
    """Whether its creation came to its end, and its removal did not begin."""
    return os.path.isdir(f"{bundle.rw_path}/work")


async def _find_out(container: Container, catalog: Catalog, runner: Runner) -> None:
    state = await adopt(container, runner)
    exited = (state.exited if state else None) or runner.bundle(container).read_exit()
    if state is not None and state.exited is None:
        _runs_on(container, state, catalog, runner)
    elif container.alive or (exited is not None and exited.time > container.finished):
        await _ended_meanwhile(container, state, exited, catalog, runner)
    elif container.endpoint is not None:  # the daemon ended between address and Launch
        await asyncio.to_thread(clear_cgroup, runner.cgroup(container))
        runner.abandon(container)


async def adopt(container: Container, runner: Runner) -> wire.State | None:
    """Take the connection to a container's shim up again; None if there is none."""
    shim = shims.connect(runner.bundle(container).run, container.id, runner)
    if shim is None:
        return None
    try:
        async with asyncio.timeout(2 * shims.PATIENCE):
            word = await shim.first_word()
    except TimeoutError:
        log.warning("the shim of %s does not answer: it is killed", container.id[:12])
        shims.kill(runner.bundle(container))
        word = None
    if not isinstance(word, wire.State):
        shim.close()
        return None
    if word.exited is None and not word.started:
        log.info("the start of %s did not come to its end with the daemon before: it is ended", container.name)
        shim.close()
        await asyncio.to_thread(clear_cgroup, runner.cgroup(container))
        return None
    live = runner.live(container.id)
    live.shim, live.awaited_removal = shim, word.removal_awaited
    if word.exited is None:
        live.ended.clear()
    return word


def _runs_on(container: Container, state: wire.State, catalog: Catalog, runner: Runner) -> Container:
    frozen = runner.cgroup(container).frozen
    status = Status.PAUSED if frozen else Status.RUNNING
    if not container.alive:
        log.info("container %s was started while nobody looked", container.name)
    _settle_execs(container, state.execs, catalog)
    container = catalog.change(container.id, status=status, pid=state.pid, started=state.started, exit_code=0)
    runner.ooms.watch(container, runner.cgroup(container))
    return container


async def _ended_meanwhile(
    container: Container, state: wire.State | None, exited: wire.Exited | None, catalog: Catalog, runner: Runner
) -> None:
    await asyncio.to_thread(clear_cgroup, runner.cgroup(container))
    if state is not None:
        _settle_execs(container, state.execs, catalog)
    if not container.alive:  # it was started and ended before that could be recorded
        started = state.started if state else container.started
        container = catalog.change(container.id, status=Status.RUNNING, started=started)
    rebooted = _rebooted(runner.bundle(container))
    if rebooted:  # what comes back then is started afresh, and at once
        container = catalog.change(container.id, restart_count=0, pause=0)
    runner.record_end(container, exited or wire.Exited(UNSEEN if rebooted else KILLED, time.time_ns()))
    if rebooted and catalog.get(container.id).status is Status.RESTARTING:
        catalog.change(container.id, restart_count=0, pause=0)


def _rebooted(bundle: Bundle) -> bool:
    """Whether the machine went down since its start."""
    return not os.path.isdir(bundle.run)


def _settle_execs(container: Container, codes: dict[str, int], catalog: Catalog) -> None:
    for record in catalog.execs_of(container.id):
        code = codes.get(record.id, KILLED if record.running else -1)
        if code >= 0 and record.exit_code is None:
            catalog.put_exec(record.but(started=True, exit_code=code))


def _clear_unknown(catalog: Catalog, settings: Settings, trash: Trash, places: Places) -> None:
    """Directories and cgroups of containers that no record knows: half made, or half removed."""
    known = {container.id for container in catalog.containers()}
    for name in _names(settings.run_dir):
        if name not in known:
            bundle = settings.bundle(name)
            clear_cgroup(places.left_by(bundle))
            _let_go(bundle)
            bundle.remove_run()
    for name in _names(settings.containers_dir):
        if name not in known:
            bundle = settings.bundle(name)
            if _names(bundle.directory) != ["rw"]:  # else ready.py has made it
                log.info("leftover of a container that was never whole: %s", name[:12])
            clear_cgroup(places.left_by(bundle))
            trash.put(bundle.directory)


def _let_go(bundle: Bundle) -> None:
    """A shim that still waits for somebody to say that its container has been removed: wait until it has gone."""
    with contextlib.suppress(OSError, wire.ProtocolError), wire.connect(bundle.shim_socket) as shim:
        shim.send(wire.Release())
        while select.select([shim], [], [], ANSWER_SECONDS)[0] and shim.receive() is not None:
            pass


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
