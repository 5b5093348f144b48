"""The engines beside each other: how each is started, loaded, asked, and ended. Figures are others' business.

docker     Debian's dockerd with the containerd that it starts, and Debian's client: no other version of either
podman     no daemon; --runtime runc, and the limits that a host without CAP_SYS_RESOURCE can set
minirund   the daemon and the command of this checkout
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import memory
from api import Api, ApiError

BIN = Path(sys.executable).parent
IMAGE = "busybox"
START_SECONDS, STOP_SECONDS = 60.0, 20.0


class EngineFailed(Exception):
    """An engine could not be started, or a command of it failed. The message has its last words."""


class Engine:
    """One engine with a data directory of its own. ``with engine: ...`` starts and ends it."""

    name = ""
    programs: tuple[str, ...] = ()
    shim = ""
    """How the command line of its monitor of one container begins."""

    def __init__(self, directory: str) -> None:
        self.directory = f"{directory}/{self.name}"
        os.makedirs(self.directory)
        self.environment = {**os.environ, "HOME": self.directory, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.log = f"{self.directory}/log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def missing(self) -> str:
        """The program that isn't there, or nothing."""
        return next((path for path in self.programs if not os.access(path, os.X_OK)), "")

    def command(self, *words: str) -> list[str]:
        """The command line of its client."""
        raise NotImplementedError

    def run_words(self, *words: str) -> list[str]:
        """`run` with these words."""
        return self.command("run", *words)

    def call(self, command: Sequence[str], stdin: str = "/dev/null") -> str:
        """Run its client; what it printed. Raises EngineFailed."""
        with open(stdin, "rb") as given:
            done = subprocess.run(
                command, check=False, stdin=given, capture_output=True, env=self.environment, timeout=300
            )
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()[-500:]
            raise EngineFailed(f"{self.name}: {' '.join(command[1:])}: exit code {done.returncode}: {words}")
        return done.stdout.decode()

    def load(self, archive: str) -> None:
        """Load an image from a file."""
        self.call(self.command("load"), archive)

    def start(self) -> None:
        """Start what has to run, and return when it answers."""

    def stop(self) -> None:
        """End it, its containers first."""

    def idle(self, count: int) -> list[str]:
        """Start containers that do nothing; their IDs."""
        return [self.call(self.run_words("-d", IMAGE, "sleep", "100000")).split()[-1] for _ in range(count)]

    def remove(self, containers: list[str]) -> None:
        self.call(self.command("rm", "-f", *containers))

    def shims(self) -> list[int]:
        """The processes that watch over a container each."""
        return [pid for pid in memory.processes() if memory.command_line(pid).startswith(self.shim)]

    def family(self) -> list[int]:
        """The processes that are there without any container."""
        return []


class Daemon(Engine):
    """An engine whose daemon serves the Docker Engine API on a socket."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.socket = f"/run/bench-{self.name}.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def daemon(self) -> list[str]:
        """The daemon's command line."""
        raise NotImplementedError

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.daemon(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise EngineFailed(f"{self.name} did not start: {Path(self.log).read_text(errors='replace')[-1500:]}")
            time.sleep(0.002)

    def answers(self) -> bool:
        with contextlib.closing(self.api()) as api:
            try:
                api.call("GET", "/_ping")
            except (OSError, ApiError):
                return False
        return True

    def api(self) -> Api:
        """A new connection; the caller closes it."""
        return Api(self.socket)

    def stop(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(EngineFailed, subprocess.TimeoutExpired):
            containers = self.call(self.command("ps", "-aq")).split()
            if containers:
                self.remove(containers)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def family(self) -> list[int]:
        return memory.family(self.process.pid, without=self.shim) if self.process else []


class Docker(Daemon):
    """dockerd starts a containerd of its own, as none listens in this place's /run."""

    name = "docker"
    programs = ("/usr/sbin/dockerd", "/usr/bin/containerd", "/usr/sbin/runc", "/usr/bin/docker")
    shim = "/usr/bin/containerd-shim"

    def daemon(self) -> list[str]:
        roots = ["--data-root", f"{self.directory}/data", "--exec-root", "/run/bench-docker"]
        files = ["--pidfile", "/run/bench-docker.pid", "--config-file", "/dev/null"]
        return ["dockerd", "-H", self.url, *roots, *files[:2], "--exec-opt", "native.cgroupdriver=cgroupfs",
                "--storage-driver", "overlay2"]  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return ["/usr/bin/docker", "-H", self.url, *words]


class Minirund(Daemon):
    """The one that this is all about."""

    name = "minirund"
    shim = "minirund-shim"
    programs = (str(BIN / "minirund"), str(BIN / "minirun"))

    def daemon(self) -> list[str]:
        roots = ["--data-root", f"{self.directory}/data", "--exec-root", "/run/bench-minirund"]
        return [str(BIN / "minirund"), "-H", self.url, *roots]

    def command(self, *words: str) -> list[str]:
        return [str(BIN / "minirun"), "-H", self.url, *words]


class Podman(Engine):
    """No daemon: every command is the engine."""

    name = "podman"
    programs = ("/usr/bin/podman", "/usr/bin/conmon", "/usr/sbin/runc")
    shim = "/usr/bin/conmon"
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--pids-limit", "0")

    def command(self, *words: str) -> list[str]:
        roots = ["--root", f"{self.directory}/data", "--runroot", "/run/bench-podman", "--tmpdir", "/run/bench-libpod"]
        how = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return ["/usr/bin/podman", *roots, *how, "--storage-driver", "overlay", *words]

    def run_words(self, *words: str) -> list[str]:
        return self.command("run", *self.limits, *words)

    def stop(self) -> None:
        with contextlib.suppress(EngineFailed, subprocess.TimeoutExpired):
            containers = self.call(self.command("ps", "-aq")).split()
            if containers:
                self.remove(containers)


ENGINES: tuple[type[Engine], ...] = (Docker, Podman, Minirund)
