"""The figures of the engine and of its containers, for Prometheus to collect: GET /metrics.

The engine's have dockerd's names, the containers' cAdvisor's, so that dashboards and alerts made for those go on
working. What the host doesn't count is not there, rather than zero. Reading and writing happen in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from cgroups.stats import PRESSURES, Cpu, Pressure, Share
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.exposition import Histogram, Sample, family, labels
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.engine.stats import Frame, Reading, Statistics, device_name
from minirund.engine.system import System

STATES = ("running", "paused", "stopped")
SECOND = 1_000_000  # microseconds, in which the kernel counts

Figure = Callable[[Reading], float | None]
Several = Callable[[Reading], Iterable[tuple[str, float]]]


class Single(NamedTuple):
    """A figure that a container has once, ``container_`` before its name; None where the host doesn't count it."""

    name: str
    kind: str
    about: str
    figure: Figure


class Labelled(NamedTuple):
    """A figure that a container has by device or interface."""

    name: str
    kind: str
    about: str
    label: str
    figures: Several


class Metrics:
    """The page. ``starts`` holds how long starts took."""

    def __init__(self, catalog: Catalog, stats: Statistics, starts: Histogram, events: Events, system: System) -> None:
        self._catalog, self._stats, self._starts = catalog, stats, starts
        self._events, self._system = events, system

    async def page(self) -> str:
        """All of it, read now."""
        own, frames = "".join(self._engine()), await self._stats.every()
        return own + await asyncio.to_thread(containers, frames)

    def _engine(self) -> Iterator[str]:
        daemon = "engine_daemon_"
        counts = states(self._catalog.containers())
        yield family(
            f"{daemon}container_states_containers", "gauge", "The count of containers in various states",
            (Sample(labels({"state": state}), counts[state]) for state in STATES),
        )  # fmt: skip
        yield family(
            f"{daemon}container_actions_seconds", "histogram", "The seconds that each container action takes",
            self._starts.samples(action="start"),
        )  # fmt: skip
        for name, kind, about, value in (
            ("events_total", "counter", "The number of events logged", self._events.total),
            ("events_subscribers_total", "gauge", "The number of listeners to events", self._events.listeners),
            ("engine_cpus_cpus", "gauge", "The CPUs that the host has", os.cpu_count() or 0),
            ("engine_memory_bytes", "gauge", "The memory that the host has", self._system.memory),
        ):
            yield family(daemon + name, kind, about, [Sample("", value)])
        yield family(f"{daemon}engine_info", "gauge", "The engine and its host", [Sample(self._about(), 1)])

    def _about(self) -> str:
        version = self._system.version()
        words = {"version": "Version", "architecture": "Arch", "kernel": "KernelVersion", "os_type": "Os"}
        return labels({name: version[key] for name, key in words.items()} | {"daemon_id": self._system.id})


def states(found: Iterable[Container]) -> Counter[str]:
    """Counted as dockerd does: what neither runs nor is paused is stopped, even if it never ran."""
    named = {Status.RUNNING: "running", Status.PAUSED: "paused"}
    return Counter(named.get(one.status, "stopped") for one in found)


def containers(frames: Iterable[Frame], name: Callable[[str], str] = device_name) -> str:
    """The containers' part. ``name`` gives a device's name for its number. Blocks."""
    read = [(about(frame.container), frame.after) for frame in frames if frame.after is not None]
    found: list[tuple[Single | Labelled, Iterator[Sample]]] = [(one, _once(read, one.figure)) for one in SINGLES]
    found += [(one, _by(read, one.label, one.figures)) for one in (CPU, *NETWORK, *disks(cache(name)))]
    return "".join(family(f"container_{one.name}", one.kind, one.about, samples) for one, samples in found)


def about(container: Container) -> str:
    """The labels that all figures of a container have."""
    return labels({"id": container.id, "image": container.image, "name": container.name})


def _once(read: Iterable[tuple[str, Reading]], figure: Figure) -> Iterator[Sample]:
    for labels_, reading in read:
        if (value := figure(reading)) is not None:
            yield Sample(labels_, value)


def _by(read: Iterable[tuple[str, Reading]], label: str, figures: Several) -> Iterator[Sample]:
    for labels_, reading in read:
        for key, value in figures(reading):
            yield Sample(f"{labels_},{labels({label: key})}", value)


def _quota(figure: Callable[[Cpu], float]) -> Figure:
    """What the cpu controller counts: nothing where the container has no quota."""
    return lambda one: None if one.stats.cpu.quota is None else figure(one.stats.cpu)


def _event(name: str) -> Figure:
    """What memory.events counts."""
    return lambda one: one.stats.memory.events.get(name)


def _memory(name: str) -> Figure:
    """A line of memory.stat."""
    return lambda one: one.stats.memory.stat.get(name)


def _working_set(one: Reading) -> int | None:
    """Without the file cache that the kernel gives up first."""
    memory = one.stats.memory
    return None if memory.current is None else max(memory.current - memory.stat.get("inactive_file", 0), 0)


def _waited(resource: str, share: Callable[[Pressure], Share]) -> Figure:
    def seconds(one: Reading) -> float | None:
        found = one.stats.pressure.get(resource)
        return None if found is None else share(found).total / SECOND

    return seconds


SINGLES = (
    Single("cpu_user_seconds_total", "counter", "CPU time in user mode", lambda one: one.stats.cpu.user / SECOND),
    Single("cpu_system_seconds_total", "counter", "CPU time in the kernel", lambda one: one.stats.cpu.system / SECOND),
    Single("cpu_cfs_periods_total", "counter", "Periods of its CPU quota", _quota(lambda cpu: cpu.periods)),
    Single(
        "cpu_cfs_throttled_periods_total", "counter", "Periods in which its CPU quota was used up",
        _quota(lambda cpu: cpu.throttled_periods),
    ),
    Single(
        "cpu_cfs_throttled_seconds_total", "counter", "Time that its CPU quota kept it from running",
        _quota(lambda cpu: cpu.throttled / SECOND),
    ),
    Single("memory_usage_bytes", "gauge", "Memory, file cache included", lambda one: one.stats.memory.current),
    Single("memory_working_set_bytes", "gauge", "Memory without inactive file cache", _working_set),
    Single("memory_max_usage_bytes", "gauge", "The most memory that it used", lambda one: one.stats.memory.peak),
    Single("memory_rss", "gauge", "Anonymous memory in bytes", _memory("anon")),
    Single("memory_cache", "gauge", "File cache in bytes", _memory("file")),
    Single("memory_swap", "gauge", "Swap in bytes", lambda one: one.stats.memory.swap),
    Single("memory_failcnt", "counter", "How often it came to its memory limit", _event("max")),
    Single("oom_events_total", "counter", "Processes that the OOM killer ended", _event("oom_kill")),
    Single("spec_memory_limit_bytes", "gauge", "Its memory limit", lambda one: one.stats.memory.limit),
    Single("threads", "gauge", "Processes and threads", lambda one: one.stats.pids.current),
    Single("threads_max", "gauge", "Its limit of processes and threads", lambda one: one.stats.pids.limit),
    *(
        Single(
            f"pressure_{resource}_{word}_seconds_total", "counter", f"Time in which {who} of its processes waited",
            _waited(resource, share),
        )
        for resource in PRESSURES
        for word, who, share in (
            ("waiting", "some", lambda pressure: pressure.some),
            ("stalled", "all", lambda pressure: pressure.full),
        )
    ),
)  # fmt: skip


def _direction(key: str) -> Several:
    return lambda one: ((interface, counters[key]) for interface, counters in one.networks.items())


NETWORK = tuple(
    Labelled(f"network_{word}_{what}_total", "counter", f"{about}, {word}", "interface", _direction(f"{key}_{column}"))
    for key, word in (("rx", "receive"), ("tx", "transmit"))
    for column, what, about in (
        ("bytes", "bytes", "Bytes"),
        ("packets", "packets", "Packets"),
        ("dropped", "packets_dropped", "Packets that were dropped"),
        ("errors", "errors", "Packets that failed"),
    )
)
CPU = Labelled(
    "cpu_usage_seconds_total", "counter", "CPU time", "cpu", lambda one: [("total", one.stats.cpu.usage / SECOND)]
)


def disks(name: Callable[[str], str]) -> Iterator[Labelled]:
    """What was read and written, by device."""
    for what, key, meaning in (
        ("reads_bytes", "rbytes", "Bytes read"),
        ("writes_bytes", "wbytes", "Bytes written"),
        ("reads", "rios", "Reads"),
        ("writes", "wios", "Writes"),
    ):
        yield Labelled(f"fs_{what}_total", "counter", meaning, "device", _device(key, name))


def _device(key: str, name: Callable[[str], str]) -> Several:
    return lambda one: (
        (f"/dev/{name(number)}", counters[key]) for number, counters in one.stats.io.items() if key in counters
    )
