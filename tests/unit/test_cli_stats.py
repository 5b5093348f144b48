"""The figures of `stats` from the API's bodies."""

from __future__ import annotations

from typing import Any

from minirund.cli.stats import cpu_percent, fields, memory_percent, memory_used, pressure

ROW: dict[str, Any] = {
    "name": "/web",
    "id": "a" * 64,
    "pids_stats": {"current": 3},
    "cpu_stats": {"cpu_usage": {"total_usage": 1_500}, "system_cpu_usage": 10_000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 500}, "system_cpu_usage": 6_000},
    "memory_stats": {"usage": 3 << 20, "limit": 8 << 20, "stats": {"inactive_file": 1 << 20}},
    "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2000}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
    "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 4096}, {"op": "Write", "value": 1000}]},
    "pressure_stats": {"cpu": {"some": {"avg10": 3.0}}, "io": {"some": {"avg10": 12.4}}},
}
STOPPED: dict[str, Any] = {
    "name": "/web", "id": "a" * 64, "pids_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 0}},
    "precpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {},
    "blkio_stats": {"io_service_bytes_recursive": None},
}  # fmt: skip


def test_a_container_that_runs() -> None:
    assert cpu_percent(ROW) == 50.0
    assert memory_used(ROW) == 2 << 20
    assert memory_percent(ROW) == 25.0
    assert pressure(ROW) == "io 12%"
    shown = {name: value(ROW) for name, (_, value) in fields(whole=False).items()}
    assert shown == {
        "Container": "web", "Name": "web", "ID": "a" * 12, "CPUPerc": "50.00%", "MemUsage": "2MiB / 8MiB",
        "MemPerc": "25.00%", "NetIO": "1.5kB / 2kB", "BlockIO": "4.1kB / 1kB", "PIDs": "3", "Pressure": "io 12%",
    }  # fmt: skip
    assert fields(whole=True)["ID"][1](ROW) == "a" * 64


def test_a_container_that_does_not() -> None:
    shown = {name: value(STOPPED) for name, (_, value) in fields(whole=False).items()}
    assert (shown["CPUPerc"], shown["MemUsage"], shown["MemPerc"]) == ("0.00%", "0B / 0B", "0.00%")
    assert (shown["NetIO"], shown["BlockIO"], shown["PIDs"], shown["Pressure"]) == ("0B / 0B", "0B / 0B", "0", "--")


def test_little_pressure_is_none() -> None:
    assert pressure({"pressure_stats": {"cpu": {"some": {"avg10": 0.9}}}}) == "--"
