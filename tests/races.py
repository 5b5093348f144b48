"""Two things at one moment, over and over: whatever comes first, the answers are true and nothing hangs or stays.

Each race takes a host, and a delay (0 to some 20 ms) that moves the second thing across the first. ``run`` goes through
all of them: `python tests/soak.py races --rounds 100`, and fewer in test_survival.py.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from daemon import DaemonHost, UnixConnection
from waiting import PATIENCE

CODE = 7
_numbers = itertools.count()


class Broken(Exception):
    """An answer that is not true, or none."""


def create(host: DaemonHost, *command: str, **host_config: Any) -> str:
    body = {"Image": "busybox", "Cmd": [*command], "OpenStdin": True, "HostConfig": host_config}
    status, answer = host.api("POST", f"/containers/create?name=race-{next(_numbers)}", body)
    if status != 201:
        raise Broken(f"create: {status} {answer}")
    return str(answer["Id"])


def start(host: DaemonHost, ident: str) -> None:
    status, answer = host.api("POST", f"/containers/{ident}/start")
    if status != 204:
        raise Broken(f"start: {status} {answer}")


def begin_wait(host: DaemonHost, ident: str, condition: str) -> UnixConnection:
    connection = host.connection(PATIENCE)
    connection.request("POST", f"/containers/{ident}/wait?condition={condition}")
    return connection


def waited(connection: UnixConnection) -> tuple[int, int]:
    """HTTP status and exit code (-1 for none)."""
    with closing(connection):
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, body.get("StatusCode", -1)


def begin_attach(host: DaemonHost, ident: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(host.socket)
    path = f"/containers/{ident}/attach?stream=1&stdout=1&stderr=1"
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
    return client


def everything(client: socket.socket) -> bytes:
    """All that comes, up to the end."""
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def is_over(host: DaemonHost, ident: str, codes: set[int]) -> None:
    """It has ended, and says so. Raises Broken."""
    status, code = waited(begin_wait(host, ident, "not-running"))
    state = host.api("GET", f"/containers/{ident}/json")[1]["State"]
    if (status, state["Status"]) != (200, "exited") or code not in codes or state["ExitCode"] != code:
        raise Broken(f"a container that has ended: wait {status} {code}, {state}")


# --- the races ---


def at_once(host: DaemonHost, _delay: float) -> None:
    """Attach, wait, start, and it ends at once: the output is whole, the code right."""
    ident = create(host, "sh", "-c", "echo said; exit 7")
    client = begin_attach(host, ident)
    while not client.recv(4096, socket.MSG_PEEK).endswith(b"\r\n\r\n"):
        time.sleep(0.001)
    waiting = begin_wait(host, ident, "next-exit")
    wait_head(waiting)
    start(host, ident)
    if waited(waiting) != (200, CODE):
        raise Broken("wait was answered wrongly")
    if not everything(client).endswith(b"\x01\0\0\0\0\0\0\x05said\n"):
        raise Broken("the output is not whole")
    is_over(host, ident, {CODE})


def wait_head(connection: UnixConnection) -> None:
    """Until the wait's head has come: the daemon is told to wait before the start."""
    assert connection.sock is not None
    connection.sock.recv(1, socket.MSG_PEEK)


def wait_and_end(host: DaemonHost, delay: float) -> None:
    """A wait of either kind comes as the container ends. ``next-exit`` after the end waits for another: not asked."""
    ident = create(host, "sh", "-c", "exit 7")
    start(host, ident)
    time.sleep(delay)
    if waited(begin_wait(host, ident, "not-running")) != (200, CODE):
        raise Broken("wait was answered wrongly")


def next_exit_and_end(host: DaemonHost, delay: float) -> None:
    """If the daemon heard ``next-exit`` after the end, the next start and end answer it."""
    ident = create(host, "sh", "-c", "exit 7")
    start(host, ident)
    time.sleep(delay)
    waiting = begin_wait(host, ident, "next-exit")
    wait_head(waiting)
    is_over(host, ident, {CODE})
    start(host, ident)
    if waited(waiting) != (200, CODE):
        raise Broken("wait was answered wrongly")


def removal_and_wait(host: DaemonHost, delay: float) -> None:
    """--rm: who waits for the removal gets the code, and then it is gone; who comes too late is told that it is."""
    ident = create(host, "sh", "-c", "exit 7", AutoRemove=True)
    early = begin_wait(host, ident, "removed")
    wait_head(early)
    start(host, ident)
    time.sleep(delay)
    late = waited(begin_wait(host, ident, "removed"))
    if late not in {(200, CODE), (404, -1)}:
        raise Broken(f"a late wait for the removal: {late}")
    if waited(early) != (200, CODE):
        raise Broken("the wait for the removal was answered wrongly")
    if host.api("GET", f"/containers/{ident}/json")[0] != 404:
        raise Broken("said to be removed, and there")


def ask_and_end(host: DaemonHost, delay: float, what: str, statuses: set[int], codes: set[int]) -> None:
    """It is asked to end while it ends by itself."""
    ident = create(host, "sh", "-c", "sleep 0.01; exit 7")
    start(host, ident)
    time.sleep(delay)
    status, answer = host.api("POST", f"/containers/{ident}/{what}")
    if status not in statuses:
        raise Broken(f"{what}: {status} {answer}")
    is_over(host, ident, {CODE, *codes})


def stop_and_end(host: DaemonHost, delay: float) -> None:
    ask_and_end(host, delay, "stop?t=0", {204, 304}, {137, 143})


def kill_and_end(host: DaemonHost, delay: float) -> None:
    ask_and_end(host, delay, "kill", {204, 409}, {137})


def exec_and_end(host: DaemonHost, delay: float) -> None:
    ident = create(host, "sh", "-c", "sleep 0.01; exit 7")
    start(host, ident)
    time.sleep(delay)
    status, answer = host.api("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True})
    if status == 201:
        status, text = host.api("POST", f"/exec/{answer['Id']}/start", {"Detach": True})
        code = host.api("GET", f"/exec/{answer['Id']}/json")[1].get("ExitCode")
        if status not in {200, 400, 404, 409, 500} or (status == 200 and code not in {None, 0, 126, 137}):
            raise Broken(f"exec: {status} {text}, code {code}")
    elif status != 409:
        raise Broken(f"exec create: {status} {answer}")
    is_over(host, ident, {CODE})
    if status == 200 and host.api("GET", f"/exec/{answer['Id']}/json")[1]["Running"]:
        raise Broken("an exec runs in a container that has ended")


def attach_and_end(host: DaemonHost, delay: float) -> None:
    """Who attached to what ran sees the end; who came after it, that of the next run."""
    ident = create(host, "sh", "-c", "sleep 0.02; exit 7")
    start(host, ident)
    time.sleep(delay)
    client = begin_attach(host, ident)
    client.recv(12, socket.MSG_PEEK)
    is_over(host, ident, {CODE})
    if not ends_soon(client):  # it came after the end, and waits for the next start
        start(host, ident)
    everything(client)


def ends_soon(client: socket.socket, seconds: float = 0.5) -> bool:
    """Whether the stream ends: read as far as it goes."""
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    finally:
        client.settimeout(PATIENCE)


def pause_and_end(host: DaemonHost, delay: float) -> None:
    ident = create(host, "sh", "-c", "sleep 0.01; exit 7")
    start(host, ident)
    time.sleep(delay)
    paused = host.api("POST", f"/containers/{ident}/pause")[0]
    resumed = host.api("POST", f"/containers/{ident}/unpause")[0]
    if paused not in {204, 409} or resumed not in {204, 409} or (resumed == 204) > (paused == 204):
        raise Broken(f"pause {paused}, unpause {resumed}")
    is_over(host, ident, {CODE})


def remove_and_end(host: DaemonHost, delay: float) -> None:
    ident = create(host, "sh", "-c", "sleep 0.01; exit 7", AutoRemove=True)
    start(host, ident)
    time.sleep(delay)
    status, answer = host.api("DELETE", f"/containers/{ident}?force=1")
    if status not in {204, 404, 409}:
        raise Broken(f"rm -f: {status} {answer}")
    deadline = time.monotonic() + PATIENCE
    while host.api("GET", f"/containers/{ident}/json")[0] != 404:
        if time.monotonic() > deadline:
            raise Broken("it was not removed")
        time.sleep(0.002)


RACES: tuple[Callable[[DaemonHost, float], None], ...] = (
    at_once, wait_and_end, next_exit_and_end, removal_and_wait, stop_and_end, kill_and_end,
    exec_and_end, attach_and_end, pause_and_end, remove_and_end,
)  # fmt: skip


def run(host: DaemonHost, race: Callable[[DaemonHost, float], None], rounds: int, seed: int = 1) -> None:
    """One race, so many times. Raises Broken, naming it."""
    delays = random.Random(seed)
    for number in range(rounds):
        delay = delays.uniform(0, 0.03)
        try:
            race(host, delay)
        except (Broken, OSError) as error:
            raise Broken(f"{race.__name__}, round {number}, {delay * 1000:.1f} ms: {error!r}") from error
    host.remove_containers()
