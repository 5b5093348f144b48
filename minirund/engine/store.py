"""The database: SQLite in WAL mode, one writer, the daemon's event loop.

One transaction is one change that a user can see. A commit writes to the log without waiting for the disk (some 50 us).
A kill -9 of the daemon loses nothing: the pages are the kernel's by then. A power cut would: see syncing.py.

On a full disk a wish is refused (``put``) as soon as the log would have to grow; what is so already is written down all
the same (``settle``, ``delete``): in the room that is kept for it, or, when that is used up, as soon as there is some.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from minirund.engine import records
from minirund.engine.locks import lock_or_refuse
from minirund.engine.records import Container, Exec, Image, Json
from minirund.engine.reserve import Reserve
from minirund.engine.syncing import Syncing
from minirund.errors import EngineError, StorageFull

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS execs      (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images     (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts      (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_TABLES: dict[type, str] = {Container: "containers", Exec: "execs", Image: "images"}


class Store:
    """The saved records. Owns the connection and the lock on the data root."""

    def __init__(self, path: str) -> None:
        """Opens, or makes, the database at ``path``. Raises EngineError if another daemon has it."""
        self._lock = lock_or_refuse(path + ".lock", "data root", "--data-root")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
            self._reserve = Reserve(path + ".reserve")
        except (sqlite3.DatabaseError, OSError) as error:
            raise EngineError(f"the database {path} can't be opened: {error}") from error
        self._syncing = Syncing(path + "-wal")
        self._late: deque[tuple[str, tuple[str, ...]]] = deque()
        """What could not be written down yet, in its order."""
        self._depth = 0

    def containers(self) -> list[Container]:
        """All containers, in no order."""
        return [records.container(data) for data in self._load("containers")]

    def execs(self) -> list[Exec]:
        """All execs."""
        return [records.exec_(data) for data in self._load("execs")]

    def images(self) -> list[Image]:
        """All images."""
        return [records.image(data) for data in self._load("images")]

    def _load(self, table: str) -> Iterator[Json]:
        for (text,) in self._db.execute(f"SELECT record FROM {table}"):  # noqa: S608 - a name from the table above
            yield json.loads(text)

    def put(self, record: Container | Exec | Image) -> None:
        """Save a record in place of the one with its ID. Raises StorageFull."""
        self._write(*_replace(record))

    def settle(self, record: Container | Exec | Image) -> None:
        """The same for what has come to pass already: never refused. Not in a transaction."""
        statement, *values = _replace(record)
        self._write_down(statement, *values)

    def delete(self, record: Container | Exec | Image) -> None:
        """Forget a record: never refused. Not in a transaction."""
        self._write_down(f"DELETE FROM {_TABLES[type(record)]} WHERE id = ?", record.id)  # noqa: S608

    def fact(self, name: str, make: Callable[[], str]) -> str:
        """A word kept for good, such as the daemon's own ID; made at first use."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        if row:
            return str(row[0])
        value = make()
        self._write("INSERT INTO facts VALUES (?, ?)", name, value)
        return value

    def _write(self, statement: str, *values: str) -> None:
        self._catch_up()
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StorageFull(f"the database can't be written: {error}; is there space in the data root?") from error
        self._syncing.soon()
        if not self._reserve.held:
            self._reserve.take()

    def _write_down(self, statement: str, *values: str) -> None:
        self._late.append((statement, values))
        self._catch_up()
        while self._late and self._reserve.give_up():
            log.warning("the data root is full: writing in the room that was kept for that")
            self._catch_up()

    def _catch_up(self) -> None:
        """Write down what is late, as far as there is room."""
        while self._late and not self._depth:
            try:
                self._db.execute(*self._late[0])
            except sqlite3.OperationalError:
                return
            self._late.popleft()
            self._syncing.soon()

    async def synced(self, *directories: str) -> None:
        """Return when all that was written until now, and what was made in these directories, outlives a power cut."""
        await self._syncing.synced(*directories)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes that happen together or not at all. May be nested."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._write("BEGIN IMMEDIATE")
            yield
            if self._depth == 1:
                self._write("COMMIT")
        except BaseException:
            if self._depth == 1 and self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    def close(self) -> None:
        """Fold the log into the database and let go of the data root."""
        self._catch_up()
        self._syncing.close()
        self._db.close()
        self._reserve.close()
        os.close(self._lock)


def _replace(record: Container | Exec | Image) -> tuple[str, str, str]:
    text = json.dumps(records.to_json(record))
    return f"REPLACE INTO {_TABLES[type(record)]} VALUES (?, ?)", record.id, text  # noqa: S608
