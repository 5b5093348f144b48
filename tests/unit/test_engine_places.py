"""Where a container's cgroup is: the parent asked for, the daemon's, what an older version left. Plain directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_records import a_container

from cgroups.cgroup import Cgroup
from minirund.bundle import Bundle
from minirund.engine.places import Places, clear_cgroup, recorded
from minirund.errors import InvalidArgument

ID = a_container().id


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "top").mkdir()
    return Places(Cgroup(f"{tmp_path}/top"), "")


@pytest.mark.parametrize(
    ("asked", "path"),
    [("", f"/minirund/{ID}"), ("/team/build", f"/team/build/{ID}"), ("team", f"/team/{ID}"), ("/", f"/{ID}")],
)
def test_a_container_is_below_its_parent_or_the_daemons(places: Places, asked: str, path: str) -> None:
    container = a_container(host_config={"CgroupParent": asked})
    places.check(container.host_config)
    assert places.next(container) == path
    assert places.of(container).path == places.top.path + path


def test_the_daemons_parent_can_be_chosen(places: Places) -> None:
    assert Places(places.top, "elsewhere/").next(a_container()) == f"/elsewhere/{ID}"


def test_the_record_says_where_it_is_whatever_the_daemons_parent(places: Places) -> None:
    assert places.of(a_container(cgroup="/before/x")).path == f"{places.top.path}/before/x"


def test_a_parent_that_can_not_be_is_refused_by_name(places: Places) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid cgroup parent \(--cgroup-parent\) '\.\./x': '\.\.' is not"):
        places.check({"CgroupParent": "../x"})
    Path(places.top.path, "file").write_text("")
    with pytest.raises(InvalidArgument, match="'file/x': /file is a file"):
        places.check({"CgroupParent": "file/x"})
    with pytest.raises(InvalidArgument, match="'/file': /file is a file"):
        Places(places.top, "/file")


def test_the_daemons_parent_is_made_and_goes_only_if_it_was_made_here(places: Places) -> None:
    places.open()
    assert Path(places.top.path, "minirund").is_dir()
    others = Places(places.top, "/others/mine")
    Path(places.top.path, "others").mkdir()
    others.open()
    others.close()
    assert Path(places.top.path, "others").is_dir()
    places.open()
    Path(places.top.path, "minirund/child").mkdir()
    places.close()
    assert Path(places.top.path, "minirund/child").is_dir()


def test_an_older_versions_bundle_names_its_cgroup(tmp_path: Path, places: Places) -> None:
    bundle = Bundle(f"{tmp_path}/{ID}", f"{tmp_path}/run")
    assert recorded(bundle) == ""
    assert places.left_by(bundle).path == f"{places.top.path}/minirund/{ID}"
    Path(bundle.directory).mkdir()
    bundle.write_config({"linux": {"cgroupsPath": f"before/{ID}"}})  # type: ignore[typeddict-item]
    assert recorded(bundle) == f"/before/{ID}"
    assert places.left_by(bundle).path == f"{places.top.path}/before/{ID}"


def test_clearing_what_is_not_there_is_fine(places: Places) -> None:
    clear_cgroup(places.of(a_container()))
