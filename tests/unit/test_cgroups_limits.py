"""OCI resources become cgroup files; no root, no cgroup."""

from typing import Any

import pytest

from cgroups.errors import ControllerMissing, LimitInvalid
from cgroups.limits import CONTROLLERS, IoMax, Limits, files, from_oci, needed, settings

MB = 1 << 20


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {}),
        ({"memory": {"limit": 64 * MB}}, {"memory.max": str(64 * MB)}),
        ({"memory": {"limit": -1}}, {"memory.max": "max"}),
        ({"memory": {"limit": 0, "reservation": 0, "swap": 0}}, {}),
        ({"memory": {"reservation": MB}}, {"memory.low": str(MB)}),
        ({"memory": {"limit": MB, "swap": 3 * MB}}, {"memory.max": str(MB), "memory.swap.max": str(2 * MB)}),
        ({"memory": {"limit": MB, "swap": MB}}, {"memory.max": str(MB), "memory.swap.max": "0"}),
        ({"memory": {"limit": MB, "swap": -1}}, {"memory.max": str(MB), "memory.swap.max": "max"}),
        ({"memory": {"swap": -1}}, {"memory.swap.max": "max"}),
        ({"cpu": {"quota": 50_000}}, {"cpu.max": "50000 100000"}),
        ({"cpu": {"quota": 50_000, "period": 20_000}}, {"cpu.max": "50000 20000"}),
        ({"cpu": {"quota": -1, "period": 20_000}}, {"cpu.max": "max 20000"}),
        ({"cpu": {"period": 20_000}}, {"cpu.max": "max 20000"}),
        ({"cpu": {"burst": 10}}, {"cpu.max.burst": "10"}),
        ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        ({"cpu": {"shares": 0, "cpus": "", "mems": None}}, {}),
        ({"pids": {"limit": 7}}, {"pids.max": "7"}),
        ({"pids": {"limit": 0}}, {"pids.max": "max"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 10}}, {"io.weight": "default 1"}),
        ({"blockIO": {"weight": 1000}}, {"io.weight": "default 10000"}),
        (
            {"blockIO": {"weight": 505, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}},
            {"io.weight": "default 5000\n8:0 10000"},
        ),
        (
            {
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": MB}],
                    "throttleWriteIOPSDevice": [
                        {"major": 8, "minor": 0, "rate": 5},
                        {"major": 7, "minor": 1, "rate": 0},
                    ],
                }
            },
            {"io.max": f"8:0 rbps={MB} wiops=5\n7:1 wiops=max"},
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MB}]},
            {"hugetlb.2MB.max": str(2 * MB), "hugetlb.2MB.rsvd.max": str(2 * MB)},
        ),
        (
            {"unified": {"memory.high": "5", "pids.max": "9"}, "pids": {"limit": 3}},
            {"pids.max": "9", "memory.high": "5"},
        ),
        ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": -1}}}, {"rdma.max": "mlx5_1 hca_handle=3 hca_object=max"}),
        ({"unified": {"io.max": "8:0 rbps=1"}, "blockIO": None}, {"io.max": "8:0 rbps=1"}),
        ({"memory": {"swappiness": -1, "disableOOMKiller": False, "kernel": 0}}, {}),
    ],
)
def test_files(resources: dict[str, Any], expected: dict[str, str]) -> None:
    assert files(from_oci(resources)) == expected


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (999_999, 10_000)],
)
def test_shares_meet_the_weights_of_both_scales(shares: int, weight: int) -> None:
    assert files(Limits(cpu_shares=shares)) == {"cpu.weight": str(weight)}


def test_more_shares_never_mean_less_weight() -> None:
    weights = [int(files(Limits(cpu_shares=shares))["cpu.weight"]) for shares in range(2, 262_145, 97)]
    assert weights == sorted(weights)
    assert weights[0] == 1
    assert weights[-1] <= 10_000


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"memory": {"swap": MB}}, "memory.limit"),
        ({"memory": {"limit": -1, "swap": MB}}, "memory.limit"),
        ({"memory": {"limit": 2 * MB, "swap": MB}}, "less than memory.limit"),
        ({"blockIO": {"weight": 9}}, "between 10 and 1000"),
        ({"blockIO": {"weight": 1001}}, "between 10 and 1000"),
        ({"memory": {"swappiness": 60}}, "memory.swappiness exists on cgroup v1 only"),
        ({"memory": {"swappiness": 0}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"memory": {"kernel": MB}}, "memory.kernel"),
        ({"cpu": {"realtimeRuntime": 1000}}, "cpu.realtimeRuntime"),
        ({"network": {"classID": 5}}, "network.classID"),
    ],
)
def test_what_no_file_can_express_is_refused_in_one_line(resources: dict[str, Any], words: str) -> None:
    with pytest.raises(LimitInvalid, match=words) as caught:
        files(from_oci(resources))
    assert "\n" not in str(caught.value)


def test_every_controller_is_named_with_the_option_that_asked() -> None:
    limits = from_oci(
        {
            "memory": {"reservation": MB},
            "cpu": {"shares": 5, "cpus": "0"},
            "pids": {"limit": 5},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "unified": {"rdma.max": "mlx4_0 hca_handle=2", "cgroup.max.depth": "3"},
        }
    )
    assert needed(limits) == {
        "memory": "memory.reservation",
        "cpu": "cpu.shares",
        "cpuset": "cpu.cpus",
        "pids": "pids.limit",
        "io": "blockIO.throttle",
        "hugetlb": "hugepageLimits",
        "rdma": "unified rdma.max",
    }


def test_a_weight_is_known_to_bfq_by_another_name_and_on_another_scale() -> None:
    (line,) = settings(Limits(io_weight=505))
    assert (line.file, line.text, line.other) == ("io.weight", "default 5000", ("io.bfq.weight", "default 505"))


def test_the_oom_group_is_a_flag() -> None:
    assert files(Limits(memory_oom_group=True)) == {"memory.oom.group": "1"}


def test_lifting_a_limit_needs_no_controller() -> None:
    assert needed(from_oci({"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": 0}})) == {}


def test_the_table_names_controllers_by_their_files() -> None:
    sizes = dict.fromkeys(("memory", "memory_high", "memory_low", "memory_swap", "cpu_quota", "cpu_burst", "pids"), 1)
    everything = Limits(
        **sizes, memory_oom_group=True, cpu_shares=2, cpu_idle=1, cpus="0", mems="0", io_weight=10,
        io_device_weights=(("8:0", 10),), io_max=(IoMax("8:0", 1),), hugetlb=(("2MB", 1),), rdma=(("mlx4_0", 1, 1),),
    )  # fmt: skip
    for name, write in CONTROLLERS.items():
        assert {line.controller for line in write(everything)} == {name}


def test_controller_missing_is_one_line_with_all_three() -> None:
    text = str(ControllerMissing("memory", "memory.limit", "boot with cgroup_no_v1=memory"))
    assert "\n" not in text
    assert all(word in text for word in ("'memory'", "memory.limit", "cgroup_no_v1=memory"))
