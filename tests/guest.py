"""What tests in a whole machine need: the installed command, systemctl, and the files of a container's cgroup.

For tests/vm alone: they change the machine that they run on. See tests/vm/conftest.py for the image and the names.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from daemon import UnixConnection

ROOT = Path(__file__).parents[1]
MINIRUN, IMAGE, SOCKET = "/usr/local/bin/minirun", "busybox", "/run/minirund.sock"
PYTHON = [word for path in ("/usr", "/lib", "/lib64") for word in ("-v", f"{path}:{path}:ro")]
"""Options of `run` that give a container the machine's own programs: /usr/bin/python3, chattr, mkfs."""


def minirun(*words: str, code: int = 0) -> str:
    """What the command prints; with a ``code`` that it should fail with, what it says on standard error too."""
    ended = subprocess.run([MINIRUN, *words], check=False, capture_output=True, text=True, timeout=250)
    assert ended.returncode == code, f"{words}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout + (ended.stderr if code else "")


def api(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """One request of the API: the status and the answer. A tenth of what a command costs an emulated processor."""
    connection = UnixConnection(SOCKET)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode()


def root_disk() -> str:
    """The whole disk that the root file system is on. QEMU's where that can't be told, as outside a guest."""
    number = os.stat("/").st_dev
    found = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    whole = found.parent if (found / "partition").exists() else found
    return f"/dev/{whole.name}" if (whole / "queue").exists() else "/dev/vda"


DISK = root_disk()


def disk_number(path: str = DISK) -> str:
    """ "254:0": by which a cgroup's files know a disk."""
    number = os.stat(path).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], check=False, capture_output=True, text=True).stdout.strip()


def inspect(name: str) -> dict[str, Any]:
    """The container as the API shows it."""
    status, shown = api("GET", f"/containers/{name}/json")
    assert status == 200, shown
    found: dict[str, Any] = shown
    return found


def cgroup_file(name: str, file: str) -> str:
    """A file of the container's cgroup, read from the host's side by way of its init."""
    group = Path(f"/proc/{inspect(name)['State']['Pid']}/cgroup").read_text().strip().removeprefix("0::")
    return Path(f"/sys/fs/cgroup{group}/{file}").read_text().strip()
