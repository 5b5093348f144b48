"""The OCI runtime-spec configuration, config.json: the shapes that the engine writes and the runtime executes.

The keys are the specification's own (https://github.com/opencontainers/runtime-spec, config.md and config-linux.md);
here are those that minirund knows; ``hooks`` and ``apparmorProfile`` are not carried out yet.
Two things the specification has no words for:

- ``minirund``, a top-level property (a runtime ignores those that it does not know): how the root file system is put
  together, what stdin is, where output is recorded;
- ``process.user.username``, "name|uid[:group|gid]": resolved by the runtime in the container's own /etc/passwd and
  /etc/group, after the root has been changed, where no link can lead it outside; ``process.user.groups`` likewise.
"""

from __future__ import annotations

from typing import Any, TypedDict

VERSION = "1.2.0"


class User(TypedDict, total=False):
    """Who the process is. ``username`` and ``groups`` win over the numbers."""

    uid: int
    gid: int
    umask: int
    additionalGids: list[int]
    username: str
    groups: list[str]


class Capabilities(TypedDict, total=False):
    """Capability sets, names as CAP_CHOWN."""

    bounding: list[str]
    effective: list[str]
    permitted: list[str]
    inheritable: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    """One resource limit, as setrlimit(2): type RLIMIT_NOFILE, ..."""

    type: str
    soft: int
    hard: int


class ConsoleSize(TypedDict):
    """A terminal's size in characters."""

    height: int
    width: int


class Process(TypedDict, total=False):
    """What is executed, and as what. Also the body of an exec."""

    terminal: bool
    consoleSize: ConsoleSize
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    oomScoreAdj: int
    apparmorProfile: str


class Root(TypedDict, total=False):
    """The root directory; relative to the bundle. With ``minirund.rootfs`` it is where that is mounted."""

    path: str
    readonly: bool


class Mount(TypedDict, total=False):
    """One mount, as mount(8): options in its words."""

    destination: str
    type: str
    source: str
    options: list[str]


class Namespace(TypedDict, total=False):
    """type: pid network mount ipc uts user cgroup time. With ``path`` it is joined, else made."""

    type: str
    path: str


class Device(TypedDict, total=False):
    """A device node to make: type c, b, u or p; fileMode in decimal."""

    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class Linux(TypedDict, total=False):
    """config-linux.md."""

    namespaces: list[Namespace]
    devices: list[Device]
    cgroupsPath: str
    resources: dict[str, Any]
    rootfsPropagation: str
    seccomp: dict[str, Any]
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]


class Extension(TypedDict, total=False):
    """minirund's own property.

    ``rootfs`` is an ``overlayfs.mount.OverlayMount`` as JSON, absent for a plain directory; ``log`` a path relative to
    the bundle, absent for none; ``stdin`` keeps stdin open for clients (else /dev/null); ``stdin_once``
    closes it when the first client that had it has gone; ``keep_projects``: nobody in it may change a file's project,
    by which the layer's quota counts.
    """

    rootfs: dict[str, Any]
    log: str
    stdin: bool
    stdin_once: bool
    keep_projects: bool


class Config(TypedDict, total=False):
    """config.json."""

    ociVersion: str
    process: Process
    root: Root
    hostname: str
    domainname: str
    mounts: list[Mount]
    linux: Linux
    annotations: dict[str, str]
    hooks: dict[str, Any]
    minirund: Extension
