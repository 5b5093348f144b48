"""What containers use: read from their cgroups, once a second and once for all who watch.

    watchers of one container ──▶ Sampler ──thread──▶ cgroup files, /proc/PID/net/dev, /proc/stat

A sampler starts with the first watcher and ends with the last. It keeps its last two readings and nothing else: a
watcher that is slow finds the newest when it comes again, and nobody waits for it. A figure of CPU use is a difference,
so a ``Frame`` holds two readings; the second is None while the container doesn't run.

What the host doesn't count (a controller that it keeps for cgroup v1, PSI switched off) is missing, and nothing fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError
from cgroups.stats import FILES, Stats, parse
from cgroups.waits import Change, history, waits
from minirund.engine import hostfiles
from minirund.engine.catalog import Catalog
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.engine.runner import Runner

log = logging.getLogger(__name__)

PERIOD = 1.0  # seconds between two readings, as Docker's
INTERFACE = "rx_bytes rx_packets rx_errors rx_dropped _ _ _ _ tx_bytes tx_packets tx_errors tx_dropped _ _ _ _".split()
"""The columns of /proc/PID/net/dev (proc_pid_net(5)); _ for those that nobody asks for."""

Counters = dict[str, int]


class Reading(NamedTuple):
    """One container at one moment."""

    time: int
    """Nanoseconds since 1970."""
    moment: float
    """Seconds on a clock that never jumps."""
    stats: Stats
    processes: int
    """With their threads where the pids controller counts them."""
    host_time: int
    """CPU time of the whole host since boot, idle time included, in nanoseconds."""
    cpus: int
    networks: dict[str, Counters]
    """By interface, but for lo: rx_bytes, tx_packets, ..."""


class Frame(NamedTuple):
    """What a watcher gets. ``before`` is the reading ahead of ``after``, if there is one."""

    container: Container
    before: Reading | None
    after: Reading | None


class Statistics:
    """The figures of this daemon's containers."""

    def __init__(self, catalog: Catalog, runner: Runner, period: float = PERIOD) -> None:
        self._catalog, self._runner, self._period = catalog, runner, period
        self._samplers: dict[str, Sampler] = {}

    @property
    def samplers(self) -> int:
        """How many containers are watched."""
        return len(self._samplers)

    async def once(self, container: Container) -> Frame:
        """One reading, with none before it."""
        return Frame(container, None, await self._take(container.id))

    async def pair(self, container: Container) -> Frame:
        """Two readings, a second apart; none if the container doesn't run, or ends meanwhile."""
        if container.alive:
            async with contextlib.aclosing(self.watch(container)) as frames:
                async for frame in frames:
                    if frame.before is not None or frame.after is None:
                        return frame
        return Frame(container, None, None)

    async def watch(self, container: Container) -> AsyncGenerator[Frame, None]:
        """A frame each second until the container is removed; it need not run."""
        sampler = self._samplers.get(container.id)
        if sampler is None:
            sampler = self._samplers[container.id] = Sampler(lambda: self._take(container.id), self._period)
        sampler.watchers += 1
        try:
            async for before, after in sampler.readings():
                if container.id not in self._catalog:
                    return
                yield Frame(self._catalog.get(container.id), before, after)
        finally:
            sampler.watchers -= 1
            if not sampler.watchers:
                del self._samplers[container.id]
                sampler.stop()

    async def every(self) -> list[Frame]:
        """One reading of each container that runs."""
        alive = [one for one in map(self._runner.catch_up, self._catalog.containers()) if one.alive]
        cgroups = [(self._runner.cgroup(one), one.pid, _has_network(one)) for one in alive]
        readings = await asyncio.to_thread(lambda: [read(*each) for each in cgroups])
        return [Frame(one, None, reading) for one, reading in zip(alive, readings, strict=True) if reading]

    async def _take(self, ident: str) -> Reading | None:
        container = self._catalog.get(ident) if ident in self._catalog else None
        if container is None or not container.alive:
            return None
        return await asyncio.to_thread(read, self._runner.cgroup(container), container.pid, _has_network(container))

    def why(self, frame: Frame) -> list[str]:
        """What the container waits for, in sentences; one at least."""
        if frame.after is None or frame.before is None:
            return ["does not run"]
        return because(frame.container.status, frame.before, frame.after, device_name)


def because(status: Status, before: Reading, after: Reading, name: Callable[[str], str]) -> list[str]:
    """The sentences of ``Statistics.why``. ``name`` gives a device's name for its number."""
    seconds = max(after.moment - before.moment, 1e-3)
    devices = {number: name(number) for number in {*after.stats.io, *after.stats.io_limits}}
    change = Change(before.stats, after.stats, seconds, after.cpus, devices)
    found = [wait.text for wait in waits(change)]
    if status is Status.PAUSED:
        found = ["is paused: unpause lets it go on"]
    return [*(found or [f"waits for nothing: it used {change.used:.2f} CPUs"]), *map(_before, history(after.stats))]


def _before(text: str) -> str:
    return f"since it was started: {text}"


class Sampler:
    """The last two readings of one container, renewed as long as somebody wants them."""

    def __init__(self, take: Callable[[], Awaitable[Reading | None]], period: float) -> None:
        self._take, self._period = take, period
        self.watchers = 0
        self._before: Reading | None = None
        self._after: Reading | None = None
        self._count = 0
        self._tick = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                begun = time.monotonic()
                self._before, self._after = self._after, await self._take()
                self._count += 1
                self._tick.set()
                self._tick = asyncio.Event()
                await asyncio.sleep(max(self._period - (time.monotonic() - begun), 0))
        except OSError as error:
            log.warning("a container's figures can't be read: %s", error)
        finally:
            self._tick.set()

    async def readings(self) -> AsyncIterator[tuple[Reading | None, Reading | None]]:
        """The newest two, whenever there is a new one; at once, if there is one already."""
        seen = 0
        while not self._task.done():
            tick = self._tick
            if self._count > seen:
                seen = self._count
                yield self._before, self._after
            else:
                await tick.wait()

    def stop(self) -> None:
        """Nobody watches any more."""
        self._task.cancel()


def _has_network(container: Container) -> bool:
    """The host's interfaces are not the container's to be counted."""
    return container.host_config.get("NetworkMode") != "host"


def read(cgroup: Cgroup, pid: int, has_network: bool) -> Reading | None:
    """Read it now; None if the container has gone. ``pid``: a process in its network namespace. Blocks for a while."""
    now, moment = time.time_ns(), time.monotonic()
    try:
        texts = cgroup.read_all(FILES)
        if not texts:
            return None
        stats = parse(texts)
        processes = len(cgroup.processes()) if stats.pids.current is None else stats.pids.current
    except CgroupError:
        return None
    host = hostfiles.read("/proc/stat")
    networks = interfaces(hostfiles.read(f"/proc/{pid}/net/dev")) if has_network and pid else {}
    return Reading(now, moment, stats, processes, host_time(host), host_cpus(host), networks)


def interfaces(text: str) -> dict[str, Counters]:
    """/proc/PID/net/dev, but for lo."""
    rows = (line.rpartition(":") for line in text.splitlines()[2:])
    return {
        name.strip(): {key: int(word) for key, word in zip(INTERFACE, words.split(), strict=False) if key != "_"}
        for name, _, words in rows
        if name.strip() != "lo"
    }


def host_time(stat: str) -> int:
    """The first line of /proc/stat (user nice system idle iowait irq softirq), summed up, in nanoseconds."""
    words = stat.partition("\n")[0].split()[1:8]
    return sum(map(int, words)) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def host_cpus(stat: str) -> int:
    """How many CPUs /proc/stat lists: those that are online."""
    return sum(line.startswith("cpu") for line in stat.splitlines()) - 1 if stat else 0


def device_name(number: str) -> str:
    """``8:0`` -> ``sda``; the number where the kernel has no name for it."""
    words = dict(line.partition("=")[::2] for line in hostfiles.read(f"/sys/dev/block/{number}/uevent").splitlines())
    return words.get("DEVNAME", number)
