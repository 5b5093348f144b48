"""Namespaces that are joined, the files over /etc, and what the daemon says of limits and file systems."""

from __future__ import annotations

import pytest
from engine_records import a_container

from minirund.engine.network import Place, mode_of
from minirund.engine.preparation import _joins, without_own_files
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

OTHER = a_container(2, pid=7)


@pytest.mark.parametrize(
    ("host", "place", "others", "joins"),
    [
        ({}, Place(), {}, {}),
        ({}, Place(join=""), {}, {"network": ""}),
        ({}, Place(join="/proc/7/ns/net"), {"network": OTHER}, {"network": "/proc/7/ns/net"}),
        ({"PidMode": "host", "UTSMode": "host"}, Place(), {}, {"pid": "", "uts": ""}),
        ({"IpcMode": "container:x"}, Place(), {"ipc": OTHER}, {"ipc": "/proc/7/ns/ipc"}),
        ({"CgroupnsMode": "host", "IpcMode": "private"}, Place(), {}, {"cgroup": ""}),
    ],
)
def test_namespaces(host: Json, place: Place, others: dict[str, object], joins: dict[str, str]) -> None:
    assert _joins(host, place, others) == joins  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ([], []),
        ([(0, "/etc"), (1, "/etc/hosts"), (1, "/x")], [(1, "/x")]),
        ([(0, "/etc"), (1, "/etc/hosts"), (1, "/etc/mine")], [(0, "/etc"), (1, "/etc/mine")]),
        ([(0, "/etc"), (1, "/etc/hostsfile")], [(0, "/etc"), (1, "/etc/hostsfile")]),
        ([(0, "/etc")], [(0, "/etc")]),
    ],
)
def test_changes_without_the_runtime_s_own(changes: list[tuple[int, str]], shown: list[tuple[int, str]]) -> None:
    assert without_own_files(changes) == shown


@pytest.mark.parametrize(
    ("mode", "found"),
    [("", "bridge"), ("default", "bridge"), ("none", "none"), ("host", "host"), ("container:x", "container:x")],
)
def test_network_modes(mode: str, found: str) -> None:
    assert mode_of({"NetworkMode": mode}) == found
    with pytest.raises(InvalidArgument, match="network mine not found"):
        mode_of({"NetworkMode": "mine"})
