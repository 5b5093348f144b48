"""Records in Docker's shapes, without a server."""

from __future__ import annotations

import dataclasses

import pytest
from api_engine import IMAGE, IMAGE_CONFIG

from minirund.api import image_views, views
from minirund.bundle import Bundle
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container, Endpoint, Exec

SECOND = 1_000_000_000
BUNDLE = Bundle("/data/x", "/run/x")
MINUTE, HOUR, DAY = 60, 3600, 86400

CONTAINER = Container(
    id="a" * 64, name="x", image="busybox", image_id=IMAGE.id, layers=(), config={"Image": "busybox"},
    host_config={}, args=("sh", "-c", "echo it's me"), created=1_700_000_000_000_000_000,
)  # fmt: skip


def no_network(_: str) -> str:
    return ""


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_times(nanoseconds: int, text: str) -> None:
    assert views.rfc3339(nanoseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"), (0, "Less than a second"), (1, "1 second"), (2, "2 seconds"), (59, "59 seconds"),
        (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"), (59 * MINUTE + 59, "59 minutes"),
        (HOUR, "About an hour"), (89 * MINUTE, "About an hour"), (90 * MINUTE, "2 hours"), (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"), (13 * DAY, "13 days"), (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"), (729 * DAY, "24 months"), (730 * DAY, "2 years"), (3650 * DAY, "10 years"),
    ],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert views.duration(seconds * SECOND) == text


@pytest.mark.parametrize(
    ("status", "text", "true"),
    [
        (Status.CREATED, "Created", set()),
        (Status.RUNNING, "Up 2 minutes", {"Running"}),
        (Status.PAUSED, "Up 2 minutes (Paused)", {"Running", "Paused"}),
        (Status.RESTARTING, "Restarting (3) 5 seconds ago", {"Running", "Restarting"}),
        (Status.EXITED, "Exited (3) 5 seconds ago", set()),
        (Status.REMOVING, "Removal In Progress", set()),
        (Status.DEAD, "Dead", {"Dead"}),
    ],
)
def test_a_state_as_a_word_and_as_booleans(status: Status, text: str, true: set[str]) -> None:
    now = 1_700_000_500 * SECOND
    one = CONTAINER.but(status=status, exit_code=3, pid=9, started=now - 125 * SECOND, finished=now - 5 * SECOND)
    assert views.status_text(one, now) == text
    state = views.state(one)
    assert {key for key, value in state.items() if value is True} == true
    assert (state["Status"], state["Pid"]) == (status.value, 9 if one.alive else 0)


def test_every_status_has_a_text() -> None:
    assert all(views.status_text(CONTAINER.but(status=status)) for status in Status)


def test_an_empty_host_config_is_filled_in() -> None:
    full = views.host_config({})
    assert full["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert full["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert (full["NetworkMode"], full["ShmSize"], full["ConsoleSize"]) == ("bridge", 1 << 26, [0, 0])
    assert (full["Binds"], full["CapAdd"], full["Memory"]) == (None, None, 0)
    assert "/proc/kcore" in full["MaskedPaths"]
    assert not {"Mounts", "Tmpfs", "Sysctls", "Init"} & set(full)


def test_what_was_asked_for_stays() -> None:
    asked = {
        "NetworkMode": "host", "Dns": [], "Mounts": [{"Type": "tmpfs", "Target": "/t"}], "MaskedPaths": [],
        "Privileged": True, "RestartPolicy": {"Name": "always"}, "Init": True, "Sysctls": {"net.a": "1"},
    }  # fmt: skip
    full = views.host_config(asked)
    assert {key: full[key] for key in ("NetworkMode", "Dns", "MaskedPaths", "Init", "Sysctls")} == {
        key: asked[key] for key in ("NetworkMode", "Dns", "MaskedPaths", "Init", "Sysctls")
    }
    assert (full["RestartPolicy"]["Name"], full["ReadonlyPaths"]) == ("always", [])
    assert full["Mounts"][0]["Target"] == "/t"


def test_mount_points() -> None:
    host = {
        "Binds": ["/a:/b", "/c:/d:ro,rslave"],
        "Mounts": [
            {"Type": "bind", "Source": "/e", "Target": "/f", "BindOptions": {"Propagation": "shared"}},
            {"Type": "tmpfs", "Target": "/t", "ReadOnly": True},
        ],
    }
    found = [(one["Destination"], one["RW"], one["Propagation"], one["Mode"]) for one in views.mounts(host)]
    assert found == [
        ("/b", True, "rprivate", ""), ("/d", False, "rslave", "ro,rslave"), ("/f", True, "shared", ""),
        ("/t", False, "", ""),
    ]  # fmt: skip


def test_addresses_are_there_while_it_runs() -> None:
    endpoint = Endpoint(address="172.17.0.2", prefix=16, gateway="172.17.0.1", mac="02:42:ac:11:00:02", endpoint_id="e")
    networking = {"EndpointsConfig": {"bridge": {"Aliases": ["me"]}}}
    running = CONTAINER.but(status=Status.RUNNING, pid=5, endpoint=endpoint, networking=networking)
    for one, address in ((running, "172.17.0.2"), (running.but(status=Status.EXITED), "")):
        settings = views.inspect(one, lambda name: f"id of {name}", BUNDLE)["NetworkSettings"]
        bridge = settings["Networks"]["bridge"]
        assert (bridge["IPAddress"], settings["IPAddress"]) == (address, address)
        assert (bridge["NetworkID"], bridge["Aliases"]) == ("id of bridge", ["me"])
    shared = CONTAINER.but(host_config={"NetworkMode": "container:y"})
    assert views.inspect(shared, no_network, BUNDLE)["NetworkSettings"]["Networks"] == {}
    assert views.summary(shared, no_network)["HostConfig"] == {"NetworkMode": "container:y"}


def test_commands_and_ports() -> None:
    assert views.summary(CONTAINER, no_network)["Command"] == "sh -c 'echo it's me'"
    exposing = CONTAINER.but(status=Status.RUNNING, config={"ExposedPorts": {"80/tcp": {}, "53/udp": {}}})
    assert views.summary(exposing, no_network)["Ports"] == [
        {"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}
    ]  # fmt: skip
    assert views.inspect(exposing, no_network, BUNDLE)["NetworkSettings"]["Ports"] == {"80/tcp": None, "53/udp": None}


def test_inspect_shows_where_its_files_are_once_it_has_started() -> None:
    assert views.inspect(CONTAINER.but(started=0), no_network, BUNDLE)["LogPath"] == ""
    seen = views.inspect(CONTAINER.but(started=1), no_network, BUNDLE, ["e1"])
    assert (seen["LogPath"], seen["HostsPath"]) == ("/data/x/container.log", "/run/x/hosts")
    assert (seen["ExecIDs"], seen["GraphDriver"]["Data"]["UpperDir"]) == (["e1"], "/data/x/rw/upper")


def test_inspect_shows_path_and_arguments() -> None:
    seen = views.inspect(CONTAINER, no_network, BUNDLE)
    assert (seen["Path"], seen["Args"], seen["Name"]) == ("sh", ["-c", "echo it's me"], "/x")
    assert seen["Config"]["Hostname"] == "a" * 12
    assert (seen["Config"]["Cmd"], seen["Config"]["Labels"]) == (None, {})


def test_an_exec_that_ended() -> None:
    record = Exec("e", "c", {"Cmd": ["true"], "Tty": True}, 1, started=True, exit_code=2)
    seen = views.exec_inspect(record)
    assert (seen["Running"], seen["ExitCode"], seen["ProcessConfig"]["tty"]) == (False, 2, True)
    assert "user" not in seen["ProcessConfig"]


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("docker.io/library/alpine:3", "alpine:3"), ("docker.io/me/tool:1", "me/tool:1"),
        ("reg:5000/library/x:1", "reg:5000/library/x:1"), ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
    ],
)  # fmt: skip
def test_familiar_names(full: str, short: str) -> None:
    assert image_views.familiar(full) == short


def test_images_with_little_in_their_configuration() -> None:
    bare = dataclasses.replace(IMAGE, tags=(), digests=())
    seen = image_views.inspect(bare, {"architecture": "arm", "variant": "v7", "config": None, "history": None})
    assert (seen["RepoTags"], seen["Variant"], seen["Config"]["Cmd"]) == ([], "v7", None)
    assert (seen["Created"], seen["RootFS"]["Layers"]) == ("2023-11-14T22:13:20Z", [])
    assert "Variant" not in image_views.inspect(IMAGE, IMAGE_CONFIG)
