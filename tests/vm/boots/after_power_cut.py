"""After the plug was pulled under load: what was answered is there, what is listed is whole, and work goes on.

The ledger is load.py's, of this boot and all before it. Run by the host (vagrant/qemu/scenes.py), which pulls the plug.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from guest import IMAGE, api, minirun, systemctl
from waiting import until

from minirund.engine.ready import SIZE

DATA = Path("/var/lib/minirund")
STARTED = 4
"""How many of the newest containers are started again: each takes the emulated machine a second."""


@pytest.fixture(scope="module")
def ledger() -> list[dict[str, Any]]:
    """What the load noted, oldest first."""
    return [json.loads(line) for line in Path(os.environ["LEDGER"]).read_text().splitlines()]


@pytest.fixture(scope="module")
def loaded(ledger: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The images that must be there."""
    gone = {line["id"] for line in ledger if line["did"] == "removing"}
    return [line for line in ledger if line["did"] == "loaded" and line["id"] not in gone]


def listed() -> dict[str, str]:
    """All containers: ID to state."""
    lines = minirun("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}").splitlines()
    return dict(line.split() for line in lines)


def layer_directory(chain: str) -> Path:
    return DATA / "layers" / chain.partition(":")[2][:16]


def test_the_load_had_work_done_and_was_not_refused(ledger: list[dict[str, Any]]) -> None:
    assert {"created", "loaded", "tagged"} <= {line["did"] for line in ledger}
    assert [line for line in ledger if line["did"] == "refused"] == []


def test_minirund_runs_and_nothing_else_has_failed() -> None:
    assert systemctl("is-active", "minirund.service") == "active"
    assert systemctl("list-units", "--failed", "--plain", "--no-legend") == ""


def test_no_container_is_lost(ledger: list[dict[str, Any]]) -> None:
    gone = {line["id"] for line in ledger if line["did"] == "removing"}
    there = listed()
    assert [line for line in ledger if line["did"] == "created" and line["id"] not in gone | set(there)] == []


def test_no_image_is_lost(loaded: list[dict[str, Any]]) -> None:
    images = json.loads(minirun("image", "inspect", *(line["name"] for line in loaded)))
    assert [one["Id"] for one in images] == [line["id"] for line in loaded]


def test_no_name_is_lost(ledger: list[dict[str, Any]]) -> None:
    names = set(minirun("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines())
    assert [line for line in ledger if line["did"] == "tagged" and line["name"] not in names] == []


def test_layers_hold_what_was_put_into_them(loaded: list[dict[str, Any]]) -> None:
    for line in loaded:
        files = layer_directory(line["layer"]) / "diff"
        assert hashlib.sha256((files / "payload").read_bytes()).hexdigest() == line["sha256"], line
        assert [(files / f"many/{one}").read_text() for one in range(20)] == [str(one) for one in range(20)]


def test_every_listed_image_is_whole() -> None:
    """Also those that no answer was given for: whatever has a name has a configuration and all its layers."""
    for ident in set(minirun("images", "-q", "--no-trunc").split()):
        shown = api("GET", f"/images/{ident}/json")[1]
        blob = (DATA / "images/blobs/sha256" / ident.partition(":")[2]).read_bytes()
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == ident
        assert len(shown["RootFS"]["Layers"]) >= 1
        assert (layer_directory(shown["RootFS"]["Layers"][0]) / "layer.json").stat().st_size > 0


def test_every_listed_container_is_whole(ledger: list[dict[str, Any]]) -> None:
    """It has its directories, and the newest can be started."""
    there = listed()
    assert set(there.values()) <= {"created", "exited"}
    for ident in there:
        assert (DATA / "containers" / ident / "rw/work").is_dir(), ident
    removing = {line["id"] for line in ledger if line["did"] == "removing"}
    newest = [line["id"] for line in ledger if line["did"] == "created" and line["id"] in there][-STARTED:]
    chosen = set(newest) | removing & set(there)
    for ident in chosen:
        assert api("POST", f"/containers/{ident}/start") == (204, "")
        assert api("GET", f"/containers/{ident}/json")[1]["State"]["Running"]
    for ident in chosen:
        assert api("POST", f"/containers/{ident}/kill") == (204, "")


def test_nothing_half_made_is_there() -> None:
    """Directories that wait for the next containers hold nothing yet."""
    containers, there = {path.name: path for path in (DATA / "containers").iterdir()}, set(listed())
    assert there <= set(containers)
    waiting = [path for name, path in containers.items() if name not in there]
    assert len(waiting) <= SIZE
    assert [file for path in waiting for _, _, files in os.walk(path) for file in files] == []
    until(lambda: list((DATA / "trash").iterdir()) == [], "the trash is not emptied")  # behind the daemon's start
    assert list((DATA / "layers").glob("*.tmp")) == []
    assert list((DATA / "images/ingest").iterdir()) == []


def test_the_database_is_sound(tmp_path: Path) -> None:
    """On a copy: the daemon has the original."""
    for file in DATA.glob("minirund.db*"):
        shutil.copy(file, tmp_path)
    database = sqlite3.connect(tmp_path / "minirund.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_a_container_starts_and_reaches_its_network() -> None:
    shown = minirun("run", "--rm", IMAGE, "sh", "-c", "ip -4 addr show eth0; echo works")
    assert "inet 172." in shown
    assert shown.endswith("works\n")
