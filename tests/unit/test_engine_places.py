"""Where a container's cgroup is: the parent asked for, the daemon's, what an older version left. Plain directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_records import a_container

from cgroups.cgroup import Cgroup
from minirund.bundle import Bundle
from minirund.engine.places import Places, ScopedPlaces, choose, clear_cgroup, recorded
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
    assert places.of(container.but(cgroup=path)).path == places.top.path + path


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


def test_a_slice_is_refused_without_systemd(places: Places) -> None:
    for refused in (lambda: places.check({"CgroupParent": "x.slice"}), lambda: Places(places.top, "x.slice")):
        with pytest.raises(
            InvalidArgument, match=r"'x\.slice': slices are systemd's, and the cgroup driver is cgroupfs"
        ):
            refused()
    never_started = a_container(host_config={"CgroupParent": "x.slice"})  # made by a daemon with the other driver
    assert not places.of(never_started).exists()
    with pytest.raises(InvalidArgument, match="slices are systemd's"):
        places.next(never_started)
    assert places.next(a_container(host_config={"CgroupParent": "/x.slice"})) == f"/x.slice/{ID}"


def test_the_driver_is_cgroupfs_where_systemd_does_not_run(places: Places) -> None:
    assert [choose(places.top, "", driver).driver for driver in ("", "cgroupfs")] == ["cgroupfs", "cgroupfs"]
    with pytest.raises(InvalidArgument, match=r"^--exec-opt native\.cgroupdriver=systemd: systemd is not in charge"):
        choose(places.top, "", "systemd")


def test_with_systemd_every_spawner_has_a_scope_and_its_containers_are_in_it(places: Places) -> None:
    scoped, found = ScopedPlaces(places.top, ""), set()
    for _ in range(2):
        words = scoped.command(["spawner"])
        scope, ident = scoped.next(a_container()).rsplit("/", 1)
        assert ident == ID
        assert f"{places.top.path}{scope}/shims" in words
        found.add(scope)
    assert len(found) == 2
    assert {scope.rsplit("-", 1)[0] for scope in found} == {"/system.slice/minirund"}


def test_with_systemd_the_daemons_slice_or_path_is_where_containers_are(places: Places) -> None:
    for parent, start in (("a-b.slice", "/a.slice/a-b.slice/minirund-"), ("/team", f"/team/{ID}")):
        scoped = ScopedPlaces(places.top, parent)
        scoped.command([])
        assert scoped.next(a_container()).startswith(start)
        scoped.open()
        assert Path(places.top.path, "team").is_dir() == (parent == "/team")
        scoped.close()
        assert not Path(places.top.path, "team").exists()


def test_with_systemd_a_container_in_a_slice_has_a_scope_of_its_own(places: Places) -> None:
    scoped = ScopedPlaces(places.top, "")
    asked = {"CgroupParent": "team.slice"}
    scoped.check(asked)
    first, second = (scoped.next(a_container(host_config=asked)) for _ in range(2))
    assert first != second
    assert first.startswith("/team.slice/minirund-") and first.endswith(f".scope/{ID}")
    with pytest.raises(InvalidArgument, match="should be a valid slice"):
        scoped.check({"CgroupParent": "-team.slice"})
    with pytest.raises(InvalidArgument, match=r"'/team\.slice': a slice has no path in front"):
        scoped.check({"CgroupParent": "/team.slice"})


def test_what_a_daemon_without_systemd_left_goes_with_a_daemon_that_has_it(places: Places) -> None:
    places.open()
    scoped = ScopedPlaces(places.top, "")
    scoped.open()
    scoped.close()
    assert not Path(places.top.path, "minirund").exists()


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
