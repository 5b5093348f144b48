"""What tests in a whole machine need: the installed command, systemctl, and the files of a container's cgroup.

For tests/vm alone: they change the machine that they run on. See tests/vm/conftest.py for the image and the names.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MINIRUN, IMAGE, SOCKET = "/usr/local/bin/minirun", "busybox", "/run/minirund.sock"


def minirun(*words: str, code: int = 0) -> str:
    """What the command prints; with a ``code`` that it should fail with, what it says on standard error too."""
    ended = subprocess.run([MINIRUN, *words], check=False, capture_output=True, text=True, timeout=250)
    assert ended.returncode == code, f"{words}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout + (ended.stderr if code else "")


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], check=False, capture_output=True, text=True).stdout.strip()


def inspect(name: str) -> dict[str, Any]:
    """The container as the API shows it."""
    (shown,) = json.loads(minirun("inspect", name))
    return shown


def cgroup_file(name: str, file: str) -> str:
    """A file of the container's cgroup, read from the host's side by way of its init."""
    group = Path(f"/proc/{inspect(name)['State']['Pid']}/cgroup").read_text().strip().removeprefix("0::")
    return Path(f"/sys/fs/cgroup{group}/{file}").read_text().strip()
