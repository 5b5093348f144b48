"""Paths of the host's may be of a server that has gone. Who names one waits; nobody else does."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from daemon import DaemonHost
from hanging import hanging

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this kernel has no FUSE")


def rate(key: str) -> Callable[[str], Any]:
    return lambda path: {key: [{"Path": path, "Rate": 1 << 20}]}


ASKED: dict[str, Callable[[str], Any]] = {
    "a bind": lambda path: {"Binds": [f"{path}:/x"]},
    "a mount": lambda path: {"Mounts": [{"Type": "bind", "Source": path, "Target": "/x"}]},
    "a device": lambda path: {"Devices": [{"PathOnHost": path, "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]},
    "a disk's rate": rate("BlkioDeviceReadBps"),
    "a disk's weight": lambda path: {"BlkioWeightDevice": [{"Path": path, "Weight": 100}]},
}


def others_are_answered(host: DaemonHost, method: str, url: str, body: Callable[[str], Any]) -> None:
    with ThreadPoolExecutor(1) as pool, hanging(host) as server:
        waiting = pool.submit(host.api, method, url, body(f"{server.path}/x"))
        server.asked()
        connection = host.connection()
        connection.request("GET", "/containers/json")
        assert connection.getresponse().status == 200
        connection.close()
        assert not waiting.done()
        server.gone()
        assert waiting.result()[0] in (400, 500)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_a_create_holds_nobody_up(host: DaemonHost, asked: Callable[[str], Any]) -> None:
    others_are_answered(
        host, "POST", "/containers/create", lambda path: {"Image": "busybox", "HostConfig": asked(path)}
    )


def test_an_update_holds_nobody_up(host: DaemonHost) -> None:
    ident = host.api("POST", "/containers/create", {"Image": "busybox"})[1]["Id"]
    others_are_answered(host, "POST", f"/containers/{ident}/update", rate("BlkioDeviceWriteBps"))
    host.remove_containers()
