"""What a limit may be, what is left out with a warning, and the option that a refusal names."""

from __future__ import annotations

import pytest

from minirund.engine import bounds
from minirund.engine.bounds import Machine
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

MIB, GIB = 1 << 20, 1 << 30
FOUR = Machine(cpus=4, cpu_list="0-2,5", node_list="0", swap=True)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 6 * MIB - 1}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": -1}, "invalid memory size: -1"),
        ({"MemoryReservation": -5}, "invalid memory size: -5"),
        ({"MemorySwap": -2}, "invalid value for MemorySwap: -2"),
        ({"MemorySwap": GIB}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"Memory": GIB, "MemorySwap": GIB - 1}, "Minimum memoryswap limit should be larger than memory limit"),
        ({"MemoryReservation": 6 * MIB - 1}, "Minimum memory reservation allowed is 6MB"),
        ({"Memory": GIB, "MemoryReservation": GIB + 1}, "Minimum memory limit can not be less than memory reservation"),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"MemorySwappiness": -2}, "Invalid value: -2, valid memory swappiness range is 0-100"),
        ({"NanoCpus": 9_999_999}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"NanoCpus": 4_000_000_001}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"NanoCpus": 10**9, "CpuPeriod": 1000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ({"NanoCpus": 10**9, "CpuQuota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        ({"CpuPeriod": 999}, "CPU cfs period can not be less than 1ms"),
        ({"CpuPeriod": 1_000_001}, "or larger than 1s"),
        ({"CpuQuota": 999}, "CPU cfs quota can not be less than 1ms"),
        ({"CpuQuota": -2}, "CPU cfs quota can not be less than 1ms"),
        ({"CpuShares": -1}, "invalid CPU shares .-1.: value must be a positive integer"),
        ({"CpuRealtimeRuntime": 1}, "does not support CPU real-time scheduler: --cpu-rt-runtime exists on cgroup v1"),
        ({"CpuRealtimePeriod": 1}, "does not support CPU real-time scheduler: --cpu-rt-period exists on cgroup v1"),
        ({"KernelMemory": GIB}, "--kernel-memory exists on cgroup v1 only"),
        ({"KernelMemoryTCP": GIB}, "--kernel-memory-tcp exists on cgroup v1 only"),
        ({"IOMaximumBandwidth": 1}, "does not support Maximum IO Bandwidth"),
        ({"CpusetCpus": "3"}, "Requested CPUs are not available - requested 3, available: 0-2,5"),
        ({"CpusetCpus": "0-5"}, "Requested CPUs are not available - requested 0-5, available: 0-2,5"),
        ({"CpusetMems": "1"}, "Requested memory nodes are not available - requested 1, available: 0"),
        ({"CpusetCpus": "all"}, "Invalid value all for cpuset cpus"),
        ({"CpusetCpus": "2-1"}, "Invalid value 2-1 for cpuset cpus"),
        ({"CpusetCpus": "0-99999999999"}, "Invalid value 0-99999999999 for cpuset cpus"),
        ({"CpusetMems": "0-"}, "Invalid value 0- for cpuset mems"),
        ({"BlkioWeight": 9}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeight": 1001}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 5}]}, "from 10 to 1000, for /dev/sda too"),
        ({"OomScoreAdj": 1001}, r"Invalid value 1001, range for oom score adj is \[-1000, 1000\]"),
    ],
    ids=str,
)
def test_out_of_bounds(host: Json, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        bounds.check(host, FOUR)
    assert set(host) <= set(bounds.KEYS)


@pytest.mark.parametrize(
    "host",
    [
        {"Memory": 6 * MIB, "MemorySwap": 6 * MIB, "MemoryReservation": 6 * MIB}, {"Memory": GIB, "MemorySwap": -1},
        {"MemorySwap": -1}, {"MemorySwappiness": -1}, {"MemorySwappiness": 0}, {"MemorySwappiness": 100},
        {"NanoCpus": 10_000_000}, {"NanoCpus": 4_000_000_000}, {"CpuPeriod": 1000, "CpuQuota": 1000},
        {"CpuPeriod": 1_000_000, "CpuQuota": -1}, {"CpuShares": 1}, {"KernelMemory": -1}, {"CpusetCpus": "0-2,5"},
        {"CpusetCpus": "", "CpusetMems": "0"}, {"BlkioWeight": 10}, {"BlkioWeight": 1000}, {"BlkioWeight": 0},
        {"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 0}]}, {"OomScoreAdj": -1000}, {"OomScoreAdj": 1000}, {},
    ],
    ids=str,
)  # fmt: skip
def test_just_within(host: Json) -> None:
    bounds.check(host, FOUR)


@pytest.mark.parametrize(
    ("host", "kept", "warning"),
    [
        ({"MemorySwappiness": 60}, {}, "Memory swappiness discarded."),
        ({"MemorySwappiness": 0}, {}, "Memory swappiness discarded."),
        ({"OomKillDisable": True}, {}, "OomKillDisable discarded."),
        ({"CpuPercent": 5}, {}, "Percent discarded."),
        ({"MemorySwappiness": -1, "OomKillDisable": False, "CpuPercent": 0}, {}, None),
        ({"Memory": GIB}, {"Memory": GIB, "MemorySwap": 2 * GIB}, None),
        ({"Memory": GIB, "MemorySwap": -1}, {"Memory": GIB, "MemorySwap": -1}, None),
        ({"MemoryReservation": GIB}, {"MemoryReservation": GIB}, None),
    ],
    ids=str,
)
def test_what_is_kept(host: Json, kept: Json, warning: str | None) -> None:
    warnings = bounds.settle(host, FOUR)
    assert host == kept
    assert [text.endswith(warning or "?") for text in warnings] == ([True] if warning else [])


@pytest.mark.parametrize("swap", [0, 2 * GIB])
def test_without_a_count_of_swap_memory_is_limited_alone(swap: int) -> None:
    host = {"Memory": GIB, "MemorySwap": swap}
    (warning,) = bounds.settle(host, FOUR._replace(swap=False))
    assert warning.endswith("Memory limited without swap.")
    assert host == {"Memory": GIB, "MemorySwap": -1}
    assert bounds.settle(host, FOUR._replace(swap=False)) == []


def test_lists_of_the_kernel() -> None:
    assert bounds.numbers("0-2,7\n") == {0, 1, 2, 7}
    assert bounds.numbers("") == set()


@pytest.mark.parametrize("text", ["-1", "1-", "a", "1--2", "2-1", "1;2", "1 2", "٣"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bounds.numbers(text)
