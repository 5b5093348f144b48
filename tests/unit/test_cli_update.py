"""The options of `update` become the body of its request."""

from __future__ import annotations

from typing import Any

import pytest

from minirund.cli.failure import UsageError
from minirund.cli.options import parse
from minirund.cli.spec import update_body
from minirund.cli.update import OPTIONS


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["-m", "64m", "--memory-swap", "-1"], {"Memory": 64 << 20, "MemorySwap": -1}),
        (["-c", "9", "--cpus", "1.5"], {"CpuShares": 9, "NanoCpus": 1_500_000_000}),
        (["--cpu-quota=-1", "--cpuset-cpus", "0-1"], {"CpuQuota": -1, "CpusetCpus": "0-1"}),
        (["--pids-limit", "0"], {"PidsLimit": 0}),
        (["--device-write-bps", "/dev/vda:0"], {"BlkioDeviceWriteBps": [{"Path": "/dev/vda", "Rate": 0}]}),
        (["--restart", "on-failure:2"], {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}),
    ],
)
def test_body(options: list[str], body: dict[str, Any]) -> None:
    assert update_body(parse(OPTIONS, [*options, "name"])) == body


@pytest.mark.parametrize("options", [["--privileged"], ["--memory", "much"], ["--device-read-bps", "vda:1"]])
def test_what_it_does_not_take(options: list[str]) -> None:
    with pytest.raises(UsageError):
        update_body(parse(OPTIONS, [*options, "name"]))
