"""A container's figures in Docker's body, as its daemon fills it in on cgroup v2. Pure.

Two things are minirund's own, under keys that other clients pass over: ``pressure_stats``, the kernel's PSI, and
``waits_for``, sentences that say what the container waits for (where it was asked for).
"""

from __future__ import annotations

from collections.abc import Sequence

from minirund.api.views import NEVER, rfc3339
from minirund.engine.records import Json
from minirund.engine.stats import Frame, Reading

UNLIMITED = (1 << 64) - 1
"""How Docker writes "no limit" on processes."""
_BLKIO_EMPTY = ("io_serviced", "io_queue", "io_service_time", "io_wait_time", "io_merged", "io_time", "sectors")
"""What cgroup v1 counted, and v2 does not."""


def body(frame: Frame, host_memory: int, why: Sequence[str] | None = None) -> Json:
    """GET /containers/{id}/stats. ``host_memory``, in bytes, is the limit of a container that has none."""
    before, after = frame.before, frame.after
    found: Json = {
        "read": rfc3339(after.time) if after else NEVER,
        "preread": rfc3339(before.time) if before else NEVER,
        "pids_stats": _pids(after) if after else {},
        "blkio_stats": _blkio(after),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(after),
        "precpu_stats": cpu(before),
        "memory_stats": _memory(after, host_memory) if after else {},
        "name": f"/{frame.container.name}",
        "id": frame.container.id,
    }
    if after and after.networks:
        found["networks"] = after.networks
    if after and after.stats.pressure:
        found["pressure_stats"] = _pressure(after)
    return found if why is None else {**found, "waits_for": list(why)}


def cpu(reading: Reading | None) -> Json:
    """cpu_stats, and precpu_stats: nanoseconds; zeros for no reading."""
    if reading is None:
        return {
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
    used = reading.stats.cpu
    return {
        "cpu_usage": {
            "total_usage": used.usage * 1000,
            "usage_in_kernelmode": used.system * 1000,
            "usage_in_usermode": used.user * 1000,
        },
        "system_cpu_usage": reading.host_time,
        "online_cpus": reading.cpus,
        "throttling_data": {
            "periods": used.periods,
            "throttled_periods": used.throttled_periods,
            "throttled_time": used.throttled * 1000,
        },
    }


def _pids(reading: Reading) -> Json:
    limit = reading.stats.pids.limit
    return {"current": reading.processes, "limit": UNLIMITED if limit is None else limit}


def _memory(reading: Reading, host_memory: int) -> Json:
    memory = reading.stats.memory
    if memory.current is None:
        return {}
    found: Json = {
        "usage": memory.current,
        "stats": memory.stat,
        "limit": min(memory.limit or host_memory, host_memory),
    }
    if failed := memory.events.get("oom"):
        found["failcnt"] = failed
    return found


def _blkio(reading: Reading | None) -> Json:
    """Bytes by device and direction; the lists that v2 has no figures for are null."""
    found = () if reading is None else reading.stats.io.items()
    entries = [
        {"major": int(major), "minor": int(minor), "op": op, "value": counters[key]}
        for (major, _, minor), counters in ((device.partition(":"), counters) for device, counters in found)
        for op, key in (("read", "rbytes"), ("write", "wbytes"))
        if key in counters
    ]
    return {
        "io_service_bytes_recursive": None if reading is None else entries,
        **{f"{name}_recursive": None for name in _BLKIO_EMPTY},
    }


def _pressure(reading: Reading) -> Json:
    """Percent of the last 10, 60 and 300 seconds; microseconds since the container was started."""
    return {
        name: {"some": one.some._asdict(), "full": one.full._asdict()} for name, one in reading.stats.pressure.items()
    }
