"""Docker's body of a container's figures, from plain readings."""

from __future__ import annotations

from cgroups.stats import parse
from minirund.api.stats_view import UNLIMITED, body, cpu
from minirund.engine.records import Container
from minirund.engine.stats import Frame, Reading

GIB = 1 << 30
CONTAINER = Container(
    id="a" * 64, name="web", image="busybox", image_id="sha256:1", layers=(), config={}, host_config={}, args=(),
    created=1,
)  # fmt: skip
TEXTS = {
    "cpu.stat": "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 9\nnr_throttled 2\nthrottled_usec 77\n",
    "memory.current": "4096\n",
    "memory.max": "67108864\n",
    "memory.stat": "anon 1024\ninactive_file 100\n",
    "memory.events": "max 3\noom 2\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n253:0\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.30 avg300=0.06 total=12345\n",
}


def reading(**changes: str) -> Reading:
    texts = TEXTS | {key.replace("_", "."): text for key, text in changes.items()}
    return Reading(1_700_000_000_500_000_000, 1.0, parse(texts), 3, 5_000_000_000, 2, {"eth0": {"rx_bytes": 1}})


def test_a_running_container() -> None:
    found = body(Frame(CONTAINER, reading(), reading()), GIB)
    assert (found["name"], found["id"], found["num_procs"]) == ("/web", "a" * 64, 0)
    assert found["read"] == found["preread"] == "2023-11-14T22:13:20.5Z"
    assert found["pids_stats"] == {"current": 3, "limit": UNLIMITED}
    assert found["memory_stats"] == {
        "usage": 4096, "stats": {"anon": 1024, "inactive_file": 100}, "limit": 64 << 20, "failcnt": 2,
    }  # fmt: skip
    assert (
        found["cpu_stats"]
        == found["precpu_stats"]
        == {
            "cpu_usage": {"total_usage": 900_000, "usage_in_kernelmode": 300_000, "usage_in_usermode": 600_000},
            "system_cpu_usage": 5_000_000_000,
            "online_cpus": 2,
            "throttling_data": {"periods": 9, "throttled_periods": 2, "throttled_time": 77_000},
        }
    )
    assert found["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]
    assert found["blkio_stats"]["io_serviced_recursive"] is None
    assert found["networks"] == {"eth0": {"rx_bytes": 1}}
    assert found["pressure_stats"]["cpu"]["some"] == {"avg10": 1.5, "avg60": 0.3, "avg300": 0.06, "total": 12345}
    assert "waits_for" not in found


def test_the_limits_that_there_are() -> None:
    unlimited = body(Frame(CONTAINER, None, reading(memory_max="max\n", pids_max="50\n")), GIB)
    assert unlimited["memory_stats"]["limit"] == GIB
    assert unlimited["pids_stats"]["limit"] == 50
    assert body(Frame(CONTAINER, None, reading(memory_max=f"{GIB * 4}\n")), GIB)["memory_stats"]["limit"] == GIB


def test_one_reading_has_none_before_it() -> None:
    found = body(Frame(CONTAINER, None, reading()), GIB, ["waits for nothing"])
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["precpu_stats"] == cpu(None)
    assert "system_cpu_usage" not in found["precpu_stats"]
    assert found["waits_for"] == ["waits for nothing"]


def test_a_container_that_does_not_run_has_zeros() -> None:
    found = body(Frame(CONTAINER, None, None), GIB)
    assert (found["read"], found["pids_stats"], found["memory_stats"]) == ("0001-01-01T00:00:00Z", {}, {})
    assert found["cpu_stats"] == found["precpu_stats"] == cpu(None)
    assert found["blkio_stats"]["io_service_bytes_recursive"] is None
    assert "networks" not in found and "pressure_stats" not in found
    assert found["name"] == "/web"


def test_a_host_that_counts_little() -> None:
    poor = Reading(1, 1.0, parse({"cpu.stat": "usage_usec 9\n"}), 1, 1, 2, {})
    found = body(Frame(CONTAINER, None, poor), GIB)
    assert found["memory_stats"] == {}
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 9000
    assert "networks" not in found and "pressure_stats" not in found
