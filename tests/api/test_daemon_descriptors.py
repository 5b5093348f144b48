"""A daemon started by hand, with the soft limit of a shell: it takes what the hard one allows, and containers don't."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import pytest
from daemon import DaemonHost
from waiting import until

SOFT = 1024
SPAWNER = b"minirund-spawner"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > SOFT
    with DaemonHost() as made:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, hard))
        try:
            made.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        made.load_busybox()
        yield made
        made.stop()


def spawner(host: DaemonHost) -> int:
    """One that was just started gets its title soon."""
    found: list[int] = until(lambda: [pid for pid, title in host.commands().items() if title.startswith(SPAWNER)])
    assert len(found) == 1
    return found[0]


def in_a_container(host: DaemonHost) -> list[str]:
    return host.cli("run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").stdout.split()


def test_the_daemon_has_what_the_hard_limit_allows(host: DaemonHost) -> None:
    soft, hard = resource.prlimit(host.pid, resource.RLIMIT_NOFILE)
    assert soft == hard > SOFT


def test_containers_have_what_the_daemon_was_given(host: DaemonHost) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert in_a_container(host) == [str(SOFT), str(hard)]


def test_also_after_the_spawner_was_killed(host: DaemonHost) -> None:
    before = in_a_container(host)
    os.kill(spawner(host), signal.SIGKILL)
    assert in_a_container(host) == before
