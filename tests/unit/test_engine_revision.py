"""What an update makes of a HostConfig, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from minirund.engine.revision import check_fields, revised
from minirund.errors import Conflict, InvalidArgument

RATE = {"Path": "/dev/vda", "Rate": 5}


@pytest.mark.parametrize(
    ("host", "asked", "found"),
    [
        ({"Memory": 8}, {"PidsLimit": 3}, {"Memory": 8, "PidsLimit": 3}),
        ({"PidsLimit": 8}, {"PidsLimit": 0}, {"PidsLimit": 0}),
        ({"Memory": 8}, {"Memory": 9}, {"Memory": 9}),
        ({"Memory": 8, "MemorySwap": 16}, {"Memory": 16}, {"Memory": 16, "MemorySwap": 16}),
        ({"Memory": 8, "MemorySwap": 16}, {"Memory": 17, "MemorySwap": 17}, {"Memory": 17, "MemorySwap": 17}),
        ({"Memory": 8, "MemorySwap": -1}, {"Memory": 17}, {"Memory": 17, "MemorySwap": -1}),
        ({"NanoCpus": 8}, {"CpuQuota": -1}, {"CpuQuota": -1}),
        ({"CpuQuota": -1}, {"NanoCpus": 8}, {"NanoCpus": 8}),
        ({}, {"NanoCpus": 8, "CpuQuota": -1}, {"NanoCpus": 8}),
        ({"Binds": ["/a:/b"]}, {"RestartPolicy": {"Name": "no"}}, {"Binds": ["/a:/b"]}),
        ({}, {"BlkioDeviceReadBps": [RATE]}, {"BlkioDeviceReadBps": [RATE]}),
        (
            {"BlkioDeviceReadBps": [RATE, {"Path": "/dev/vdb", "Rate": 6}]},
            {"BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 0}, {"Path": "/dev/vdc", "Rate": 7}]},
            {"BlkioDeviceReadBps": [{"Path": "/dev/vdb", "Rate": 6}, {"Path": "/dev/vdc", "Rate": 7}]},
        ),
    ],
)
def test_revised(host: dict[str, Any], asked: dict[str, Any], found: dict[str, Any]) -> None:
    before = repr((host, asked))
    assert revised(host, asked) == found
    assert repr((host, asked)) == before


@pytest.mark.parametrize(
    ("host", "asked", "message"),
    [
        ({"MemorySwap": 16}, {"Memory": 17}, "Memory limit should be smaller than already set memoryswap limit"),
        ({"CpuPeriod": 1}, {"NanoCpus": 1}, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"CpuQuota": 1}, {"NanoCpus": 1}, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"NanoCpus": 1}, {"CpuPeriod": 1}, "CPU Period cannot be updated as NanoCPUs has already been set"),
        ({"NanoCpus": 1}, {"CpuQuota": 1}, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ],
)
def test_what_contradicts_what_is(host: dict[str, Any], asked: dict[str, Any], message: str) -> None:
    with pytest.raises(Conflict, match=message):
        revised(host, asked)


def test_what_no_update_changes() -> None:
    check_fields({"Memory": 1, "RestartPolicy": {}})
    with pytest.raises(InvalidArgument, match="Devices can't be changed by an update"):
        check_fields({"Memory": 1, "Devices": []})
