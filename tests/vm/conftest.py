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
def image() -> None:
    """busybox; the socket's first caller starts the service. It stays, for what comes after these tests."""
    if os.geteuid() != 0 or not os.path.isdir("/run/systemd/system") or not os.path.exists(MINIRUN):
        pytest.skip("wants a machine with systemd and an installed minirund: make vm-test")
    if subprocess.run([MINIRUN, "image", "inspect", IMAGE], check=False, capture_output=True).returncode:
        with subprocess.Popen([ROOT / "scripts/make-busybox-image"], stdout=subprocess.PIPE) as archive:
            subprocess.run([MINIRUN, "load"], stdin=archive.stdout, check=True, timeout=250)
    assert systemctl("is-active", "minirund.service") == "active"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A container's name; it is removed afterwards."""
    name = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name)
    yield name
    subprocess.run([MINIRUN, "rm", "-f", name], check=False, capture_output=True)
