"""systemd and minirund: the units are sound, and containers don't notice what happens to the service."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import IMAGE, MINIRUN, cgroup_file, inspect, minirun, systemctl
from waiting import PATIENCE, until

UNITS = ("minirund.service", "minirund.socket")
NEWER = os.environ.get("NEWER")
"""A wheel of a later version, which the host brings; `make vm-test` sets it."""


def main_pid() -> int:
    return int(systemctl("show", "--property=MainPID", "--value", "minirund.service"))


def limits(pid: int | str, what: str) -> tuple[str, str]:
    """A process's soft and hard limit, as /proc shows them."""
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(what)]
    soft, hard = line.removeprefix(what).split()[:2]
    return soft, hard


def come_back(before: int) -> None:
    """Wait for the service to have another main process, and to answer."""
    until(lambda: main_pid() not in (0, before), "no other daemon", pause=0.5)
    minirun("version")


def group_of(name: str) -> tuple[str, int]:
    """A container's cgroup: path and inode, which tells whether it is still the same."""
    path = Path(f"/proc/{inspect(name)['State']['Pid']}/cgroup").read_text().strip().removeprefix("0::")
    return path, os.stat(f"/sys/fs/cgroup{path}").st_ino


class Session:
    """`minirun exec -i` of a shell in a container, that stays open."""

    def __init__(self, name: str) -> None:
        self.group = group_of(name)
        words = [MINIRUN, "exec", "-i", name, "sh", "-c", "while read x; do echo got $x; done"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def works(self, word: str) -> bool:
        """Whether what is typed still comes back."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == f"got {word}\n"

    def close(self) -> int:
        """The command's exit code, after the end of its input."""
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture
def session(name: str) -> Iterator[Session]:
    """An open session in a container that runs."""
    counts = "i=0; while true; do i=$((i+1)); echo $i; sleep 1; done"
    minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sh", "-c", counts)
    opened = Session(name)
    assert opened.works("before")
    yield opened
    opened.process.kill()
    opened.process.communicate()


def check_undisturbed(name: str, session: Session, pid: int, code: int = 0) -> None:
    """The same process in the same cgroup with its limit, the same session, and a log without a gap."""
    assert inspect(name)["State"]["Pid"] == pid
    assert session.group == group_of(name)
    assert cgroup_file(name, "memory.max") == str(64 << 20)
    assert session.works("after")
    assert session.close() == code
    numbers = [int(line) for line in minirun("logs", name).split()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_units_are_sound() -> None:
    paths = [f"/etc/systemd/system/{unit}" for unit in UNITS]
    checked = subprocess.run(["systemd-analyze", "verify", *paths], check=False, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS)
def test_the_machine_starts_it(unit: str) -> None:
    assert systemctl("is-enabled", unit) == "enabled"


def test_a_restart_disturbs_nobody(name: str, session: Session) -> None:
    pid, daemon = inspect(name)["State"]["Pid"], main_pid()
    systemctl("restart", "minirund.service")
    assert main_pid() != daemon
    check_undisturbed(name, session, pid)


def test_a_crash_disturbs_nobody(name: str, session: Session) -> None:
    pid, daemon = inspect(name)["State"]["Pid"], main_pid()
    systemctl("kill", "--signal=KILL", "--kill-who=main", "minirund.service")
    come_back(daemon)
    check_undisturbed(name, session, pid)


def test_a_stop_disturbs_nobody_and_the_next_caller_starts_it_again(name: str, session: Session) -> None:
    pid = inspect(name)["State"]["Pid"]
    systemctl("stop", "minirund.service")
    assert systemctl("is-active", "minirund.service") == "inactive"
    assert Path(f"/proc/{pid}").exists()
    assert session.works("meanwhile")
    check_undisturbed(name, session, pid)
    assert systemctl("is-active", "minirund.service") == "active"


@pytest.mark.skipif(not NEWER, reason="wants a newer wheel in NEWER: make vm-test")
def test_an_upgrade_in_place_disturbs_nobody(name: str, session: Session) -> None:
    """A newer version over the running one, as a package would do it; the shims of the old one speak to it."""
    pid = inspect(name)["State"]["Pid"]
    version = minirun("version", "--format", "{{.Server.Version}}").strip()
    wheel = str(Path(NEWER or "").resolve())
    done = subprocess.run(
        ["make", "--silent", "install", f"WHEEL={wheel}"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert minirun("version", "--format", "{{.Server.Version}}").strip() == f"{version}.post1"
    check_undisturbed(name, session, pid)
    assert minirun("exec", name, "echo", "works") == "works\n"
    minirun("stop", "-t", "1", name)
    minirun("start", name)
    assert inspect(name)["State"]["Running"]


def test_the_services_protection_from_the_oom_killer_is_not_its_containers(name: str) -> None:
    assert Path(f"/proc/{main_pid()}/oom_score_adj").read_text() == "-500\n"
    assert minirun("run", "--name", name, IMAGE, "cat", "/proc/self/oom_score_adj") == "0\n"


def test_the_service_has_many_descriptors_and_containers_have_what_docker_gives_them(name: str) -> None:
    assert limits(main_pid(), "Max open files") == ("1048576", "1048576")
    minirun("run", "-d", "--name", name, IMAGE, "sleep", "600")
    assert limits(inspect(name)["State"]["Pid"], "Max open files") == ("1048576", "1048576")


def test_systemd_leaves_the_containers_cgroups_alone(name: str) -> None:
    """A reload of systemd's configuration goes over all cgroups that are its own."""
    minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sleep", "600")
    group = Path(f"/proc/{inspect(name)['State']['Pid']}/cgroup").read_text()
    systemctl("daemon-reload")
    systemctl("restart", "minirund.service")
    pid = inspect(name)["State"]["Pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text() == group
    path = Path(f"/sys/fs/cgroup{group.strip().removeprefix('0::')}")
    assert (path / "memory.max").read_text() == f"{64 << 20}\n"


def test_the_socket_is_for_the_group() -> None:
    shown = subprocess.run(["stat", "-c", "%a %U %G", "/run/minirund.sock"], check=True, capture_output=True, text=True)
    assert shown.stdout == "660 root minirun\n"


def test_the_journal_has_the_daemons_word() -> None:
    words = ["journalctl", "-u", "minirund.service", "-b", "--no-pager", "-o", "cat"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "Traceback" not in shown
