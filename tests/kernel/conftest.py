"""For the tests of the runtime: a spawner for a module's tests, and a bundle for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import Runtime, TestBundle, make_bundle, make_rootfs


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
