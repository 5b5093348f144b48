"""The root of a cgroup namespace with processes in it, as in a container: cleared, it hands controllers down."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cgroups.cgroup import Cgroup, find_mount

ROOT = Path(__file__).parents[2]
DOMAIN = {"memory", "io", "hugetlb", "rdma"}  # controllers that can't be handed down beside processes
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making cgroups needs root")

INSIDE = """
import json, subprocess, sys
from cgroups.cgroup import Cgroup
from cgroups.nesting import make_room
from cgroups.placing import check
wanted = set(sys.argv[1:])
root = Cgroup.at("/")
child = Cgroup(root.file("made/below"))
with subprocess.Popen(["sleep", "600"]) as other:
    child.create(wanted)
    before = sorted(child.controllers())
    moved = make_room(root, wanted)
    check(root, "/made", wanted)
    child.create(wanted)
    print(json.dumps({
        "before": before, "moved": moved, "again": make_room(root, wanted), "after": sorted(child.controllers()),
        "root": open(root.file("cgroup.procs")).read(), "leaf": len(Cgroup(root.file("init")).processes()),
    }))
    other.kill()
"""


@pytest.fixture
def group() -> Iterator[Cgroup]:
    """With every controller that the machine has on cgroup v2."""
    group = Cgroup.at(f"test-nesting-{uuid.uuid4().hex[:8]}")
    group.create(Cgroup.at("/").controllers())
    yield group
    group.remove()


ENTER = """echo $$ >"$1/cgroup.procs" && shift &&
exec unshare -C -m --propagation private sh -c 'umount -l "$0" && mount -t cgroup2 none "$0" && exec "$@"' "$0" "$@"
"""


def inside(group: Cgroup, *arguments: str) -> Any:
    """What the script prints, run in the cgroup and in a namespace that has it for the root."""
    command = ["sh", "-c", ENTER, find_mount(), group.path, sys.executable, "-c", INSIDE, *arguments]
    shown = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def domain_controllers() -> list[str]:
    found = sorted(Cgroup.at("/").controllers() & DOMAIN)
    if not found:
        pytest.skip("this host has no such controller on cgroup v2")
    return found


def test_the_processes_go_to_a_leaf_and_controllers_come_down(group: Cgroup) -> None:
    wanted = domain_controllers()
    found = inside(group, *wanted)
    assert found == {"before": [], "moved": 2, "again": 0, "after": wanted, "root": "", "leaf": 2}


def test_without_a_controller_to_hand_down_nobody_is_moved(group: Cgroup) -> None:
    found = inside(group, "imaginary")
    assert (found["moved"], found["leaf"]) == (0, 0)


def test_a_part_of_the_hierarchy_that_is_no_namespaces_root_is_left_alone(group: Cgroup) -> None:
    """The directory of a cgroup, bind-mounted: its processes are there because somebody wants them there."""
    below = Cgroup(group.file("theirs"))
    below.create(group.controllers())
    with subprocess.Popen(["sleep", "600"]) as process:
        below.join(process.pid)
        script = "import sys; from cgroups.cgroup import Cgroup; from cgroups.nesting import make_room; "
        script += "print(make_room(Cgroup.at('/'), Cgroup.at('/').controllers()))"
        command = 'mount --bind "$1" "$0" && shift && exec "$@"'
        words = ["unshare", "-m", "--propagation", "private", "sh", "-c", command, find_mount(), below.path]
        shown = subprocess.run(
            [*words, sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert shown.stdout == "0\n"
        assert process.pid in below.processes()
        process.kill()
