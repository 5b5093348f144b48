"""In a whole machine: a parent's limits hold for the containers in it, and the library limits a process by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import IMAGE, ROOT, cgroup_file, inspect, minirun

CGROUPS = Path("/sys/fs/cgroup")
FORKS = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; wait"
EATS = "x=0123456789abcdef; while true; do x=$x$x; done"


@pytest.fixture
def owned() -> Iterator[Path]:
    """A cgroup of somebody's."""
    path = CGROUPS / "owned"
    path.mkdir()
    yield path
    path.rmdir()


def test_the_limits_of_a_parent_hold_for_the_containers_in_it(owned: Path, name: str) -> None:
    """They are wider by themselves. What was made of the parent's path goes with them, the owner's part stays."""
    for file, text in (("pids.max", "8"), ("memory.max", f"{24 << 20}"), ("memory.swap.max", "0")):
        (owned / file).write_text(text)
    place = ("--cgroup-parent", "/owned/below", "--pids-limit", "50", "--memory", "512m")
    shown = minirun("run", "--rm", *place, IMAGE, "sh", "-c", FORKS, code=2)
    assert "can't fork" in shown
    minirun("run", "--name", name, *place, IMAGE, "sh", "-c", EATS, code=137)
    assert inspect(name)["State"]["OOMKilled"] is True
    assert [entry.name for entry in owned.iterdir() if entry.is_dir()] == []


def test_a_container_in_a_parent_has_all_controllers(owned: Path, name: str) -> None:
    minirun("run", "-d", "--name", name, "--cgroup-parent", "owned", "--cpus", "0.5", IMAGE, "sleep", "600")
    assert set(cgroup_file(name, "cgroup.controllers").split()) >= {"cpu", "cpuset", "io", "memory", "pids"}
    assert (owned / inspect(name)["Id"] / "cpu.max").read_text() == "50000 100000\n"


def test_a_parent_with_processes_is_refused(owned: Path, name: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        (owned / "cgroup.procs").write_text(str(process.pid))
        refused = minirun("create", "--name", name, "--cgroup-parent", "owned", IMAGE, code=1)
        process.kill()
    assert f"'owned': /owned has processes of its own ({process.pid}), so it can't hand controllers" in refused
    assert len(refused.splitlines()) == 1


def test_ten_lines_limit_a_process() -> None:
    """Those of cgroups/README.md, as they stand there."""
    text = (ROOT / "cgroups/README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout == "-9 1\n"
    assert not (CGROUPS / "demo").exists()
