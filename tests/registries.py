"""A real registry for tests: Debian's docker-registry on a free loopback port, its blobs in a directory of its own.

    with running_registry() as registry:          # registry.address is "127.0.0.1:PORT"
        push(image({"a": b"b"}), registry.address, "library/alpine")

The process is ended by its pid and the directory removed when the block is left. ``proxy_of`` makes it a pull-through
cache; ``htpasswd`` wants basic credentials (one line of a bcrypt file).
Behaviour that no healthy registry has (429, broken connections, wrong digests) is in ``scripted_registry``.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import PATIENCE


@dataclass(frozen=True)
class RunningRegistry:
    """Where it listens, its pid, and the directory that holds its blobs."""

    address: str
    pid: int
    root: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(root: Path, port: int, proxy_of: str, htpasswd: str) -> dict[str, Any]:
    storage = {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}}
    whole: dict[str, Any] = {"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}}}
    whole |= {"storage": storage, "http": {"addr": f"127.0.0.1:{port}", "secret": "for tests only"}}
    if proxy_of:
        whole["proxy"] = {"remoteurl": proxy_of}
    if htpasswd:
        (root / "htpasswd").write_text(htpasswd)
        whole["auth"] = {"htpasswd": {"realm": "tests", "path": str(root / "htpasswd")}}
    return whole


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()


def _await_answer(process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"docker-registry did not start on port {port} (exit code {process.poll()})")
        time.sleep(0.02)


@contextmanager
def running_registry(proxy_of: str = "", htpasswd: str = "", where: str | None = None) -> Iterator[RunningRegistry]:
    """Start one; ``where`` is the parent of its directory (give /dev/shm when much is stored)."""
    root = Path(tempfile.mkdtemp(prefix="minirund-registry-", dir=where))
    port = free_port()
    configuration = root / "config.yml"  # JSON is YAML
    configuration.write_text(json.dumps(_configuration(root, port, proxy_of, htpasswd)))
    log = (root / "log").open("wb")
    command = ["docker-registry", "serve", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _await_answer(process, port, PATIENCE)
        yield RunningRegistry(f"127.0.0.1:{port}", process.pid, root)
    finally:
        process.terminate()
        process.wait()
        log.close()
        shutil.rmtree(root)
