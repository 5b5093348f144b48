"""The tests of a whole machine run in a guest (`make vm-test`); elsewhere they are skipped, by name.

A test file here finds the image in the engine, and asks for ``name`` to have a container cleaned up.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

import pytest
from guest import IMAGE, MINIRUN, ROOT, systemctl


@pytest.fixture(scope="session", autouse=True)
def image() -> Iterator[None]:
    """busybox, loaded by the socket's first caller, who starts the service."""
    if os.geteuid() != 0 or not os.path.isdir("/run/systemd/system") or not os.path.exists(MINIRUN):
        pytest.skip("wants a machine with systemd and an installed minirund: make vm-test")
    with subprocess.Popen([ROOT / "scripts/make-busybox-image"], stdout=subprocess.PIPE) as archive:
        subprocess.run([MINIRUN, "load"], stdin=archive.stdout, check=True, timeout=250)
    assert systemctl("is-active", "minirund.service") == "active"
    yield
    subprocess.run([MINIRUN, "rmi", "-f", IMAGE], check=False, capture_output=True)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A container's name; it is removed afterwards."""
    name = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name)
    yield name
    subprocess.run([MINIRUN, "rm", "-f", name], check=False, capture_output=True)
