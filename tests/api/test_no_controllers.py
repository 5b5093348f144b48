"""A host that keeps cgroup v2's controllers elsewhere: every limit is refused by name, and without limits all works.

With the controllers, and limits in force: tests/vm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import DaemonHost

from cgroups.cgroup import find_mount, v1_controllers
from minirund.engine.system import WANTED_CONTROLLERS

PAGE = Path(__file__).parents[2] / "docs/limits.md"
LEGACY = {"io": "blkio"}


def options() -> Iterator[tuple[str, str]]:
    """(option as on the page, its controller) of every row of the page's first table."""
    rows = PAGE.read_text().partition("| option | HostConfig | OCI | file and value |\n")[2].partition("\n\n")[0]
    for line in rows.splitlines()[1:]:
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        yield cells[0], next(iter(json.loads(cells[3]))).partition(".")[0]


def missing(controller: str) -> bool:
    return controller not in Path(find_mount(), "cgroup.controllers").read_text().split()


def way_out(controller: str) -> str:
    """What is to be done on this host."""
    legacy = LEGACY.get(controller, controller)
    if legacy in v1_controllers(Path("/proc/cgroups").read_text()):
        return f"boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1={legacy}"
    return "the kernel is built without it or booted with cgroup_disable"


@pytest.fixture(scope="module")
def disk() -> str:
    """A disk of this host."""
    for path in sorted(Path("/sys/block").iterdir()):
        if Path("/dev", path.name).is_block_device():
            return f"/dev/{path.name}"
    pytest.skip("this host has no disk")


@pytest.mark.parametrize(("option", "controller"), options())
def test_a_limit_is_refused_in_one_line(host: DaemonHost, disk: str, option: str, controller: str) -> None:
    if not missing(controller):
        pytest.skip(f"this host has the controller {controller}")
    words = option.replace("/dev/sda", disk).split()
    before = host.cli("ps", "-aq").stdout
    done = host.cli("create", *words, "busybox")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert f"{words[0]} " in done.stderr
    assert f"needs the cgroup v2 controller '{controller}', which is not available here: " in done.stderr
    assert way_out(controller) in done.stderr
    assert host.cli("ps", "-aq").stdout == before


def test_info_lists_what_is_missing(host: DaemonHost) -> None:
    shown = host.cli("info").stdout + host.cli("info").stderr
    for controller in WANTED_CONTROLLERS:
        warned = f"WARNING: No {controller} limit support: " in shown
        assert warned == missing(controller)
        assert not warned or way_out(controller) in shown


def test_without_limits_all_works(host: DaemonHost) -> None:
    done = host.cli("run", "--rm", "busybox", "echo", "works")
    assert (done.returncode, done.stdout, done.stderr) == (0, "works\n", "")
    assert host.cli("run", "--rm", "--pids-limit", "-1", "--cpu-quota", "-1", "busybox", "true").returncode == 0
