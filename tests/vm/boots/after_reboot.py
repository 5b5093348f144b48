"""After a reboot of the machine: restart policies bring back what they promise, and nothing else.

minirund is started by systemd at boot, not by its first caller: a policy would have nobody to carry it out.
"""

from __future__ import annotations

import time

import pytest
from guest import IMAGE, inspect, minirun, systemctl

RUNNING = {
    **{"runs-no": False, "runs-always": True, "runs-unless-stopped": True, "runs-on-failure": True},
    **{"stopped-no": False, "stopped-always": True, "stopped-unless-stopped": False, "stopped-on-failure": False},
    **{"ended-on-failure": False, "created-always": False},
}


def test_minirund_is_there_before_anybody_calls() -> None:
    """Asked of systemd: a question to the socket would start it."""
    assert systemctl("is-active", "minirund.service") == "active"


@pytest.mark.parametrize(("name", "runs"), RUNNING.items())
def test_the_policy_decides_who_runs(name: str, runs: bool) -> None:
    deadline = time.monotonic() + 60
    while inspect(name)["State"]["Running"] != runs and time.monotonic() < deadline:
        time.sleep(1)
    state = inspect(name)["State"]
    assert state["Running"] == runs, state
    assert state["Status"] in (("running",) if runs else ("exited", "created"))


def test_what_a_container_wrote_is_still_there() -> None:
    assert minirun("exec", "runs-always", "cat", "/boots") == "started\nstarted\n"
    minirun("start", "runs-no")
    assert minirun("exec", "runs-no", "cat", "/boots") == "started\nstarted\n"


def test_a_container_starts() -> None:
    assert minirun("run", "--rm", IMAGE, "echo", "works") == "works\n"
    minirun("rm", "-f", *RUNNING)
