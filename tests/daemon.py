"""A daemon with a host of its own: mounts, network and cgroups that nobody else sees, and that end with it.

    with DaemonHost() as host:
        host.start()                                        # or start("--insecure-registry", registry.address)
        host.load_busybox()
        assert host.cli("run", "--rm", "busybox", "echo", "hi").stdout == "hi\n"
        status, answer = host.api("GET", "/containers/json")
        host.kill9(); host.start()                          # as after a crash: containers run on
        host.stop()

A process (containment.py) holds the place. The daemon enters it; its socket lies in a directory of the shared file
system, so that clients reach it from outside. Data and state are on a tmpfs inside. ``close`` ends everybody in the
host's cgroup, shims and containers too; ``leftovers`` says, after the last container was removed, what stayed.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from containment import OWN, PREFIX, Leftovers, descriptors, observe, settle
from images import busybox, docker_archive

from cgroups.cgroup import Cgroup, subdirectories
from minirund.engine.settings import Settings

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
START_SECONDS, STOP_SECONDS, CLI_SECONDS = 120, 120, 120
_numbers = itertools.count(1)


class DaemonFailed(Exception):
    """The daemon did not start; its log is in the message."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float = CLI_SECONDS) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class DaemonHost:
    """The place and the daemon in it. Use it in a ``with``."""

    def __init__(self) -> None:
        with ExitStack() as undo:
            self.directory = Path(tempfile.mkdtemp(prefix="minirun-test-"))
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.state = self.directory / "state"  # a tmpfs inside the place, an empty directory outside
            self.state.mkdir()
            self.group = Cgroup.at(f"{PREFIX}{os.getpid()}-{next(_numbers)}")
            undo.callback(self.group.remove)
            self._holder = self._hold()
            undo.callback(self._end_holder)
            self._before = self._observe()
            self._undo = undo.pop_all()
        self.socket = f"{self.directory}/minirund.sock"
        self.log = self.directory / "minirund.log"
        self.config = self.directory / "daemon.json"
        self.config.write_text("{}")
        self.daemon: subprocess.Popen[bytes] | None = None
        self._extra: Sequence[str] = ()

    def __enter__(self) -> DaemonHost:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, whatever state it is in."""
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
        self._undo.close()

    # --- the place

    def _hold(self) -> subprocess.Popen[str]:
        program = [
            sys.executable,
            str(ROOT / "tests/containment.py"),
            os.path.basename(self.group.path),
            str(self.state),
        ]
        holder = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            raise DaemonFailed("the place for a daemon could not be made")
        return holder

    def _end_holder(self) -> None:
        self._holder.communicate()
        self._holder.wait()

    @property
    def holder(self) -> int:
        """The process that holds the place: its namespaces in /proc are the way in."""
        return self._holder.pid

    @property
    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self._holder.pid), "-m", "-n", "-C", "--")

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command in the place: its mounts, network and cgroup."""
        script = 'echo $$ >"$0" && exec "$@"'
        return ["sh", "-c", script, f"{self.group.path}/{OWN}/cgroup.procs", *self._enter, *command]

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the place; as subprocess.run with text captured."""
        options = {"capture_output": True, "text": True, "timeout": CLI_SECONDS} | options
        return subprocess.run(self.inside(*command), **options)  # noqa: PLW1510 - the caller says check

    def _observe(self) -> Leftovers:
        """Around the place, but for what a daemon leaves on purpose, as containers go on with it: the bridge, the table
        (its maps are looked at by who tests ports), the empty parent of the containers' cgroups."""
        seen = observe(self.group, frozenset({self._holder.pid}), self._enter, str(self._holder.pid))
        return replace(
            seen,
            links=seen.links - {"minirun0"},
            tables=frozenset(table for table in seen.tables if table.split()[-1] != "minirun"),
            cgroups=frozenset(
                path for path in seen.cgroups if os.path.basename(path) != "minirund" or subdirectories(path)
            ),
        )

    def leftovers(self) -> Leftovers:
        """What is there that was not before the daemon came. Stop it first, and remove its containers."""
        return settle(self._observe, self._before)

    # --- the daemon

    @property
    def url(self) -> str:
        """For -H, MINIRUN_HOST and DOCKER_HOST."""
        return f"unix://{self.socket}"

    def start(self, *extra: str, env: Mapping[str, str] | None = None) -> None:
        """Start the daemon and return when it answers. Options given here last until others are given."""
        self._extra = extra or self._extra
        options = ["-H", self.url, "--data-root", f"{self.state}/data", "--exec-root", f"{self.state}/run"]
        options += ["--pidfile", f"{self.state}/minirund.pid", "--config-file", str(self.config)]
        command = self.inside(str(BIN / "minirund"), *options, *self._extra)
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}
            )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self.daemon is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise DaemonFailed(self.log_tail())
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.api("GET", "/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def log_tail(self) -> str:
        """The end of the daemon's log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """The daemon's."""
        assert self.daemon is not None
        return self.daemon.pid

    def commands(self) -> dict[int, bytes]:
        """The command lines of all its processes, by process ID. One that ends meanwhile is left out."""
        found = {}
        for pid in self.group.processes():
            with suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        return found

    def clients_of(self, ident: str) -> int:
        """How many of those that have come to the daemon's socket a container's shim has by now.

        The kernel lists a connection in the network namespace of who made it: in ours. Source: proc_pid_net(5).
        """
        table = [line.split() for line in Path("/proc/thread-self/net/unix").read_text().splitlines()]
        inodes = {f"socket:[{words[6]}]" for words in table if words[-1] == self.socket}
        shims = [
            pid for pid, command in self.commands().items() if command.startswith(f"minirund-shim {ident}".encode())
        ]
        return len(inodes & {name for pid in shims for name in descriptors(pid)})

    def settle(self) -> int:
        """Wait until it is idle, its pool of namespaces full: the number of its descriptors, once that stays."""
        found, deadline = -1, time.monotonic() + START_SECONDS
        while found != (now := self._descriptors(deadline)) or not self.sleeps():
            found = now
            time.sleep(0.2)
        return found

    def sleeps(self) -> bool:
        """Whether none of its threads wants the processor, which it may have to wait for."""
        states = []
        for task in os.scandir(f"/proc/{self.pid}/task"):
            with suppress(OSError):
                states.append(Path(task.path, "stat").read_text().rpartition(")")[2].split()[0])
        return set(states) == {"S"}

    def _descriptors(self, deadline: float) -> int:
        """How many it holds with a full pool: each namespace of it is a descriptor that leads to ``net:[NUMBER]``."""
        while True:
            held = descriptors(self.pid)
            if sum(target.startswith("net:") for target in held) >= Settings().pool_size:
                return len(held)
            assert time.monotonic() < deadline, f"its pool of namespaces does not fill: {held}"
            time.sleep(0.05)

    def kill9(self) -> None:
        """End the daemon with SIGKILL, as a crash would."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def stop(self) -> int:
        """SIGTERM; the daemon's exit code. Raises TimeoutExpired where it does not end."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(STOP_SECONDS)

    def restart(self, *extra: str) -> None:
        """Stop and start, with the same options or others."""
        self.stop()
        self.start(*extra)

    # --- its clients

    @property
    def environment(self) -> dict[str, str]:
        """With the variables that point minirun and docker at the daemon."""
        return {**os.environ, "MINIRUN_HOST": self.url, "DOCKER_HOST": self.url}

    def cli(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`minirun WORDS`; as subprocess.run with text captured and standard input empty."""
        return self._client(str(BIN / "minirun"), words, options)

    def docker(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The same with the stock client of Debian's docker.io."""
        return self._client("docker", words, options)

    def _client(self, program: str, words: Sequence[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        defaults: dict[str, Any] = {
            "capture_output": True,
            "text": True,
            "timeout": CLI_SECONDS,
            "env": self.environment,
        }
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        return subprocess.run([program, *words], **(defaults | options))  # noqa: PLW1510 - the caller says check

    def connection(self, timeout: float = CLI_SECONDS) -> UnixConnection:
        """A kept-alive HTTP connection; the caller closes it."""
        return UnixConnection(self.socket, timeout)

    def api(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """One request: the status, and the answer as JSON, else as text. ``body`` is bytes, or becomes JSON."""
        connection = self.connection()
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, _plain(answer.read())
        finally:
            connection.close()

    def load_busybox(self, name: str = "busybox:latest") -> None:
        """Load the image that runs without a registry."""
        status, answer = self.api("POST", "/images/load?quiet=1", docker_archive({name: busybox()}), TAR)
        if status != 200 or "errorDetail" in str(answer):
            raise DaemonFailed(f"load: {status} {answer}")

    def remove_containers(self) -> None:
        """All of them, running or not."""
        for container in self.api("GET", "/containers/json?all=1")[1]:
            self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")


TAR = {"Content-Type": "application/x-tar"}


def _plain(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
