"""Daemons for the tests of the API.

``host`` is one daemon for all tests of a module, with `busybox` loaded: name what you make, and remove it.
``own_host`` is a host without a daemon, for a test that starts, kills and configures it itself.
Either is checked at its end: with the containers removed and the daemon stopped, nothing may be left of it.
A test that fails shows the end of its daemon's log.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import docker
import pytest
from daemon import DaemonHost


@contextmanager
def checked_host() -> Iterator[DaemonHost]:
    """A host that is clean when it is left."""
    if os.geteuid() != 0:
        pytest.skip("a daemon needs root")
    with DaemonHost() as host:
        yield host
        if host.daemon and host.daemon.poll() is None:
            host.remove_containers()
            host.stop()
        left = host.leftovers()
        assert not left, f"the daemon left behind:\n{left}\n\nits log:\n{host.log_tail()}"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    """One daemon for a module's tests, `busybox` loaded."""
    with checked_host() as host:
        host.start()
        host.load_busybox()
        yield host


@pytest.fixture
def no_containers_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove what a test leaves in the daemon of its module: for ``usefixtures``."""
    yield
    if "host" in request.fixturenames:
        request.getfixturevalue("host").remove_containers()


@pytest.fixture
def client(host: DaemonHost, no_containers_left: None) -> Iterator[docker.DockerClient]:
    """The stock library, docker-py."""
    one = docker.DockerClient(host.url, version="auto")
    yield one
    one.close()
    gc.collect()  # docker-py leaves sockets to it: here, and not in the midst of a test that minds the warnings


@pytest.fixture
def own_host() -> Iterator[DaemonHost]:
    """A host whose daemon is the test's own to start."""
    with checked_host() as host:
        yield host


@pytest.fixture(scope="module")
def bare_host() -> Iterator[DaemonHost]:
    """The same for all tests of a module."""
    with checked_host() as host:
        yield host


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure's report with the daemon's last words."""
    report = yield
    for value in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(value, DaemonHost):
            report.sections.append(("minirund's log", value.log_tail()))
    return report
