"""The whole test session runs in a place of its own (containment.py), and fails if something is left in it.

Without root there are no namespaces to be had, and the tests that need root are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import containment
import pytest


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process, mount, link, nft table or cgroup outlives the session; what does is named, ended, and fails it."""
    if os.geteuid() != 0 or all(
        "vm" in item.path.parts for item in request.session.items
    ):  # tests/vm: the machine's own
        yield
        return
    containment.sweep()
    place = containment.Place(f"{containment.PREFIX}{os.getpid()}")
    keepers = frozenset({os.getpid()})
    before = containment.observe(place.root, keepers)
    yield
    left = containment.settle(lambda: containment.observe(place.root, keepers), before)
    place.leave()
    assert not left, f"the tests left behind:\n{left}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`root` marks what needs root; without it such a test is skipped, by name."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
