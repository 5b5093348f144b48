"""Containers with each restart policy, some running and some not, for after_reboot.py to find again."""

from __future__ import annotations

import pytest
from guest import IMAGE, inspect, minirun

STAY = "echo started >>/boots; trap 'exit 3' TERM; while true; do sleep 1; done"
POLICIES = ("no", "always", "unless-stopped", "on-failure")


@pytest.mark.parametrize("policy", POLICIES)
def test_one_that_runs(policy: str) -> None:
    name = f"runs-{policy}"
    minirun("run", "-d", "--name", name, "--restart", policy, IMAGE, "sh", "-c", STAY)
    assert inspect(name)["HostConfig"]["RestartPolicy"]["Name"] == policy


@pytest.mark.parametrize("policy", POLICIES)
def test_one_that_was_stopped_by_its_user(policy: str) -> None:
    name = f"stopped-{policy}"
    minirun("run", "-d", "--name", name, "--restart", policy, IMAGE, "sh", "-c", STAY)
    minirun("stop", "-t", "5", name)
    assert inspect(name)["State"]["Status"] == "exited"


def test_one_that_ended_well() -> None:
    minirun("run", "--name", "ended-on-failure", "--restart", "on-failure", IMAGE, "true")
    assert inspect("ended-on-failure")["State"]["ExitCode"] == 0


def test_one_that_was_never_started() -> None:
    minirun("create", "--name", "created-always", "--restart", "always", IMAGE, "sh", "-c", STAY)
