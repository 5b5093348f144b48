"""Sizes of all containers, while containers are removed: who has gone is left out, and the list comes."""

from __future__ import annotations

import threading

import pytest
from daemon import DaemonHost

pytestmark = pytest.mark.root


@pytest.mark.parametrize("path", ["/containers/json?all=1&size=1", "/system/df"])
def test_containers_are_removed_meanwhile(host: DaemonHost, path: str) -> None:
    answers: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            answers.append(host.api("GET", path)[0])

    looks = threading.Thread(target=look)
    looks.start()
    body = {"Image": "busybox", "Cmd": ["true"]}
    for _ in range(10):
        made = [host.api("POST", "/containers/create", body)[1]["Id"] for _ in range(4)]
        for ident in made:
            host.api("DELETE", f"/containers/{ident}")
    over.set()
    looks.join()
    assert set(answers) == {200}
