"""What is not offered is refused by name, and what means "nothing" is no request."""

from __future__ import annotations

from typing import Any

import pytest

from minirund.engine import offered
from minirund.errors import InvalidArgument, MinirundError, NotSupported

NOTHING: dict[str, Any] = {
    "PortBindings": {}, "PublishAllPorts": False, "VolumesFrom": None, "Links": [],
    "VolumeDriver": "local", "UsernsMode": "host", "StorageOpt": None, "DeviceRequests": None, "CgroupParent": "",
    "Isolation": "default", "Runtime": "runc", "LogConfig": {"Type": "local"},
    "PidMode": "host", "IpcMode": "container:x", "UTSMode": "", "CgroupnsMode": "private",
}  # fmt: skip


def test_values_that_ask_for_nothing() -> None:
    offered.check({}, {})
    offered.check(NOTHING, {"EndpointsConfig": {"bridge": None}})
    offered.check_config({"Healthcheck": {"Test": ["NONE"]}, "Volumes": {}, "MacAddress": ""})


@pytest.mark.parametrize(
    ("host", "error", "message"),
    [
        ({"PortBindings": {"80/tcp": [{}]}}, NotSupported, "are not offered yet"),
        ({"Runtime": "kata"}, InvalidArgument, "unknown or invalid runtime name: kata"),
        ({"LogConfig": {"Type": "syslog"}}, NotSupported, 'logging driver "syslog" is not offered'),
        ({"LogConfig": {"Type": "what"}}, InvalidArgument, 'plugin "what" not found'),
        ({"PidMode": "what"}, InvalidArgument, "invalid PidMode: what"),
        ({"UTSMode": "container:x"}, InvalidArgument, "invalid UTSMode"),
    ],
)
def test_refused(host: dict[str, Any], error: type[MinirundError], message: str) -> None:
    with pytest.raises(error, match=message):
        offered.check(host, {})


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("mine", {}), ("bridge", {"Aliases": ["a"]}), ("bridge", {"IPAMConfig": {"IPv4Address": "1"}})],
)
def test_networks(name: str, endpoint: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        offered.check({}, {"EndpointsConfig": {name: endpoint}})


@pytest.mark.parametrize(
    "config", [{"Volumes": {"/x": {}}}, {"Healthcheck": {"Test": ["CMD", "x"]}}, {"MacAddress": "x"}]
)
def test_the_user_s_own_configuration(config: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        offered.check_config(config)
