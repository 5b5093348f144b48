"""After a reboot of the machine: restart policies bring back what they promise, and nothing else.

minirund is started by systemd at boot, not by its first caller: a policy would have nobody to carry it out.
"""

from __future__ import annotations

import pytest
from guest import IMAGE, inspect, minirun, systemctl
from waiting import until

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
    wanted = ("running",) if runs else ("exited", "created")
    until(lambda: inspect(name)["State"]["Status"] in wanted, f"{name} is never {wanted}", pause=1)


def test_what_a_container_wrote_is_still_there() -> None:
    """Its shell adds a line when it comes to it."""
    minirun("start", "runs-no")
    for name in ("runs-always", "runs-no"):
        until(lambda name=name: minirun("exec", name, "cat", "/boots") == "started\nstarted\n", name, pause=0.5)


def test_a_container_starts() -> None:
    assert minirun("run", "--rm", IMAGE, "echo", "works") == "works\n"
    minirun("rm", "-f", *RUNNING)
