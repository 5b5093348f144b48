"""Binds, mounts and tmpfs: what they become, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirund.engine import mounts
from minirund.engine.records import Json
from minirund.errors import InvalidArgument, MinirundError, NotSupported


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("/a:/b", ("/a", "/b", [])), ("/a/../c/:/b/", ("/c", "/b", [])), ("/a:/b:ro,z", ("/a", "/b", ["ro", "z"])),
    ],
)  # fmt: skip
def test_split_bind(spec: str, parts: tuple[str, str, list[str]]) -> None:
    assert mounts.split_bind(spec) == parts


def bind(mode: str) -> list[str]:
    (mount,) = mounts.wanted({"Binds": [f"/tmp:/t{mode}"]})
    return mount["options"]


def test_options_of_binds() -> None:
    assert bind("") == ["rbind", "rw", "rprivate"]
    assert bind(":ro") == ["rbind", "ro", "rprivate"]
    assert bind(":ro,rshared") == ["rbind", "ro", "rshared"]


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({"Type": "tmpfs", "Target": "/t"}, ["noexec", "nosuid", "nodev"]),
        ({"Type": "tmpfs", "Target": "/t", "ReadOnly": True, "TmpfsOptions": {"SizeBytes": 5, "Mode": 0o700}},
         ["noexec", "nosuid", "nodev", "ro", "size=5", "mode=700"]),
        ({"Type": "bind", "Source": "/tmp", "Target": "/t", "BindOptions": {"NonRecursive": True}},
         ["bind", "rw", "rprivate"]),
        ({"Type": "bind", "Source": "/tmp", "Target": "/t", "ReadOnly": True, "BindOptions": {"Propagation": "slave"}},
         ["rbind", "ro", "slave"]),
    ],
)  # fmt: skip
def test_mounts(mount: Json, expected: list[str]) -> None:
    (found,) = mounts.wanted({"Mounts": [mount]})
    assert (found["destination"], found["options"]) == ("/t", expected)


def test_nearer_to_the_root_comes_first() -> None:
    host = {"Binds": ["/tmp:/a/b/c", "/tmp:/a"], "Tmpfs": {"/a/b": "size=1m,exec"}}
    found = mounts.wanted(host)
    assert [mount["destination"] for mount in found] == ["/a", "/a/b", "/a/b/c"]
    assert found[1]["options"] == ["noexec", "nosuid", "nodev", "size=1m", "exec"]


def test_a_missing_source_is_made_for_binds_only(tmp_path: Path) -> None:
    mounts.wanted({"Binds": [f"{tmp_path}/new/er:/t"]})
    assert (tmp_path / "new/er").is_dir()
    long = {"Type": "bind", "Source": f"{tmp_path}/other", "Target": "/t"}
    with pytest.raises(InvalidArgument, match="bind source path does not exist"):
        mounts.wanted({"Mounts": [long]})
    mounts.wanted({"Mounts": [{**long, "BindOptions": {"CreateMountpoint": True}}]})
    assert (tmp_path / "other").is_dir()


def test_a_source_that_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="error while creating mount source path"):
        mounts.wanted({"Binds": [f"{tmp_path}/file/x:/t"]})


@pytest.mark.parametrize(
    ("host", "error", "message"),
    [
        ({"Binds": ["/a"]}, InvalidArgument, "invalid volume specification"),
        ({"Binds": ["/a:/b:/c:d"]}, InvalidArgument, "invalid volume specification"),
        ({"Binds": ["/a::ro"]}, InvalidArgument, "invalid volume specification"),
        ({"Binds": ["/a:/b:what"]}, InvalidArgument, "invalid mode: what"),
        ({"Binds": ["/tmp:b"]}, InvalidArgument, "mount path must be absolute"),
        ({"Binds": ["/tmp:/"]}, InvalidArgument, "destination can't be '/'"),
        ({"Binds": ["/tmp:/x/.."]}, InvalidArgument, "destination can't be '/'"),
        ({"Binds": ["/tmp://"]}, InvalidArgument, "destination can't be '/'"),
        ({"Binds": ["/tmp:/b", "/usr:/b/"]}, InvalidArgument, "Duplicate mount point: /b"),
        ({"Binds": ["/tmp:/b"], "Tmpfs": {"/b": ""}}, InvalidArgument, "Duplicate mount point: /b"),
        ({"Binds": ["volume:/b"]}, NotSupported, "named volumes are not offered yet"),
        ({"Binds": ["relative/x:/b"]}, InvalidArgument, "create relative/x: .* use absolute path"),
        ({"Binds": ["~/x:/b"]}, InvalidArgument, "create ~/x: .* use absolute path"),
        ({"Binds": ["x:/b"]}, InvalidArgument, "create x: volume name is too short"),
        ({"Mounts": [{"Type": "volume", "Target": "/b"}]}, NotSupported, '"volume" are not offered yet'),
        ({"Mounts": [{"Type": "magic", "Target": "/b"}]}, InvalidArgument, 'type "magic": mount type unknown'),
        ({"Mounts": [{"Type": "bind", "Source": "x", "Target": "/b"}]}, InvalidArgument, "must be absolute"),
        ({"Mounts": [{"Type": "tmpfs"}]}, InvalidArgument, "must be absolute"),
    ],
)
def test_what_can_t_be_mounted(host: Json, error: type[MinirundError], message: str) -> None:
    with pytest.raises(error, match=message):
        mounts.wanted(host)


def test_what_all_have() -> None:
    usual = {mount["destination"]: mount for mount in mounts.system({})}
    assert set(usual) == {"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"}
    assert "ro" in usual["/sys"]["options"] and "size=67108864" in usual["/dev/shm"]["options"]
    special = {mount["destination"]: mount for mount in mounts.system({"Privileged": True, "ShmSize": 5})}
    assert "rw" in special["/sys"]["options"] and "size=5" in special["/dev/shm"]["options"]
