"""What an update changes: cgroup files (here in a plain directory), config.json, the record; and all of it or nothing.

Live: tests/api/test_update.py; on a kernel with the controllers: tests/vm/test_vm_limits.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_records import a_container

from cgroups.cgroup import Cgroup
from minirund.bundle import Bundle
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.engine.store import Store
from minirund.engine.updates import Updates
from minirund.engine.waiters import Live
from minirund.errors import Conflict, EngineError, InvalidArgument, MinirundError, NotFound, NotSupported, StorageFull

POLICY = {"Name": "on-failure", "MaximumRetryCount": 3}


class Motion:
    """What is needed of the runner: locks, and the places of one container."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lives: dict[str, Live] = {}

    def live(self, ident: str) -> Live:
        return self._lives.setdefault(ident, Live())

    def cgroup(self, _container: Container) -> Cgroup:
        return Cgroup(f"{self._directory}/cgroup")

    def bundle(self, _container: Container) -> Bundle:
        return Bundle(str(self._directory), str(self._directory))

    async def to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        await work


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    store = Store(f"{tmp_path}/db")
    yield Catalog(store)
    store.close()


def update(catalog: Catalog, ref: str, **asked: Any) -> list[str]:
    return asyncio.run(updates(catalog, Path("/nowhere")).update(ref, asked))


def updates(catalog: Catalog, directory: Path) -> Updates:
    return Updates(catalog, Motion(directory), Events(), Cgroup(f"{directory}/cgroup"))  # type: ignore[arg-type]


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


# --- limits

OLD, NEW = 8 << 20, 9 << 20  # of one length: a plain directory's files keep the end of a longer text
FILES = {"cgroup.controllers": "pids memory", "pids.max": "9", "memory.max": str(OLD), "memory.swap.max": str(OLD)}
_SECTIONS = {"memory": {"limit": OLD, "swap": 2 * OLD}, "pids": {"limit": 9}}
CONFIG = {"linux": {"resources": {"devices": [1], **_SECTIONS}, "maskedPaths": []}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A bundle with a cgroup in it, of a container that may have nine processes."""
    (tmp_path / "cgroup").mkdir()
    for name, text in FILES.items():
        (tmp_path / "cgroup" / name).write_text(text)
    Bundle(str(tmp_path), "").write_config(CONFIG)
    return tmp_path


def files(place: Path) -> dict[str, str]:
    return {name: (place / "cgroup" / name).read_text().strip() for name in FILES}


def change(catalog: Catalog, place: Path, **asked: Any) -> None:
    asyncio.run(updates(catalog, place).update("name1", asked))


def nine(**special: Any) -> Container:
    return a_container(**({"host_config": {"PidsLimit": 9, "Memory": OLD}, "status": Status.RUNNING} | special))


@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED])
def test_limits_of_what_runs(catalog: Catalog, place: Path, status: Status) -> None:
    catalog.put(nine(status=status))
    change(catalog, place, PidsLimit=5, Memory=NEW)
    assert files(place) == {**FILES, "pids.max": "5", "memory.max": str(NEW), "memory.swap.max": str(NEW)}
    assert Bundle(str(place), "").read_config() == {
        "linux": {
            "resources": {"devices": [1], "memory": {"limit": NEW, "swap": 2 * NEW}, "pids": {"limit": 5}},
            "maskedPaths": [],
        }
    }
    host = catalog.get("1" * 64).host_config
    assert (host["PidsLimit"], host["Memory"]) == (5, NEW)
    change(catalog, place, PidsLimit=-1)
    assert files(place)["pids.max"] == "max"


@pytest.mark.parametrize("status", [Status.CREATED, Status.EXITED, Status.RESTARTING])
def test_what_does_not_run_has_no_cgroup_to_change(catalog: Catalog, place: Path, status: Status) -> None:
    catalog.put(nine(status=status))
    change(catalog, place, PidsLimit=5)
    assert files(place) == FILES
    assert Bundle(str(place), "").read_config()["linux"]["resources"]["pids"] == {"limit": 5}
    assert catalog.get("1" * 64).host_config["PidsLimit"] == 5


def test_one_that_never_ran_has_no_configuration(catalog: Catalog, place: Path) -> None:
    Path(Bundle(str(place), "").config_path).unlink()
    catalog.put(nine(status=Status.CREATED))
    change(catalog, place, PidsLimit=5)
    assert not Path(Bundle(str(place), "").config_path).exists()


def refused(catalog: Catalog, place: Path, error: type[MinirundError], message: str, **asked: Any) -> None:
    before = catalog.put(nine())
    with pytest.raises(error, match=message):
        change(catalog, place, **asked)
    assert (files(place), Bundle(str(place), "").read_config(), catalog.get(before.id)) == (FILES, CONFIG, before)


def test_a_missing_controller(catalog: Catalog, place: Path) -> None:
    refused(catalog, place, NotSupported, "'cpu'", PidsLimit=5, CpuShares=5)


def test_a_file_that_the_kernel_lacks(catalog: Catalog, place: Path) -> None:
    (place / "cgroup/cgroup.controllers").write_text(FILES["cgroup.controllers"] + " cpu")
    with pytest.raises(NotSupported, match=r"Cannot update container 1+: .* cgroup file cpu.weight"):
        change(catalog.put(nine()) and catalog, place, PidsLimit=5, CpuShares=5)
    assert files(place)["pids.max"] == "9"


def test_what_the_cgroup_refuses_is_taken_back(catalog: Catalog, place: Path) -> None:
    (place / "cgroup/cgroup.controllers").write_text(FILES["cgroup.controllers"] + " cpuset cpu")
    (place / "cgroup/pids.max").unlink()
    (place / "cgroup/pids.max").mkdir()  # no write comes through here
    catalog.put(nine())
    with pytest.raises(EngineError, match=r"Cannot update container 1+"):
        change(catalog, place, Memory=NEW, PidsLimit=5)
    assert (place / "cgroup/memory.max").read_text() == str(OLD)
    assert Bundle(str(place), "").read_config() == CONFIG


def test_a_full_disk_takes_all_back(catalog: Catalog, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_record: Container) -> Container:
        raise StorageFull("no space left on device")

    before = catalog.put(nine())
    with monkeypatch.context() as patched:
        patched.setattr(catalog, "put", full)
        with pytest.raises(StorageFull):
            change(catalog, place, PidsLimit=5, Memory=NEW)
    assert (files(place), Bundle(str(place), "").read_config(), catalog.get(before.id)) == (FILES, CONFIG, before)


def test_warnings_are_those_of_create(catalog: Catalog, place: Path) -> None:
    (place / "cgroup/child").mkdir()
    (place / "cgroup/child/cgroup.controllers").write_text("memory")
    (place / "cgroup/child/memory.max").write_text("max")  # and no file for swap
    container = catalog.put(nine())
    (warning,) = asyncio.run(updates(catalog, place).update("name1", {"Memory": NEW}))
    assert "swap" in warning
    assert catalog.get(container.id).host_config["MemorySwap"] == -1


def test_a_cgroup_that_has_gone_is_no_error(catalog: Catalog, place: Path) -> None:
    """The container ended a moment ago, and nobody has heard of it yet."""
    whole = place / "cgroup"
    whole.rename(place / "gone")
    container = catalog.put(nine())
    asyncio.run(
        Updates(catalog, Motion(place), Events(), Cgroup(f"{place}/gone")).update(container.id, {"PidsLimit": 5})  # type: ignore[arg-type]
    )
    assert catalog.get(container.id).host_config["PidsLimit"] == 5
