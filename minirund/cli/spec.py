"""The options of `run` and `create` -> the body of ``POST /containers/create``. Reads files that options name, no more.

Only what was asked for is in the body: the defaults are the daemon's.
"""

from __future__ import annotations

import os

from minirund.cli import limits, mounts, values
from minirund.cli.failure import Failure, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirund.cli.options import Parsed

_STREAMS = ("stdin", "stdout", "stderr")

# option -> key, for those that are handed on as they are
_CONFIG = {
    "domainname": "Domainname",
    "hostname": "Hostname",
    "mac-address": "MacAddress",
    "stop-signal": "StopSignal",
    "stop-timeout": "StopTimeout",
    "user": "User",
    "workdir": "WorkingDir",
}
_HOST_CONFIG = {
    "blkio-weight": "BlkioWeight",
    "cap-add": "CapAdd",
    "cap-drop": "CapDrop",
    "cgroup-parent": "CgroupParent",
    "cgroupns": "CgroupnsMode",
    "cidfile": "ContainerIDFile",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "dns": "Dns",
    "dns-option": "DnsOptions",
    "dns-search": "DnsSearch",
    "group-add": "GroupAdd",
    "init": "Init",
    "ipc": "IpcMode",
    "kernel-memory": "KernelMemory",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "memory-swappiness": "MemorySwappiness",
    "oom-kill-disable": "OomKillDisable",
    "oom-score-adj": "OomScoreAdj",
    "pid": "PidMode",
    "pids-limit": "PidsLimit",
    "privileged": "Privileged",
    "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs",
    "rm": "AutoRemove",
    "runtime": "Runtime",
    "shm-size": "ShmSize",
    "userns": "UsernsMode",
    "uts": "UTSMode",
    "volume-driver": "VolumeDriver",
    "volumes-from": "VolumesFrom",
}
_MAPS = {
    "annotation": "Annotations",
    "cgroup-conf": "CgroupConf",
    "storage-opt": "StorageOpt",
    "sysctl": "Sysctls",
}
_HEALTH = {"interval": "Interval", "retries": "Retries", "start-period": "StartPeriod", "timeout": "Timeout"}


def create_body(args: Parsed, *, detach: bool, console: tuple[int, int] | None = None) -> dict[str, Any]:
    """The whole body. ``args.rest`` is IMAGE [COMMAND...]; ``console`` the terminal's (rows, columns)."""
    body = _config(args, attached(args, detach=detach))
    host = _host_config(args)
    if console is not None:
        host["ConsoleSize"] = list(console)
    binds, anonymous = mounts.volumes(args.items("volume"))
    _set(host, Binds=binds)
    _set(body, Volumes=anonymous)
    _add_ports(args, body, host)
    _add_networks(args, body, host)
    body["HostConfig"] = host
    return body


def update_body(args: Parsed) -> dict[str, Any]:
    """The body of ``POST /containers/{id}/update``: what is given of the options that `update` has."""
    body = {**_copied(args, _HOST_CONFIG), **_maps(args, {"cgroup-conf": "CgroupConf"})}
    _set(body, **limits.listed(args))
    if args.given("restart"):
        body["RestartPolicy"] = values.restart_policy(args.text("restart"))
    return body


def attached(args: Parsed, *, detach: bool) -> tuple[str, ...]:
    """Which of stdin, stdout and stderr the container is attached to."""
    asked = [name.lower() for name in args.items("attach")]
    if wrong := [name for name in asked if name not in _STREAMS]:
        raise UsageError(
            f'invalid argument "{wrong[0]}" for "-a, --attach" flag: valid streams are stdin, stdout and stderr'
        )
    if detach and asked:
        raise Failure("conflicting options: cannot specify both --attach and --detach")
    if detach:
        return ()
    return tuple(asked) if asked else _STREAMS if args.flag("interactive") else _STREAMS[1:]


def _set(target: dict[str, Any], **entries: Any) -> None:
    target.update({key: value for key, value in entries.items() if value})


def _copied(args: Parsed, names: dict[str, str]) -> dict[str, Any]:
    return {key: args.value(option) for option, key in names.items() if args.given(option)}


def _maps(args: Parsed, names: dict[str, str]) -> dict[str, dict[str, str]]:
    return {key: values.mapping(args.items(option)) for option, key in names.items() if args.given(option)}


def _config(args: Parsed, streams: Sequence[str]) -> dict[str, Any]:
    image, *command = args.rest
    body: dict[str, Any] = {"Image": image, **_copied(args, _CONFIG)}
    body.update({f"Attach{name.capitalize()}": name in streams for name in _STREAMS})
    interactive = args.flag("interactive")
    body.update(Tty=args.flag("tty"), OpenStdin=interactive, StdinOnce=interactive and "stdin" in streams)
    if args.given("entrypoint"):
        body["Entrypoint"] = [args.text("entrypoint")]
    _set(
        body,
        Cmd=command,
        Env=values.environment(args.items("env-file"), args.items("env")),
        Labels=values.labels(args.items("label-file"), args.items("label")),
        Healthcheck=_health(args),
    )
    return body


def _health(args: Parsed) -> dict[str, Any]:
    if args.flag("no-healthcheck"):
        return {"Test": ["NONE"]}
    check = {key: args.value(f"health-{name}") for name, key in _HEALTH.items() if args.given(f"health-{name}")}
    if args.given("health-cmd"):
        check["Test"] = ["CMD-SHELL", args.text("health-cmd")]
    return check


def _host_config(args: Parsed) -> dict[str, Any]:
    host = _copied(args, _HOST_CONFIG)
    if not all("=" in word for word in args.items("storage-opt")):
        raise UsageError("invalid storage option")
    host.update(_maps(args, _MAPS))
    _set(
        host,
        ExtraHosts=[_extra_host(spec) for spec in args.items("add-host")],
        LogConfig=_log_config(args),
        Mounts=[mounts.mount(spec) for spec in args.items("mount")],
        RestartPolicy=_restart(args),
        Tmpfs=mounts.tmpfs(args.items("tmpfs")),
        Ulimits=[_ulimit(spec) for spec in args.items("ulimit")],
    )
    _set(host, **limits.listed(args))
    _add_security(args.items("security-opt"), host)
    return host


def _log_config(args: Parsed) -> dict[str, Any]:
    if not (args.given("log-driver") or args.given("log-opt")):
        return {}
    return {"Type": args.text("log-driver"), "Config": values.mapping(args.items("log-opt"))}


def _extra_host(spec: str) -> str:
    name, mark, address = spec.partition("=") if "=" in spec else spec.partition(":")
    if not name or not mark or not address:
        raise UsageError(f'invalid argument "{spec}" for "--add-host" flag: bad format for add-host')
    return f"{name}:{address.strip('[]')}"


def _restart(args: Parsed) -> dict[str, Any]:
    if not args.given("restart"):
        return {}
    policy = values.restart_policy(args.text("restart"))
    if args.flag("rm") and policy["Name"] not in {"", "no"}:
        raise Failure("conflicting options: cannot specify both --restart and --rm")
    return policy


def _ulimit(spec: str) -> dict[str, Any]:
    name, equals, limits = spec.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        if not equals:
            raise ValueError
        return {"Name": name, "Soft": int(soft), "Hard": int(hard if colon else soft)}
    except ValueError:
        raise UsageError(f'invalid argument "{spec}" for "--ulimit" flag: invalid ulimit argument: {spec}') from None


def _add_security(options: Sequence[str], host: dict[str, Any]) -> None:
    kept = []
    for option in options:
        name, _, value = option.replace(":", "=", 1).partition("=") if "=" not in option else option.partition("=")
        if name == "systempaths" and value == "unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
        elif name == "seccomp" and value not in ("unconfined", "builtin"):
            kept.append(f"seccomp={_seccomp_profile(value)}")
        else:
            kept.append(option)
    _set(host, SecurityOpt=kept)


def _seccomp_profile(path: str) -> str:
    from minirund.lean import dumps, loads

    try:
        with open(path, "rb") as file:
            return dumps(loads(file.read()))
    except OSError as error:
        raise Failure(f"opening seccomp profile ({path}) failed: {os.strerror(error.errno or 0).lower()}") from None
    except ValueError as error:
        raise Failure(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def _add_ports(args: Parsed, body: dict[str, Any], host: dict[str, Any]) -> None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for spec in args.items("publish"):
        for port, binding in mounts.published(spec):
            bindings.setdefault(port, []).append(binding)
    ports = [port for spec in args.items("expose") for port in mounts.exposed(spec)]
    _set(body, ExposedPorts={port: {} for port in (*ports, *bindings)})
    _set(host, PortBindings=bindings)


def _add_networks(args: Parsed, body: dict[str, Any], host: dict[str, Any]) -> None:
    names = args.items("network")
    address = {"IPv4Address": args.text("ip"), "IPv6Address": args.text("ip6")}
    first: dict[str, Any] = {}
    _set(first, IPAMConfig={key: value for key, value in address.items() if value}, Aliases=args.items("network-alias"))
    if names:
        host["NetworkMode"] = names[0]
    if first or len(names) > 1:
        ends: dict[str, Any] = {name: {} for name in names} or {"default": {}}
        ends[next(iter(ends))] = first
        body["NetworkingConfig"] = {"EndpointsConfig": ends}
