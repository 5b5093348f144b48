"""What an update changes in a record, and what it refuses. The whole of it: tests/api/test_restart_policies.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_records import a_container

from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.lifecycle import Status
from minirund.engine.store import Store
from minirund.engine.updates import Updates
from minirund.engine.waiters import Live
from minirund.errors import Conflict, InvalidArgument, MinirundError, NotFound

POLICY = {"Name": "on-failure", "MaximumRetryCount": 3}


class Locks:
    """The runner's locks: all that is needed of it."""

    def __init__(self) -> None:
        self._lives: dict[str, Live] = {}

    def live(self, ident: str) -> Live:
        return self._lives.setdefault(ident, Live())


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    store = Store(f"{tmp_path}/db")
    yield Catalog(store)
    store.close()


def update(catalog: Catalog, ref: str, **asked: Any) -> list[str]:
    return asyncio.run(Updates(catalog, Locks(), Events()).update(ref, asked))  # type: ignore[arg-type]


def test_a_policy(catalog: Catalog) -> None:
    container = catalog.put(a_container(host_config={"Memory": 5}))
    assert update(catalog, container.name, RestartPolicy=POLICY) == []
    assert catalog.get(container.id) == container.but(host_config={"Memory": 5, "RestartPolicy": POLICY})


def test_nothing_asked_for(catalog: Catalog) -> None:
    container = catalog.put(a_container(host_config={"RestartPolicy": POLICY}))
    assert update(catalog, container.id) == update(catalog, container.id, RestartPolicy={}) == []
    assert catalog.get(container.id) == container


@pytest.mark.parametrize(
    ("special", "policy", "error", "message"),
    [
        ({}, {"Name": "what"}, InvalidArgument, "unknown policy 'what'"),
        ({"host_config": {"AutoRemove": True}}, POLICY, Conflict, "because AutoRemove is enabled"),
        ({"status": Status.DEAD}, POLICY, Conflict, "Cannot update container 1+: container is marked for removal"),
    ],
)
def test_refused(
    catalog: Catalog, special: dict[str, Any], policy: dict[str, Any], error: type[MinirundError], message: str
) -> None:
    container = catalog.put(a_container(**special))
    with pytest.raises(error, match=message):
        update(catalog, container.id, RestartPolicy=policy)
    assert catalog.get(container.id) == container


def test_rm_may_be_told_no(catalog: Catalog) -> None:
    container = catalog.put(a_container(host_config={"AutoRemove": True}))
    assert update(catalog, container.id, RestartPolicy={"Name": "no"}) == []


def test_none(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        update(catalog, "nobody", RestartPolicy=POLICY)
