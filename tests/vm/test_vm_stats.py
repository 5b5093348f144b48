"""In a whole machine: the figures of containers, and that `stats --why` names the limit that holds one back.

Each container here is really held back: by its CPU quota, by its memory limit, by its rate of writing. The figures that
a machine without cgroup v2's controllers has are tested in tests/api/test_stats.py.
"""

from __future__ import annotations

import re

from guest import DISK, IMAGE, api, cgroup_file, inspect, minirun
from prometheus_client.parser import text_string_to_metric_families as parse
from waiting import until

SHARE = r"\d+% of the time"


def why(name: str, wanted: str) -> None:
    """Ask until the answer has the sentence: what it waits for may come and go from second to second."""
    sentence = re.compile(rf"^{re.escape(name)}: {wanted}", re.MULTILINE)

    def is_said() -> bool:
        print(said := minirun("stats", "--why", name))
        return bool(sentence.search(said))

    until(is_said, f"never: {sentence.pattern}")


def pressure(name: str) -> int:
    """Percent of the last ten seconds in which it waited for CPU, as the table shows it."""
    table = minirun("stats", "--no-stream", name).splitlines()
    assert table[0].split()[-1] == "PRESSURE"
    shown = re.search(r"cpu (\d+)%", table[1])
    return int(shown[1]) if shown else 0


def test_memory_is_shown_with_its_limit(name: str) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null && echo filled && exec sleep 600"
    minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sh", "-c", fill)
    until(lambda: "filled" in minirun("logs", name), "it is not filled")
    shown = minirun("stats", "--no-stream", "--format", "{{.MemUsage}} {{.MemPerc}} {{.PIDs}}", name).strip()
    used, percent, processes = re.fullmatch(r"([\d.]+)MiB / 64MiB ([\d.]+)% (\d+)", shown).groups()  # type: ignore[union-attr]
    assert 20 <= float(used) < 64
    assert 20 / 64 * 100 <= float(percent) < 100
    assert processes == "1"


def test_a_quota_throttles_and_is_named(name: str) -> None:
    minirun("run", "-d", "--name", name, "--cpus", "0.2", IMAGE, "sh", "-c", "while :; do :; done")
    why(name, rf"waits for CPU {SHARE}: throttled by its limit of 0\.2 CPUs \(in \d+ of \d+ periods\)$")
    counted = api("GET", f"/containers/{name}/stats?stream=0")[1]["cpu_stats"]["throttling_data"]
    assert 0 < counted["throttled_periods"] <= counted["periods"]
    assert counted["throttled_time"] > 0
    until(lambda: pressure(name) > 20, "no pressure is shown")  # an average, which rises by and by


def test_the_metrics_are_the_kernels(name: str) -> None:
    """What Prometheus reads, beside the files of the container's cgroup before and after."""
    limits = ("--memory", "64m", "--pids-limit", "9", "--cpus", "0.2", "--cgroup-conf", "memory.oom.group=1")
    minirun("run", "-d", "--name", name, *limits, IMAGE, "sh", "-c", "while :; do :; done")
    until(lambda: min(figures(name).values()) > 0, "it is not held back", pause=0.2)  # pressure: added up every 2 s
    before = figures(name)
    ident, page = inspect(name)["Id"], api("GET", "/metrics")[1]
    after = figures(name)
    found = {one.name: one.value for family in parse(page) for one in family.samples if one.labels.get("id") == ident}
    for key, low in before.items():
        assert low <= found[key] <= after[key], key
    fixed = {"spec_memory_limit_bytes": 64 << 20, "threads_max": 9, "threads": 1, "oom_events_total": 0}
    assert {key: found[f"container_{key}"] for key in fixed} == fixed
    assert 0 < found["container_memory_working_set_bytes"] <= found["container_memory_usage_bytes"] < 64 << 20


def figures(name: str) -> dict[str, float]:
    """What only rises."""
    cpu = dict(line.split() for line in cgroup_file(name, "cpu.stat").splitlines())
    waited = cgroup_file(name, "cpu.pressure").splitlines()[0].rpartition("=")[2]
    return {
        "container_cpu_usage_seconds_total": int(cpu["usage_usec"]) / 1e6,
        "container_cpu_cfs_periods_total": int(cpu["nr_periods"]),
        "container_cpu_cfs_throttled_periods_total": int(cpu["nr_throttled"]),
        "container_cpu_cfs_throttled_seconds_total": int(cpu["throttled_usec"]) / 1e6,
        "container_pressure_cpu_waiting_seconds_total": int(waited) / 1e6,
    }


def test_the_memory_limit_is_named(name: str) -> None:
    """Ten of sixteen MiB can't be taken back, and a file of 32 MiB is read again and again through the rest."""
    read = """
        dd if=/dev/zero of=/big bs=1M count=32 && dd if=/dev/zero of=/dev/shm/x bs=1M count=10
        while :; do cat /big /big >/dev/null & cat /big /big >/dev/null; done
    """
    minirun("run", "-d", "--name", name, "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", read)
    why(name, rf"waits for memory {SHARE}: (at|near) its limit of 16MiB, it uses [\d.]+MiB, ")


def test_the_rate_of_a_device_is_named(name: str) -> None:
    write = "while :; do dd if=/dev/zero of=/file bs=64k count=64 oflag=direct; done"
    minirun("run", "-d", "--name", name, "--device-write-bps", f"{DISK}:1mb", IMAGE, "sh", "-c", write)
    why(name, rf"waits for I/O {SHARE}: held to its limit of 1MiB/s for writing on {DISK[5:]}")
    until(lambda: written(name) >= 1 << 20, "its writes are not counted")


def written(name: str) -> int:
    """Bytes, as docker's clients are told."""
    counted = api("GET", f"/containers/{name}/stats?stream=0")[1]["blkio_stats"]["io_service_bytes_recursive"]
    return sum(one["value"] for one in counted if one["op"] == "write")
