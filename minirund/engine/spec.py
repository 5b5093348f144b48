"""From a container's record to its config.json: Docker's words into the OCI runtime-spec's. Pure.

Whatever the runtime will do is decided here, and can be read in the bundle afterwards.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from minirund import bundle, oci
from minirund.engine import devices, mounts, quota, resources, security
from minirund.engine.records import Container, Json
from minirund.errors import InvalidArgument

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH = "/sbin/docker-init"
PRIVATE = ("pid", "ipc", "uts", "mount", "network", "cgroup")


class Surroundings(NamedTuple):
    """What the record doesn't say. ``joins`` maps a namespace's type to a path; "" is the host's, so none is made."""

    rootfs_path: str
    rootfs: Json
    etc: dict[str, str]
    """File in the container (/etc/hosts) -> file on the host."""
    cgroups_path: str
    joins: dict[str, str]
    init_binary: str = ""


def config(container: Container, around: Surroundings) -> oci.Config:
    """The whole of config.json. Raises InvalidArgument, NotSupported."""
    host = container.host_config
    rules = security.policy(host)
    return oci.Config(
        ociVersion=oci.VERSION,
        process=process(container, rules),
        root=oci.Root(path=around.rootfs_path, readonly=bool(host.get("ReadonlyRootfs"))),
        hostname="" if around.joins.get("uts") == "" else hostname(container),
        domainname=container.config.get("Domainname") or "",
        mounts=_mounts(host, around),
        linux=_linux(host, rules, around),
        annotations={"org.opencontainers.image.ref.name": container.image},
        minirund=_extension(container, around),
    )


def _extension(container: Container, around: Surroundings) -> oci.Extension:
    found = oci.Extension(
        rootfs=around.rootfs,
        stdin=bool(container.config.get("OpenStdin")),
        stdin_once=bool(container.config.get("StdinOnce")),
    )
    if logged(container.host_config):
        found["log"] = bundle.LOG
    if quota.guarded(container.host_config):
        found["keep_projects"] = True
    return found


def logged(host: Json) -> bool:
    """Whether the container's output is kept: not with ``--log-driver none``."""
    return (host.get("LogConfig") or {}).get("Type") != "none"


def hostname(container: Container) -> str:
    """What it was given, or the first twelve digits of its ID."""
    return container.config.get("Hostname") or container.id[:12]


def process(container: Container, rules: security.Policy) -> oci.Process:
    """The container's first process."""
    host, given = container.host_config, container.config
    args = [INIT_PATH, "--", *container.args] if host.get("Init") else list(container.args)
    found = oci.Process(
        terminal=container.tty,
        user=oci.User(uid=0, gid=0, username=given.get("User") or "", groups=list(host.get("GroupAdd") or ())),
        args=args,
        env=environment(container),
        cwd=given.get("WorkingDir") or "/",
        capabilities=capability_sets(rules.capabilities),
        rlimits=resources.rlimits(host),
        noNewPrivileges=rules.no_new_privileges,
        oomScoreAdj=int(host.get("OomScoreAdj") or 0),  # always: the unit gives the daemon -500
    )
    height, width = (host.get("ConsoleSize") or (0, 0))[:2]
    if container.tty and height and width:
        found["consoleSize"] = oci.ConsoleSize(height=height, width=width)
    return found


def exec_process(container: Container, wanted: Json, tty: bool, size: tuple[int, int] | None) -> oci.Process:
    """A further process: as the container's own, but for what the ExecConfig says."""
    privileged = bool(wanted.get("Privileged"))
    rules = security.policy({**container.host_config, "Privileged": True} if privileged else container.host_config)
    found = process(container, rules)
    found |= oci.Process(
        terminal=tty,
        args=list(wanted.get("Cmd") or ()),
        env=merge_env(environment(container, tty), wanted.get("Env") or ()),
        cwd=wanted.get("WorkingDir") or container.config.get("WorkingDir") or "/",
    )
    if wanted.get("User"):
        found["user"] = oci.User(uid=0, gid=0, username=wanted["User"])
    found.pop("consoleSize", None)
    if size and all(size):
        found["consoleSize"] = oci.ConsoleSize(height=size[0], width=size[1])
    return found


def capability_sets(capabilities: tuple[str, ...]) -> oci.Capabilities:
    """Docker's choice: three sets alike, inheritable and ambient empty (CVE-2022-24769)."""
    names = list(capabilities)
    return oci.Capabilities(bounding=names, effective=names, permitted=names, inheritable=[], ambient=[])


def environment(container: Container, tty: bool | None = None) -> list[str]:
    """PATH, HOSTNAME and TERM, then what image and user set, which wins."""
    own = [DEFAULT_PATH, f"HOSTNAME={hostname(container)}"]
    if container.tty if tty is None else tty:
        own.append("TERM=xterm")
    return merge_env(own, container.config.get("Env") or ())


def merge_env(base: list[str] | tuple[str, ...], more: list[str] | tuple[str, ...]) -> list[str]:
    """Later settings win, in the place of the first. A word without "=" takes the variable away."""
    merged: dict[str, str] = {}
    for word in (*base, *more):
        key, equals, _ = word.partition("=")
        if equals:
            merged[key] = word
        else:
            merged.pop(key, None)
    return list(merged.values())


def _mounts(host: Json, around: Surroundings) -> list[oci.Mount]:
    own = mounts.wanted(host)
    taken = {mount["destination"] for mount in own}
    etc = [
        oci.Mount(destination=inside, type="bind", source=source, options=["bind", "rprivate"])
        for inside, source in around.etc.items()
        if inside not in taken
    ]
    if host.get("Init"):
        etc.append(oci.Mount(destination=INIT_PATH, type="bind", source=around.init_binary, options=["bind", "ro"]))
    return [mount for mount in mounts.system(host) if mount["destination"] not in taken] + etc + own


def _linux(host: Json, rules: security.Policy, around: Surroundings) -> oci.Linux:
    found = oci.Linux(
        namespaces=[_namespace(kind, around.joins) for kind in PRIVATE if around.joins.get(kind) != ""],
        devices=devices.nodes(host),
        cgroupsPath=around.cgroups_path,
        resources=resources.resources(host),
        sysctl=dict(host.get("Sysctls") or {}),
        maskedPaths=list(rules.masked),
        readonlyPaths=list(rules.readonly),
        rootfsPropagation=_propagation(host),
    )
    if rules.seccomp is not None:
        found["seccomp"] = rules.seccomp
    return found


def _namespace(kind: str, joins: dict[str, str]) -> oci.Namespace:
    return oci.Namespace(type=kind, path=joins[kind]) if joins.get(kind) else oci.Namespace(type=kind)


def _propagation(host: Json) -> str:
    words = {word for mount in mounts.wanted(host) for word in mount["options"]}
    return "rshared" if words & {"shared", "rshared"} else "rslave" if words & {"slave", "rslave"} else "rprivate"


_SYSCTL_IPC = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
               "kernel.shmmni", "kernel.shm_rmid_forced")  # fmt: skip


def check_sysctls(host: Json, known: str = "/proc/sys") -> None:
    """Only what a namespace of the container's own holds may be set, and only what there is. Raises InvalidArgument."""
    for name in host.get("Sysctls") or {}:
        if name.startswith("net."):
            mode, option = host.get("NetworkMode"), "--network=host"
        elif name in _SYSCTL_IPC or name.startswith("fs.mqueue."):
            mode, option = host.get("IpcMode"), "--ipc=host"
        else:
            raise InvalidArgument(f"sysctl '{name}' is not allowed")
        if mode == "host":
            raise InvalidArgument(f"sysctl '{name}' not allowed with {option}")
        if not _of_an_interface(name) and not os.path.isfile(f"{known}/{name.replace('.', '/')}"):
            raise InvalidArgument(f"sysctl '{name}' is not known to this kernel, or its module is not loaded")


def _of_an_interface(name: str) -> bool:
    """net.ipv4.conf.eth0.rp_filter: the container has others than the host."""
    return name.split(".")[2:3] in (["conf"], ["neigh"])
