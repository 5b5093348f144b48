"""The database, and the records in it and in memory: real SQLite files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_records import a_container, an_image

from minirund.engine import records
from minirund.engine.catalog import Catalog
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container, Endpoint, Exec
from minirund.engine.store import Store
from minirund.errors import Conflict, EngineError, InvalidArgument, NotFound

FULL = a_container(
    layers=("sha256:1", "sha256:2"), status=Status.RUNNING, pid=5, config={"Env": ["A=ä"]},
    endpoint=Endpoint(address="10.0.0.2", prefix=16),
)  # fmt: skip
EXEC = Exec("e" * 64, FULL.id, {"Cmd": ["ls"]}, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(f"{tmp_path}/db")
    yield one
    one.close()


def test_records_come_back_as_they_went() -> None:
    image = an_image(tags=("a:1",), digests=("a@sha256:1",), blobs=("sha256:1",))
    assert records.container(json.loads(json.dumps(records.to_json(FULL)))) == FULL
    assert records.exec_(json.loads(json.dumps(records.to_json(EXEC)))) == EXEC
    assert records.image(json.loads(json.dumps(records.to_json(image)))) == image


def test_what_records_say() -> None:
    assert FULL.alive and not FULL.but(status=Status.EXITED).alive
    assert (FULL.tty, FULL.but(config={"Tty": True}).tty) == (False, True)
    assert FULL.but(host_config={"AutoRemove": True}).auto_remove
    assert [EXEC.running, EXEC.but(started=True).running, EXEC.but(started=True, exit_code=0).running] == [
        False,
        True,
        False,
    ]


def test_what_is_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/db")
    for record in (FULL, a_container(2), EXEC, an_image()):
        store.put(record)
    store.put(FULL.but(pid=6))
    store.delete(a_container(2))
    identity = store.fact("daemon", lambda: "first")
    store.close()
    again = Store(f"{tmp_path}/db")
    assert (again.containers(), again.execs(), again.images()) == ([FULL.but(pid=6)], [EXEC], [an_image()])
    assert again.fact("daemon", lambda: "second") == identity == "first"
    again.close()


def test_a_second_daemon_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="in use by another minirund: choose --data-root"):
        Store(f"{tmp_path}/db")


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop), store.transaction():
        store.put(FULL)
        with store.transaction():
            store.put(a_container(2))
        raise Stop
    assert store.containers() == []
    with store.transaction():
        store.put(FULL)
    assert store.containers() == [FULL]


def test_a_removal_under_way_is_shown_and_not_saved(store: Store) -> None:
    catalog = Catalog(store)
    catalog.put(a_container(1))
    assert catalog.removing(catalog.get(a_container(1).id)).status is Status.REMOVING
    assert [record.status for record in catalog.containers()] == [Status.REMOVING]
    assert [record.status for record in store.containers()] == [Status.CREATED]


def test_the_catalog_finds_by_id_name_and_beginning(store: Store) -> None:
    catalog = Catalog(store)
    one, two = catalog.put(a_container(1)), catalog.put(a_container(2))
    for ref in (one.id, one.id[:12], "1", "name1", "/name1"):
        assert catalog.find(ref) == one
    assert catalog.containers() == [two, one] == Catalog(store).containers()
    assert one.id in catalog and "x" not in catalog


@pytest.mark.parametrize("ref", ["", "nope", "2" * 64, "/"])
def test_what_is_not_there(store: Store, ref: str) -> None:
    catalog = Catalog(store)
    catalog.put(a_container(1))
    with pytest.raises(NotFound, match=f"No such container: {ref}"):
        catalog.find(ref)


def test_a_name_goes_before_the_beginning_of_an_id_and_ambiguity_is_told(store: Store) -> None:
    catalog = Catalog(store)
    catalog.put(a_container(1))
    named = catalog.put(a_container(2, name="11"))
    assert catalog.find("11") == named
    catalog.put(a_container(3, id="12" + "3" * 62))
    with pytest.raises(InvalidArgument, match="Multiple IDs"):
        catalog.find("1")


def test_names_are_claimed_changed_and_freed(store: Store) -> None:
    catalog = Catalog(store)
    one = catalog.put(a_container(1, name="web"))
    with pytest.raises(Conflict, match=f'The container name "/web" is already in use by container "{one.id}"'):
        catalog.claim("/web")
    catalog.change(one.id, name="db")
    assert catalog.claim("web") == "web"
    assert catalog.find("db").id == one.id
    catalog.delete(catalog.get(one.id))
    assert catalog.claim("db") == "db"
    assert catalog.claim(None) and not store.containers()


def test_execs_live_with_their_container(store: Store) -> None:
    catalog = Catalog(store)
    catalog.put(FULL)
    now = time.time_ns()
    old, young, running = (Exec(letter * 64, FULL.id, {}, now) for letter in "abc")
    for record in (old.but(created=1), young, running.but(created=1, started=True)):
        catalog.put_exec(record)
    assert catalog.exec("aaa").id == old.id
    catalog.forget_old_execs()
    with pytest.raises(NotFound, match="No such exec instance"):
        catalog.exec(old.id)
    assert {record.id for record in catalog.execs_of(FULL.id)} == {young.id, running.id}
    catalog.delete(FULL)
    assert list(catalog.execs_of(FULL.id)) == [] == store.execs()


def test_a_catalog_holds_what_the_store_holds(store: Store) -> None:
    first = Catalog(store)
    first.put(FULL)
    changed = first.change(FULL.id, exit_code=7)
    assert isinstance(changed, Container) and Catalog(store).get(FULL.id) == changed
