"""The kernel takes the device program and enforces it. Needs root."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from cgroups.devices import DEFAULT_RULES, attach, program
from cgroups.errors import DeviceProgramRefused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) and mknod(2) need root")
KMSG, NULL, LOOP = os.makedev(1, 11), os.makedev(1, 3), os.makedev(7, 0)


def guard(group: Cgroup, rules: object) -> None:
    fd = group.open()
    try:
        attach(fd, program(rules))  # type: ignore[arg-type]
    finally:
        os.close(fd)


def errno_inside(group: Cgroup, act: Callable[[], object]) -> int:
    """The errno of what a process of the cgroup tries; 0 for success."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            group.join(0)
            act()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make(path: Path, kind: int, device: int) -> None:
    os.mknod(path, kind | 0o600, device)


def use(path: Path, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags))


def test_defaults_let_null_through_and_nothing_of_the_hosts(group: Cgroup, tmp_path: Path) -> None:
    guard(group, DEFAULT_RULES)
    assert errno_inside(group, lambda: use(Path("/dev/null"), os.O_RDWR)) == 0
    for kind, device in ((stat.S_IFCHR, KMSG), (stat.S_IFBLK, LOOP)):
        path = tmp_path / f"{device}"
        assert errno_inside(group, lambda: make(path, kind, device)) == 0  # noqa: B023 - called at once
        assert errno_inside(group, lambda: use(path)) == errno.EPERM  # noqa: B023


def test_the_same_node_opens_outside(group: Cgroup, tmp_path: Path) -> None:
    guard(group, DEFAULT_RULES)
    make(tmp_path / "kmsg", stat.S_IFCHR, KMSG)
    use(tmp_path / "kmsg", os.O_RDONLY | os.O_NONBLOCK)
    assert errno_inside(group, lambda: use(tmp_path / "kmsg")) == errno.EPERM


def test_a_device_is_added_for_reading_only(group: Cgroup, tmp_path: Path) -> None:
    guard(group, [*DEFAULT_RULES, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}])
    make(tmp_path / "kmsg", stat.S_IFCHR, KMSG)
    assert errno_inside(group, lambda: use(tmp_path / "kmsg", os.O_RDONLY | os.O_NONBLOCK)) == 0
    assert errno_inside(group, lambda: use(tmp_path / "kmsg", os.O_RDWR)) == errno.EPERM


def test_a_later_rule_takes_a_device_away(group: Cgroup) -> None:
    guard(group, [*DEFAULT_RULES, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}])
    assert errno_inside(group, lambda: use(Path("/dev/null"), os.O_RDONLY)) == 0
    assert errno_inside(group, lambda: use(Path("/dev/null"), os.O_WRONLY)) == errno.EPERM


def test_no_rules_refuse_even_mknod(group: Cgroup, tmp_path: Path) -> None:
    guard(group, [])
    assert errno_inside(group, lambda: make(tmp_path / "null", stat.S_IFCHR, NULL)) == errno.EPERM


def test_all_programs_must_agree(group: Cgroup) -> None:
    guard(group, [{"allow": True, "type": "a"}])
    assert errno_inside(group, lambda: use(Path("/dev/null"))) == 0
    guard(group, [])
    assert errno_inside(group, lambda: use(Path("/dev/null"))) == errno.EPERM


@pytest.mark.parametrize("count", [0, 1, 100, 600])
def test_the_verifier_takes_programs_of_any_length(group: Cgroup, count: int) -> None:
    guard(group, [{"allow": number % 3 > 0, "type": "c", "major": number, "access": "rw"} for number in range(count)])


def test_the_verifiers_words_are_in_the_error(group: Cgroup) -> None:
    fd = group.open()
    try:
        with pytest.raises(DeviceProgramRefused, match=r"load the device program: .*\(") as caught:
            attach(fd, program([])[:-8])  # without its exit instruction
    finally:
        os.close(fd)
    assert "\n" not in str(caught.value)


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(DeviceProgramRefused, match="attach"):
            attach(fd, program(DEFAULT_RULES))
    finally:
        os.close(fd)


def test_no_descriptor_is_left_open(group: Cgroup) -> None:
    before = os.listdir("/proc/self/fd")
    guard(group, DEFAULT_RULES)
    assert os.listdir("/proc/self/fd") == before
