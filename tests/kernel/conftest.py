"""For the tests of the runtime: a spawner for a module's tests, and a bundle for each. For those of cgroups: one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import Runtime, TestBundle, make_bundle, make_rootfs

from cgroups.cgroup import Cgroup


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with Runtime() as made:
        yield made


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("lower") / "root")


@pytest.fixture
def bundle(tmp_path: Path, lower: Path) -> TestBundle:
    return make_bundle(tmp_path, lower)


@pytest.fixture
def group() -> Iterator[Cgroup]:
    """A cgroup with nobody in it; it goes with whoever the test has put there."""
    made = Cgroup.at(f"test-cgroups-{uuid.uuid4().hex[:8]}")
    made.create()
    yield made
    made.remove()
    assert not made.exists()
