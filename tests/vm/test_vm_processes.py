"""In a whole machine: the limits of each process (ulimits), the container's own kernel parameters, its /dev/shm, and
who is killed first.

A program goes over each of them (goes_over.py, with the machine's own Python). Run by vagrant/test.sh in the guest;
skipped elsewhere (conftest.py). Many limits share a container: a start costs an emulated processor seconds.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import IMAGE, MINIRUN, PYTHON, ROOT, api, inspect, minirun
from waiting import until

from minirund.engine.resources import RLIMITS

MIB = 1 << 20
PROGRAM = ("-v", f"{ROOT}/tests/vm/inside:/inside:ro")
CGROUPS = Path("/sys/fs/cgroup")

ULIMITS = {
    "core": 64 << 10, "cpu": 30, "data": 96 * MIB, "fsize": 128 << 10, "locks": 20, "memlock": 64 << 10,
    "msgqueue": 90_000, "nice": 5, "nofile": 40, "nproc": 12, "rss": 96 * MIB, "rtprio": 3, "rttime": 300_000,
    "sigpending": 60, "stack": 4 * MIB,
}  # fmt: skip
"""Every name that --ulimit takes, and a value below what a process has anyway, or what one can have."""
SHOWN = {
    "core": "Max core file size", "cpu": "Max cpu time", "data": "Max data size", "fsize": "Max file size",
    "locks": "Max file locks", "memlock": "Max locked memory", "msgqueue": "Max msgqueue size",
    "nice": "Max nice priority", "nofile": "Max open files", "nproc": "Max processes", "rss": "Max resident set",
    "rtprio": "Max realtime priority", "rttime": "Max realtime timeout", "sigpending": "Max pending signals",
    "stack": "Max stack size",
}  # fmt: skip
"""What /proc/PID/limits calls them."""

SYSCTLS = {
    "kernel.msgmax": "4096", "kernel.msgmnb": "8192", "kernel.msgmni": "20", "kernel.sem": "100\t1000\t30\t50",
    "kernel.shmall": "500", "kernel.shmmax": "65536", "kernel.shmmni": "30", "kernel.shm_rmid_forced": "1",
    "fs.mqueue.msg_max": "5", "fs.mqueue.queues_max": "9", "net.core.somaxconn": "77",
    "net.ipv4.ip_unprivileged_port_start": "2000", "net.ipv4.ip_local_port_range": "40000\t40100",
}  # fmt: skip
REFUSED = {
    "is not allowed": (
        "kernel.core_pattern", "kernel.hostname", "kernel.pid_max", "kernel.panic", "vm.overcommit_memory",
        "fs.file-max", "fs.mqueue", "user.max_user_namespaces", "dev.tty.ldisc_autoload", "kernel/shmmax", "",
    ),
    "not allowed with --network=host": ("net.core.somaxconn",),
    "not allowed with --ipc=host": ("kernel.shmmax", "fs.mqueue.msg_max"),
}  # fmt: skip


def proc_sys(name: str) -> Path:
    return Path("/proc/sys", name.replace(".", "/"))


@pytest.fixture(scope="module")
def bounded() -> Iterator[dict[str, Any]]:
    """What a program in a container with all of these limits has met; and what the host has, before and after."""
    before = {name: proc_sys(name).read_text() for name in SYSCTLS}
    options = [word for name, value in ULIMITS.items() for word in ("--ulimit", f"{name}={value}")]
    options += [word for name, value in SYSCTLS.items() for word in ("--sysctl", f"{name}={value}")]
    options += ["--shm-size", "1m", "--oom-score-adj", "321", "--user", "1000:1000", "-w", "/dev/shm"]
    shown = minirun("run", "--rm", *options, *PYTHON, *PROGRAM, IMAGE, "python3", "/inside/goes_over.py", *SYSCTLS)
    met: dict[str, Any] = json.loads(shown)
    yield met
    assert {name: proc_sys(name).read_text() for name in SYSCTLS} == before


def test_every_ulimit_is_the_processes() -> None:
    assert set(ULIMITS) == set(SHOWN) == RLIMITS


def test_ulimits_are_what_the_kernel_shows(bounded: dict[str, Any]) -> None:
    lines = bounded["limits"].splitlines()
    found = {name: line[26:].split()[:2] for name, text in SHOWN.items() for line in lines if line.startswith(text)}
    assert found == {name: [str(value)] * 2 for name, value in ULIMITS.items()}


@pytest.mark.parametrize(
    ("what", "meets"),
    [
        ("nofile", "EMFILE at 40"),
        ("nproc", "EAGAIN at 12"),
        ("fsize", f"EFBIG at {ULIMITS['fsize']}"),
        ("fsize, the signal not ignored", "SIGXFSZ"),
        ("data", "ENOMEM"),
        ("memlock", "ENOMEM"),
        ("stack", "SIGSEGV"),
        ("msgqueue", "EMFILE"),
        ("rtprio", "EPERM above 3"),
        ("cpu, lowered to a second", "SIGXCPU"),
        ("core", "a file within the limit"),
        ("shm", f"ENOSPC at {MIB}"),
        ("kernel.shmmax", "EINVAL"),
        ("kernel.msgmax", "EINVAL"),
        ("fs.mqueue.msg_max", "EINVAL"),
        ("net.ipv4.ip_unprivileged_port_start", "EACCES below 2000"),
    ],
)
def test_who_goes_over_it_is_held_up(bounded: dict[str, Any], what: str, meets: str) -> None:
    assert bounded["met"][what] == meets


def test_sysctls_are_the_containers_own(bounded: dict[str, Any]) -> None:
    """The fixture sees to it that the host's are what they were."""
    assert bounded["sysctls"] == SYSCTLS
    assert bounded["oom_score_adj"] == 321


def test_sysctls_of_the_whole_host_are_refused_by_name() -> None:
    modes = {"--network=host": {"NetworkMode": "host"}, "--ipc=host": {"IpcMode": "host"}}
    for message, names in REFUSED.items():
        for name in names:
            host = {"Sysctls": {name: "1"}} | modes.get(message.split()[-1], {})
            status, answer = api("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host})
            assert (status, answer["message"]) == (400, f"sysctl '{name}' {message}")


@pytest.fixture
def parent() -> Iterator[Path]:
    """A cgroup of 104 MiB without swap."""
    path = CGROUPS / "scores"
    path.mkdir()
    for file, text in (("memory.max", str(104 * MIB)), ("memory.swap.max", "0")):
        (path / file).write_text(text)
    yield path
    path.rmdir()


@pytest.fixture
def second(name: str) -> Iterator[str]:
    """Another container's name."""
    yield f"{name}-second"
    minirun("rm", "-f", f"{name}-second")


def test_the_one_with_the_higher_score_is_killed_first(parent: Path, name: str, second: str) -> None:
    """It has less memory than the other, for which there is room then.

    Linux may kill one more: it looks for room first and then for whom to kill, and the one that is dying already may
    have left between the two. Its own log tells who came first.
    """
    holds = "import time; x = bytearray({0} << 20); print('holds', flush=True); time.sleep(600)"
    for each, size, score in ((name, 40, "0"), (second, 20, "900")):
        options = ("--cgroup-parent", "/scores", "--oom-score-adj", score, *PYTHON)
        minirun("run", "-d", "--name", each, *options, IMAGE, "python3", "-c", holds.format(size))
    for each in (name, second):
        until(lambda each=each: "holds" in minirun("logs", each), f"{each} does not hold its memory", pause=0.3)
    writes = ("exec", name, "dd", "if=/dev/zero", "of=/dev/shm/file", "bs=1M", "count=48")
    code = subprocess.run([MINIRUN, *writes], check=False, timeout=250).returncode
    until(lambda: not inspect(second)["State"]["Running"], f"{second} runs on", pause=0.3)
    assert (inspect(second)["State"]["OOMKilled"], inspect(second)["State"]["ExitCode"]) == (True, 137)
    told = subprocess.run(["dmesg"], check=True, capture_output=True, text=True).stdout
    killed = re.findall(r"oom_memcg=/scores,task_memcg=/scores/(\w+)", told)
    assert killed[0] == inspect(second)["Id"]
    spared = killed[1:] == []
    assert code == (0 if spared else 137)
    until(lambda: inspect(name)["State"]["Running"] is spared, f"{name}: {killed}", pause=0.3)
