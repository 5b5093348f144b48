"""Devices: HostConfig's words into nodes and rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgroups.devices import DEFAULT_RULES
from minirund.engine import devices
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

GATHERING = 'error gathering device information while adding custom device "{}": {}'


def host(**entry: str) -> Json:
    return {"Devices": [entry]}


def test_a_node_and_its_rule() -> None:
    null = os.stat("/dev/null")
    wanted = host(PathOnHost="/dev/null", PathInContainer="/dev/hole", CgroupPermissions="r")
    (node,) = devices.nodes(wanted)
    assert node == {
        "path": "/dev/hole", "type": "c", "major": 1, "minor": 3, "fileMode": null.st_mode & 0o7777,
        "uid": null.st_uid, "gid": null.st_gid,
    }  # fmt: skip
    assert devices.rules(wanted)[:-1] == list(DEFAULT_RULES)
    assert devices.rules(wanted)[-1] == {"allow": True, "access": "r", "type": "c", "major": 1, "minor": 3}


def test_the_path_and_the_rights_are_the_host_s_unless_it_is_said() -> None:
    (node,) = devices.nodes(host(PathOnHost="/dev/null"))
    assert node["path"] == "/dev/null"
    assert devices.rules(host(PathOnHost="/dev/null"))[-1]["access"] == "rwm"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a link to a device, a file, and an empty directory."""
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "file").write_text("")
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_a_directory_stands_for_the_nodes_below_it() -> None:
    below = {"/dev/" + name for name in os.listdir("/dev") if Path("/dev", name).is_char_device()}
    below = {path for path in below if not os.path.islink(path)}
    own = {f"/dev/{name}" for name in ("console", "full", "null", "random", "tty", "urandom", "zero", "ptmx")}
    for source in ("/dev", "/dev/"):
        wanted = host(PathOnHost=source, PathInContainer="/dev/all/", CgroupPermissions="rw")
        paths = {node["path"] for node in devices.nodes(wanted)}
        assert {path.replace("/dev/", "/dev/all/") for path in below - own} <= paths
        assert not {path.replace("/dev/", "/dev/all/") for path in own} & paths
        assert len(devices.rules(wanted)) == len(DEFAULT_RULES) + len(paths)


def test_links_and_files_below_a_directory_are_no_devices(directory: Path) -> None:
    words = GATHERING.format(directory, "not a device node, and there is none below it")
    with pytest.raises(InvalidArgument) as caught:
        devices.rules(host(PathOnHost=str(directory)))
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"PathOnHost": "/no/such"}, GATHERING.format("/no/such", "no such file or directory")),
        ({"PathOnHost": ""}, GATHERING.format("", "no such file or directory")),
        ({"PathOnHost": "/etc/passwd"}, GATHERING.format("/etc/passwd", "not a device node")),
        ({"PathOnHost": "/etc/passwd/x"}, GATHERING.format("/etc/passwd/x", "not a directory")),
        ({"PathOnHost": "/dev/null", "CgroupPermissions": "x"}, "invalid device mode: x: use some of r, w and m"),
        ({"PathOnHost": "/dev/null", "PathInContainer": "x"}, "invalid device: x is not an absolute path"),
        ({"PathOnHost": "/dev", "PathInContainer": "x"}, "invalid device: x is not an absolute path"),
    ],
)
@pytest.mark.parametrize("privileged", [False, True])
def test_what_is_no_device(entry: Json, message: str, privileged: bool) -> None:
    with pytest.raises(InvalidArgument) as caught:
        devices.rules({"Devices": [entry], "Privileged": privileged})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c 42:* rmw", {"type": "c", "access": "rmw", "major": 42}),
        ("b *:1 r", {"type": "b", "access": "r", "minor": 1}),
        ("a *:* rwm", {"type": "a", "access": "rwm"}),
    ],
)
def test_rules_as_they_are_written(text: str, expected: Json) -> None:
    assert devices.rules({"DeviceCgroupRules": [text]})[-1] == {"allow": True} | expected


@pytest.mark.parametrize("text", ["", "c 1:3", "x 1:3 rwm", "c 1 rwm", "c 1:3 x", "c  1:3 r", "c 1:3 rwmr", "c -1:3 r"])
@pytest.mark.parametrize("privileged", [False, True])
def test_what_is_no_rule(text: str, privileged: bool) -> None:
    with pytest.raises(InvalidArgument) as caught:
        devices.rules({"DeviceCgroupRules": [text], "Privileged": privileged})
    assert str(caught.value) == f"invalid device cgroup rule format: '{text}': use one like 'c 42:* rmw'"


def test_a_privileged_container_has_all_of_them_but_the_runtime_s_own() -> None:
    assert devices.rules({"Privileged": True}) == [{"allow": True, "access": "rwm"}]
    paths = [node["path"] for node in devices.nodes({"Privileged": True})]
    assert not set(paths) & {"/dev/null", "/dev/tty", "/dev/ptmx"}
    assert all(os.path.exists(path) for path in paths)
    named = [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/hole"}, {"PathOnHost": "/dev/zero"}]
    assert [node["path"] for node in devices.nodes({"Privileged": True, "Devices": named})] == [*paths, "/dev/hole"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("/no/such", "no such file or directory"), ("/etc", "not a device node"), ("/dev/null", "not a block device")],
)
def test_what_is_no_disk(path: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        devices.disk(path, "--device-read-bps")
    assert str(caught.value) == f'invalid device for --device-read-bps: "{path}": {why}'


def blocks(*, partition: bool) -> list[str]:
    """The block devices of this machine that have a node."""
    names = [Path(link).name for link in Path("/sys/class/block").glob("*")]
    return [
        f"/dev/{name}"
        for name in sorted(names)
        if Path("/sys/class/block", name, "partition").exists() == partition and Path("/dev", name).is_block_device()
    ]


def test_a_disk_and_a_partition() -> None:
    for path in blocks(partition=False)[:1]:
        number = os.stat(path).st_rdev
        assert devices.disk(path, "") == {"major": os.major(number), "minor": os.minor(number)}
    for path in blocks(partition=True)[:1]:
        with pytest.raises(InvalidArgument, match=f'"{path}": a partition: the kernel limits whole disks'):
            devices.disk(path, "--device-read-bps")
