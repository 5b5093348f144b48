"""What the steps of init and exec work on: one object, made by the shim before the fork, that every step may add to."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from minirund.errors import StepFailed
from minirund.runtime import syscalls
from minirund.runtime.users import Identity

TERMINAL, MOUNTED, READY = b"terminal", b"mounted", b"ready"
"""What init says to the shim besides a failure: here is the terminal's master; here is what keeps the root file system
mounted; execve comes next."""

NAMESPACES = {
    "mount": syscalls.CLONE_NEWNS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "time": syscalls.CLONE_NEWTIME,
}


class Host(NamedTuple):
    """What the spawner found out once about the machine."""

    cgroup_mount: str  # "" without cgroup v2
    controllers: frozenset[str]  # those that the cgroup v2 hierarchy has
    last_capability: int
    capabilities: int  # a mask: what the daemon has, and so can give

    @classmethod
    def look(cls, cgroup_mount: str, controllers: frozenset[str]) -> Host:
        """Read it from /proc."""
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            last = int(file.read())
        with open("/proc/self/status", encoding="ascii") as status:
            permitted = next(line for line in status if line.startswith("CapPrm:"))
        return cls(cgroup_mount, controllers, last, int(permitted.split()[1], 16))


class Joined(NamedTuple):
    """A namespace to join: what is open for it, which kind (CLONE_NEW*), and its path for messages."""

    descriptor: int
    kind: int
    path: str


class Context:
    """One process on its way to execve. Descriptors in it are close-on-exec: execve is their end."""

    def __init__(self, host: Host, bundle: str, config: dict[str, Any], process: dict[str, Any]) -> None:
        self.host, self.bundle, self.config, self.process = host, bundle, config, process
        self.linux: dict[str, Any] = config.get("linux") or {}
        self.stdio: tuple[int, int, int] | None = None
        """The process's ends of its pipes; None: a terminal."""
        self.report: socket.socket
        """To the shim: the terminal's master, a failure; its end when execve has happened."""
        self.joins: list[Joined] = []
        self.run, self.shim = "", 0
        """init's only: the run directory, the shim's process ID."""
        self.seccomp = -1
        """A memfd with the filter program, or nothing in it; -1 for none."""
        self.plan: Callable[[], dict[str, Any]]
        """init's only: reads the configuration, once it is written."""
        self.waits = -1
        """init's only: where it hears that it is."""
        self.root = -1
        """The container's root directory, until it is everybody's."""
        self.output = True
        """Whether anybody may want its output: a detached exec's goes to /dev/null."""
        self.is_exec = False
        """Whether it joins a container that runs, and is not its first process."""
        self.trees: dict[int, int] = {}
        """Detached bind mounts by their place in the list of mounts."""
        self.identity = Identity()
        self.program = ""
        """The file to execute."""
        self.cwd_pending = False
        """The working directory could not be entered as root: once more as the user."""

    @property
    def available(self) -> int:
        """The capabilities that can be given, as a mask."""
        return self.host.capabilities

    @property
    def terminal(self) -> bool:
        """Whether the process gets a terminal."""
        return bool(self.process.get("terminal"))

    @property
    def env(self) -> list[str]:
        """NAME=VALUE strings."""
        return self.process.get("env") or []

    @property
    def mounts(self) -> list[dict[str, Any]]:
        """The configuration's mounts."""
        return self.config.get("mounts") or []

    def send_terminal(self, master: int) -> None:
        """Hand the terminal's master to the shim."""
        socket.send_fds(self.report, [TERMINAL], [master])
        os.close(master)

    def send_mounted(self) -> None:
        """Give the shim a part in the root file system; see rootfs.mount_root."""
        socket.send_fds(self.report, [MOUNTED], [self.root])

    def has_new(self, kind: str) -> bool:
        """Whether the container has a namespace of this kind that was made for it."""
        return any(each["type"] == kind and not each.get("path") for each in self.linux.get("namespaces") or ())

    def inside(self, path: str) -> str:
        """A path of the configuration: relative ones are relative to the bundle."""
        return os.path.join(self.bundle, path)


def kind_of(name: str) -> int:
    """OCI's name of a kind of namespace -> CLONE_NEW*. Raises StepFailed."""
    if name not in NAMESPACES:
        raise StepFailed(f"make the namespaces: there is no kind {name!r}")
    return NAMESPACES[name]


def new_namespaces(config: dict[str, Any], joined: int) -> int:
    """The mask for clone3: namespaces without a path, but the cgroup one, and those in ``joined``.

    The mount namespace is always new. The cgroup namespace's root is the cgroup of who makes it: init itself does that.
    """
    wanted = [each["type"] for each in (config.get("linux") or {}).get("namespaces") or () if not each.get("path")]
    flags = syscalls.CLONE_NEWNS
    for name in wanted:
        flags |= kind_of(name)
    return flags & ~syscalls.CLONE_NEWCGROUP & ~joined


def namespaces_of(config: dict[str, Any]) -> int:
    """The mask of all namespaces that the container has of its own or joined: what an exec enters."""
    flags = syscalls.CLONE_NEWNS
    for each in (config.get("linux") or {}).get("namespaces") or ():
        flags |= kind_of(each["type"])
    return flags & ~syscalls.CLONE_NEWUSER
