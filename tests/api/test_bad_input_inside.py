"""What a container may not do from inside, with Docker's default rights; and what it does in excess, and is removed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from daemon import DaemonHost
from waiting import until

pytestmark = pytest.mark.root

DOCKERS = {
    "CapInh": "0000000000000000",
    "CapPrm": "00000000a80425fb",
    "CapEff": "00000000a80425fb",
    "CapBnd": "00000000a80425fb",
    "CapAmb": "0000000000000000",
    "NoNewPrivs": "0",
    "Seccomp": "2",
    "Seccomp_filters": "1",
}
"""What /proc/self/status says in a container of dockerd 20.10."""
NOTHING = dict.fromkeys(("CapPrm", "CapEff"), "0" * 16)


@pytest.fixture(autouse=True)
def removed(host: DaemonHost) -> Iterator[None]:
    yield
    host.remove_containers()


def rights(text: str) -> dict[str, str]:
    found = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    return {key: found[key] for key in DOCKERS}


def test_rights_are_dockers(host: DaemonHost) -> None:
    words = ("busybox", "cat", "/proc/self/status")
    assert rights(host.cli("run", "--rm", *words).stdout) == DOCKERS
    assert rights(host.docker("run", "--rm", "-u", "65534", *words).stdout) == DOCKERS | NOTHING
    options = ("--security-opt", "no-new-privileges")
    assert rights(host.docker("run", "--rm", *options, *words).stdout) == DOCKERS | {"NoNewPrivs": "1"}
    host.cli("run", "-d", "--name", "execs", "busybox", "sleep", "1000")
    assert rights(host.cli("exec", "execs", *words[1:]).stdout) == DOCKERS
    assert rights(host.cli("exec", "-u", "65534", "execs", *words[1:]).stdout) == DOCKERS | NOTHING


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /sys",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "unshare -m true",
        "unshare -U true",
        "nsenter -t 1 -m true",
        "hostname other",
        "dmesg",
        "date -s 2020-01-01",
        "ip link set eth0 down",
        "reboot -f",
        "mknod /disk b 8 0 && cat /disk",
        "mknod /mem c 1 1 && cat /mem",
        "mknod /kmsg c 1 11 && echo x >/kmsg",
        "echo 1 >/proc/sys/kernel/core_pattern",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
        "echo b >/proc/sysrq-trigger",
        "echo x >/sys/kernel/uevent_helper",
        "echo 1 >/sys/fs/cgroup/cgroup.freeze",
        "mkdir /sys/fs/cgroup/mine",
        "echo -1000 >/proc/self/oom_score_adj",
        "head -c1 /proc/kcore | grep -q .",
        "grep -q . /proc/keys /proc/timer_list /proc/sched_debug",
        "ls -A /proc/acpi /sys/firmware | grep -v : | grep -q .",
    ],
)
def test_it_is_refused(host: DaemonHost, script: str) -> None:
    # `date` answers 0 whatever became of it; what it could not do it says
    done = host.cli("run", "--rm", "busybox", "sh", "-c", script)
    assert done.returncode != 0 or "Operation not permitted" in done.stderr


def test_a_root_of_another_process_is_the_containers_own(host: DaemonHost) -> None:
    done = host.cli("run", "--rm", "busybox", "sh", "-c", "ls /proc/1/root/ /proc/*/cwd/ | grep -q minirund")
    assert done.returncode == 1


def test_a_fork_bomb_within_its_limit_is_removed(host: DaemonHost) -> None:
    options = ("--ulimit", "nproc=150:150", "-u", "54321")
    host.cli("run", "-d", "--name", "bomb", *options, "busybox", "sleep", "1000")
    # Not as process 1: a shell that can't fork any more ends, and the container would with it.
    host.cli("exec", "-d", "bomb", "sh", "-c", "while :; do sleep 1000 & done 2>/dev/null")
    until(lambda: len(host.api("GET", "/containers/bomb/top")[1]["Processes"]) > 100)
    assert host.cli("rm", "-f", "bomb").returncode == 0
    assert not any(group_of(host, "54321"))


def group_of(host: DaemonHost, uid: str) -> Iterator[int]:
    """Processes of the place that are this user's."""
    for pid in host.group.processes():
        try:
            if os.stat(f"/proc/{pid}").st_uid == int(uid):
                yield pid
        except FileNotFoundError:
            continue


def test_directories_without_end_harm_nobody(host: DaemonHost) -> None:
    script = "while mkdir d && cd d; do :; done 2>/dev/null; true"
    assert host.cli("run", "--name", "deep", "busybox", "sh", "-c", script).returncode == 0
    assert host.cli("ps", "-a", "-s").returncode in {0, 125}
    assert host.api("GET", "/containers/json?all=1&size=1")[0] == 200
    status, answer = host.api("GET", "/containers/deep/changes")
    assert (status, "directories deep" in answer["message"]) == (500, True)
    assert host.cli("rm", "deep").returncode == 0
    until(lambda: host.run("ls", f"{host.state}/data/trash").stdout == "")


def test_a_line_of_100_mb(host: DaemonHost) -> None:
    script = "head -c 100000000 /dev/zero | tr '\\0' x"
    done = host.cli("run", "--name", "line", "busybox", "sh", "-c", script)
    assert (done.returncode, len(done.stdout)) == (0, 100_000_000)
    assert len(host.docker("logs", "line").stdout) == 100_000_000


def test_what_a_terminal_would_obey_comes_as_it_is(host: DaemonHost) -> None:
    """Output is the container's; what minirund says itself, with a name of the container's choice in it, is not."""
    junk = "\x1b]0;title\x07\x1b[31mred\x9b5n"
    done = host.cli("run", "--name", "junk", "busybox", "printf", "%s", junk)
    assert done.stdout == junk
    assert host.cli("logs", "junk").stdout == junk
    answer = host.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["x"], "StopSignal": junk})[1]
    assert answer["message"].isprintable()


def test_lines_of_ones_own_in_hosts_and_resolv_conf(host: DaemonHost) -> None:
    before = host.cli("run", "--rm", "-h", "plain", "busybox", "cat", "/etc/hosts", "/etc/resolv.conf").stdout
    for options in (("-h", "a\n6.6.6.6 bank"), ("--add-host", "a:1.2.3.4\n6.6.6.6 bank"), ("--dns", "1.1.1.1\n6.6.6.6"),
                    ("--dns-search", "a\nnameserver 6.6.6.6"), ("--domainname", "a\n6.6.6.6 bank")):  # fmt: skip
        done = host.cli("run", "--rm", *options, "busybox", "cat", "/etc/hosts", "/etc/resolv.conf")
        assert (done.returncode, done.stdout) == (125, "")
    labelled = ("-l", "a=b\n6.6.6.6 bank", "-e", "A=b\n6.6.6.6 bank", "-h", "plain")
    after = host.cli("run", "--rm", *labelled, "busybox", "cat", "/etc/hosts", "/etc/resolv.conf").stdout
    assert "6.6.6.6" not in after
    assert after.count("\n") == before.count("\n")
