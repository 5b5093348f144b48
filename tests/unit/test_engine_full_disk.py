"""The reserve, and a store whose database can't grow: SQLite's own page limit stands for the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirund.engine.records import Exec
from minirund.engine.reserve import SIZE, Reserve
from minirund.engine.store import Store
from minirund.engine.usage import MAX_DEPTH, disk_usage
from minirund.errors import StorageFull


def record(name: str, size: int = 0) -> Exec:
    return Exec(name, "c", {"Cmd": ["x" * size]}, 1)


def limit(store: Store, pages: int) -> None:
    store._db.execute(f"PRAGMA max_page_count={pages}")


def test_the_reserve_is_taken_given_up_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "reserve"
    reserve = Reserve(str(file))
    assert (reserve.held, file.stat().st_size) == (True, SIZE)
    assert (reserve.give_up(), reserve.held, file.stat().st_size) == (True, False, 0)
    assert reserve.give_up() is False
    reserve.take()
    reserve.close()
    assert file.stat().st_blocks * 512 >= SIZE
    again = Reserve(str(file))
    assert again.held
    again.close()


def test_a_wish_is_refused_and_a_fact_is_late(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    store.put(record("first"))
    limit(store, 1)
    with pytest.raises(StorageFull):
        store.put(record("wish", 100_000))
    store.settle(record("fact", 100_000))
    store.settle(record("fact", 200_000))
    store.delete(record("first"))
    assert [one.id for one in store.execs()] == ["first"]
    limit(store, 1_000_000)
    store.put(record("last"))
    store.close()
    again = Store(str(tmp_path / "db"))
    assert {one.id: len(one.config["Cmd"][0]) for one in again.execs()} == {"fact": 200_000, "last": 0}
    again.close()


def test_what_is_late_is_written_at_the_end(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    limit(store, 1)
    store.settle(record("fact", 100_000))
    limit(store, 1_000_000)
    store.close()
    again = Store(str(tmp_path / "db"))
    assert [one.id for one in again.execs()] == ["fact"]
    again.close()


def test_disk_usage(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 1000)
    (tmp_path / "again").hardlink_to(tmp_path / "a/b/file")
    (tmp_path / "link").symlink_to("/")
    assert disk_usage(str(tmp_path)) == 1000 + len("/")
    assert disk_usage(str(tmp_path / "nowhere")) == 0
    deep = tmp_path / Path(*["d"] * (MAX_DEPTH + 5))
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 5000)
    assert disk_usage(str(tmp_path)) == 1000 + len("/")
