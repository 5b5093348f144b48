"""Changes of events files, told by the kernel. cgroup.events is in every cgroup: "populated" stands for any count."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator

import pytest
from waiting import PATIENCE

from cgroups.cgroup import Cgroup
from cgroups.notices import Notices


@pytest.fixture
def notices() -> Iterator[Notices]:
    found = Notices()
    yield found
    found.close()


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = Cgroup.at(f"minirun-notices-{os.getpid()}")
    made.create(())
    yield made
    made.remove()


def next_change(notices: Notices) -> list[tuple[str, int | None]]:
    """The next change of "populated"; None: the cgroup has gone."""
    assert select.select([notices], [], [], PATIENCE)[0], "nothing was told"
    return [(name, flags.get("populated")) for name, flags in notices.changed()]


def is_quiet(notices: Notices) -> bool:
    return not select.select([notices], [], [], 0)[0] or notices.changed() == []


def test_what_a_file_says_and_what_becomes_of_it(notices: Notices, group: Cgroup) -> None:
    assert notices.add("one", group.file("cgroup.events")) == {"populated": 0, "frozen": 0}
    assert is_quiet(notices)
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.join(process.pid)
        assert next_change(notices) == [("one", 1)]
        assert is_quiet(notices)
        process.kill()
    assert next_change(notices) == [("one", 0)]
    group.remove()
    assert next_change(notices) == [("one", None)]
    assert is_quiet(notices)


def test_who_is_removed_is_heard_of_no_more(notices: Notices, group: Cgroup) -> None:
    before = len(os.listdir("/proc/self/fd"))
    notices.add("one", group.file("cgroup.events"))
    notices.add("one", group.file("cgroup.events"))
    notices.add("two", group.file("cgroup.events"))
    assert len(os.listdir("/proc/self/fd")) == before + 2
    notices.remove("one")
    notices.remove("one")
    with subprocess.Popen(["sleep", "1000"]) as process:
        group.join(process.pid)
        assert next_change(notices) == [("two", 1)]
        process.kill()
    notices.remove("two")
    assert len(os.listdir("/proc/self/fd")) == before
    assert is_quiet(notices)


def test_a_file_that_is_not_there(notices: Notices, group: Cgroup) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        notices.add("one", group.file("no.events"))
    with pytest.raises(PermissionError):  # epoll takes no plain file
        notices.add("one", __file__)
    assert len(os.listdir("/proc/self/fd")) == before
