"""What /metrics says of containers, from plain readings; the page of a live daemon is in tests/api/test_metrics.py."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families as parse

from cgroups.stats import parse as stats
from minirund.engine.lifecycle import Status
from minirund.engine.metrics import containers, states
from minirund.engine.records import Container
from minirund.engine.stats import Frame, Reading

CONTAINER = Container(
    id="a" * 64, name="web", image="busybox", image_id="sha256:1", layers=(), config={}, host_config={}, args=(),
    created=1,
)  # fmt: skip
TEXTS = {
    "cpu.stat": "usage_usec 900000\nuser_usec 600000\nsystem_usec 300000\nnr_periods 9\nnr_throttled 2\n"
    "throttled_usec 77000000\n",
    "cpu.max": "50000 100000\n",
    "memory.current": "4096\n",
    "memory.max": "67108864\n",
    "memory.peak": "8192\n",
    "memory.stat": "anon 1024\nfile 300\ninactive_file 100\n",
    "memory.events": "max 3\noom_kill 2\n",
    "pids.current": "5\n",
    "pids.max": "9\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n253:0\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.30 avg300=0.06 total=2500000\n",
}
LABELS = {"id": "a" * 64, "image": "busybox", "name": "web"}


def frame(texts: dict[str, str], name: str = "web", **networks: int) -> Frame:
    counters = {'et"h': dict.fromkeys((f"{way}_{what}" for way in ("rx", "tx") for what in KEYS), 1) | networks}
    return Frame(CONTAINER.but(name=name), None, Reading(1, 1.0, stats(texts), 5, 0, 2, counters if networks else {}))


KEYS = ("bytes", "packets", "errors", "dropped")


def samples(*frames: Frame) -> dict[str, list[tuple[dict[str, str], float]]]:
    """By name. The parser gives every counter the end ``_total``; cAdvisor's ``container_memory_failcnt`` has none."""
    text = containers(frames, {"8:0": "sda", "253:0": "dm-0"}.__getitem__)
    assert "_failcnt_total" not in text
    return {one.name: [(x.labels, x.value) for x in family.samples] for family in parse(text) for one in family.samples}


def test_every_part_of_a_reading_is_there() -> None:
    found = samples(frame(TEXTS, rx_bytes=12, tx_bytes=34, tx_dropped=5))
    for name, value in {
        "cpu_user_seconds_total": 0.6, "cpu_system_seconds_total": 0.3, "cpu_cfs_periods_total": 9,
        "cpu_cfs_throttled_periods_total": 2, "cpu_cfs_throttled_seconds_total": 77, "memory_usage_bytes": 4096,
        "memory_working_set_bytes": 3996, "memory_max_usage_bytes": 8192, "memory_rss": 1024, "memory_cache": 300,
        "memory_failcnt_total": 3, "oom_events_total": 2, "spec_memory_limit_bytes": 64 << 20, "threads": 5,
        "threads_max": 9, "pressure_cpu_waiting_seconds_total": 2.5, "pressure_cpu_stalled_seconds_total": 0,
    }.items():  # fmt: skip
        assert found.pop(f"container_{name}") == [(LABELS, value)], name
    assert found.pop("container_cpu_usage_seconds_total") == [(LABELS | {"cpu": "total"}, 0.9)]
    for name, value in {"reads_bytes": 10, "writes_bytes": 20, "reads": 1, "writes": 2}.items():
        assert found.pop(f"container_fs_{name}_total") == [(LABELS | {"device": "/dev/sda"}, value)]
    network = {name: value for name, ((_, value),) in found.items()}
    assert [labels for each in found.values() for labels, _ in each] == [LABELS | {"interface": 'et"h'}] * 8
    assert network == {
        f"container_network_{way}_{what}_total": value
        for way, values in {"receive": (12, 1, 1, 1), "transmit": (34, 1, 5, 1)}.items()
        for what, value in zip(("bytes", "packets", "packets_dropped", "errors"), values, strict=True)
    }


def test_what_the_host_does_not_count_is_not_there() -> None:
    found = samples(frame({"cpu.stat": "usage_usec 1\nuser_usec 1\nsystem_usec 0\n"}))
    assert set(found) == {f"container_cpu_{name}seconds_total" for name in ("usage_", "user_", "system_")}


def test_a_family_has_all_containers_and_one_head() -> None:
    text = containers([frame(TEXTS, "one"), Frame(CONTAINER, None, None), frame(TEXTS, "two")], str)
    assert text.count("# TYPE container_threads gauge\n") == 1
    (threads,) = (each for each in parse(text) if each.name == "container_threads")
    assert [one.labels["name"] for one in threads.samples] == ["one", "two"]
    assert containers([]) == ""


def test_states_are_dockerds_three() -> None:
    every = [CONTAINER.but(status=status) for status in (Status.RUNNING, Status.CREATED, Status.EXITED, Status.PAUSED)]
    assert states(every) == {"running": 1, "stopped": 2, "paused": 1}
