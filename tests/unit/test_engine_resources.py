"""Limits, devices, ulimits: HostConfig's words into OCI's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgroups import limits
from cgroups.cgroup import Cgroup
from minirund.engine import devices, resources
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported

GIB = 1 << 30


@pytest.mark.parametrize(
    ("host", "section", "expected"),
    [
        ({"Memory": GIB}, "memory", {"limit": GIB, "swap": 2 * GIB}),
        ({"Memory": GIB, "MemorySwap": -1}, "memory", {"limit": GIB, "swap": -1}),
        ({"Memory": GIB, "MemorySwap": GIB}, "memory", {"limit": GIB, "swap": GIB}),
        ({"MemoryReservation": GIB}, "memory", {"reservation": GIB}),
        ({"NanoCpus": 500_000_000}, "cpu", {"quota": 50_000, "period": 100_000}),
        ({"CpuQuota": 5000, "CpuPeriod": 10000, "CpuShares": 2}, "cpu", {"quota": 5000, "period": 10000, "shares": 2}),
        ({"CpusetCpus": "0", "CpusetMems": "0"}, "cpu", {"cpus": "0", "mems": "0"}),
        ({"PidsLimit": 5}, "pids", {"limit": 5}),
        ({"PidsLimit": -1}, "pids", None), ({"PidsLimit": 0}, "pids", None), ({}, "memory", None),
        ({"BlkioWeight": 5}, "blockIO", {"weight": 5}),
    ],
)  # fmt: skip
def test_limits(host: Json, section: str, expected: Json | None) -> None:
    assert resources.resources(host).get(section) == expected


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"BlkioDeviceReadBps": [{"Path": "/etc", "Rate": 1}]}, "not a device node"),
    ],
)
def test_what_is_no_limit(host: Json, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        resources.resources(host)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"Name": "nofile", "Soft": 1, "Hard": 2}, {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}),
        ({"Name": "core", "Soft": -1, "Hard": -1}, {"type": "RLIMIT_CORE", "soft": -1, "hard": -1}),
        ({"Name": "what", "Soft": 1, "Hard": 1}, None),
        ({"Name": "nofile", "Soft": 3, "Hard": 2}, None),
        ({"Name": "nofile", "Soft": -1, "Hard": 2}, None),
    ],
)
def test_ulimits(entry: Json, expected: Json | None) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument, match="ulimit"):
            resources.rlimits({"Ulimits": [entry]})
    else:
        assert resources.rlimits({"Ulimits": [entry]}) == [expected]


def test_a_limit_without_its_controller_is_refused_by_name(tmp_path: Path) -> None:
    """Controllers are what the file says: a plain directory will do."""
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    root = Cgroup(str(tmp_path))
    assert resources.check({"PidsLimit": 5}, root) == []
    with pytest.raises(NotSupported, match=r"^--memory needs the cgroup v2 controller 'memory', .*: "):
        resources.check({"Memory": GIB}, root)


@pytest.mark.parametrize(
    ("host", "option"),
    [
        ({"Memory": GIB}, "--memory"), ({"MemoryReservation": GIB}, "--memory-reservation"),
        ({"NanoCpus": 10**9}, "--cpus"), ({"CpuQuota": 5000}, "--cpu-quota"),
        ({"CpuShares": 5}, "--cpu-shares"), ({"CpusetCpus": "0"}, "--cpuset-cpus"),
        ({"CpusetMems": "0"}, "--cpuset-mems"), ({"PidsLimit": 5}, "--pids-limit"),
        ({"BlkioWeight": 500}, "--blkio-weight"),
        ({"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 500}]}, "--blkio-weight-device"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_option_that_was_typed(
    host: Json, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "disk", lambda path, option: {"major": 8, "minor": 0})  # this machine may have none
    (tmp_path / "cgroup.controllers").write_text("\n")
    with pytest.raises(NotSupported, match=f"^{option} needs the cgroup v2 controller"):
        resources.check(host, Cgroup(str(tmp_path)))


def test_a_file_that_the_kernel_has_not_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "system.slice").mkdir()
    for directory in (tmp_path, tmp_path / "system.slice"):
        (directory / "cgroup.controllers").write_text("io cpu\n")
    root = Cgroup(str(tmp_path))
    with pytest.raises(NotSupported) as caught:
        resources.check({"BlkioWeight": 500}, root)
    assert str(caught.value) == "--blkio-weight needs the cgroup file io.weight, which this kernel does not have"
    with pytest.raises(NotSupported, match=r"^--cpus needs the cgroup file cpu\.max, which"):
        resources.check({"NanoCpus": 10**9}, root)
    with pytest.raises(NotSupported, match=r"^--cgroup-conf cpu\.idle needs the cgroup file cpu\.idle, which"):
        resources.check({"CgroupConf": {"cpu.idle": "1"}}, root)
    (tmp_path / "system.slice" / "io.bfq.weight").touch()
    assert resources.check({"BlkioWeight": 500}, root) == []
    assert resources.check({"CpuQuota": -1}, root) == []  # nothing to lift


def test_every_limit_of_the_library_that_is_asked_for_has_an_option() -> None:
    """The names are the library's: what it may say, is translated."""
    rate = [{"major": 8, "minor": 0, "rate": 1}]
    for _, throttle, word in resources.THROTTLES:
        found = limits.needed(limits.from_oci({"blockIO": {throttle: rate}}))
        key = next(key for key, _, other in resources.THROTTLES if other == word)
        assert resources.option(found["io"], {key: rate}) == word


def test_a_bad_value_is_told_before_a_missing_controller(tmp_path: Path) -> None:
    root = Cgroup(str(tmp_path))
    for host in ({"Memory": 1}, {"BlkioWeight": 1}, {"Memory": GIB, "CpuPeriod": 1}):
        with pytest.raises(InvalidArgument):
            resources.check(host, root)


def test_a_device_that_has_gone_is_in_no_limits_way(tmp_path: Path) -> None:
    """An update asks too, long after the container was made."""
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    host: Json = {"PidsLimit": 5, "Devices": [{"PathOnHost": "/no/such"}]}
    assert resources.check(host, Cgroup(str(tmp_path))) == []


@pytest.mark.parametrize("key", ["BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteIOps"])
def test_a_disk_without_a_path(key: str) -> None:
    with pytest.raises(InvalidArgument, match=r'invalid device for .*: "": no such file or directory'):
        resources.limited({key: [{"Weight": 500, "Rate": 1}]})


@pytest.mark.parametrize(("key", "option"), [(key, option) for key, _, option in resources.THROTTLES])
def test_a_rate_that_the_kernel_does_not_take(key: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "disk", lambda path, option: {"major": 8, "minor": 0})
    with pytest.raises(InvalidArgument, match=f"^invalid rate for {option}: 1: the kernel takes 2 a second and more"):
        resources.limited({key: [{"Path": "/dev/sda", "Rate": 1}]})
    assert resources.limited({key: [{"Path": "/dev/sda", "Rate": 2}]})


def test_what_can_t_be_had_is_a_warning_and_left_out(tmp_path: Path) -> None:
    host = {"MemorySwappiness": 60, "OomKillDisable": True}
    warnings = resources.check(host, Cgroup(str(tmp_path)))
    assert [text.rpartition(". ")[2] for text in warnings] == [
        "Memory swappiness discarded.", "OomKillDisable discarded."
    ]  # fmt: skip
    assert host == {}
