"""In a whole machine: a container's layer is held to `--storage-opt size=`, by the file system of the machine's root.

Run by vagrant/test.sh in the guest. `make vm-test` boots one whose root has project quotas; elsewhere this is skipped.
"""

from __future__ import annotations

import pytest
from guest import IMAGE, PYTHON, inspect, minirun, systemctl
from waiting import until

from overlayfs import quota
from overlayfs.errors import NoProjectQuota

DATA = "/var/lib/minirund"
FULL = "Disk quota exceeded"
SIZE = ("--storage-opt", "size=4m")
WRITE = "dd if=/dev/zero of=/much bs=64k count=128"  # 8 MiB


@pytest.fixture(scope="module", autouse=True)
def quotas() -> None:
    try:
        quota.require(DATA)
    except NoProjectQuota as error:
        pytest.skip(str(error))


def layer(name: str) -> str:
    return f"{DATA}/containers/{inspect(name)['Id']}/rw"


def test_who_writes_more_is_refused_and_sees_the_limit(name: str) -> None:
    shown = minirun("run", "--name", name, *SIZE, IMAGE, "sh", "-c", f"df -k / | tail -1; {WRITE}", code=1)
    assert (shown.split()[1], FULL in shown) == ("4096", True)
    assert inspect(name)["HostConfig"]["StorageOpt"] == {"size": "4m"}
    assert "A /much" in minirun("diff", name)
    minirun("run", "--rm", IMAGE, "sh", "-c", WRITE)
    systemctl("kill", "--kill-who=main", "--signal=KILL", "minirund.service")
    assert FULL in minirun("start", "-a", name, code=1)  # under the next daemon, with a layer that is full
    found = quota.look(layer(name))
    assert found is not None
    assert found.limit == 4 << 20


def test_root_in_it_can_t_lift_the_limit(name: str) -> None:
    """With the host's chattr: the flag off the root directory would be the end of it, and so would another project."""
    tried = f"touch /much; chattr -P /; chattr -p 0 /much; {WRITE}"
    options = (*SIZE, "--security-opt", "seccomp=unconfined", *PYTHON)
    shown = minirun("run", "--name", name, *options, IMAGE, "sh", "-c", tried, code=1)
    assert (shown.count("Operation not supported"), FULL in shown) == (2, True)


def test_the_project_goes_with_the_container(name: str) -> None:
    minirun("create", "--name", name, *SIZE, IMAGE, "true")
    found = quota.look(layer(name))
    assert found is not None
    minirun("rm", name)
    until(lambda: forgotten(found.project), "its quota stays")  # the directory is deleted behind the answer


def forgotten(project: int) -> bool:
    """No limit, nothing counted: the number is free again."""
    with quota._opened(DATA) as fd:
        return not any((quota._counted(fd, project) or (0,))[:6])
