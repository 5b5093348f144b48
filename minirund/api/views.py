"""Records as Docker's clients want to read them. Pure: a record, and what else is needed, in; JSON data out.

Two habits of Docker's live here and nowhere else: a container's state as a handful of booleans beside a word, and every
field there, whether it was asked for or not. What a record leaves out is filled in from the schemas' defaults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from minirund.api import schemas
from minirund.bundle import Bundle
from minirund.engine import security
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container, Endpoint, Exec, Json

SECOND = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"
DRIVER = "overlayfs"

NetworkId = Callable[[str], str]

_HOST_DEFAULTS: Json = {
    "NetworkMode": "bridge",
    "CgroupnsMode": "private",
    "IpcMode": "private",
    "ShmSize": 64 * 1024 * 1024,
    "Runtime": "minirund",
}
_HOST_OMITTED = ("Annotations", "Capabilities", "Mounts", "StorageOpt", "Tmpfs", "Sysctls", "Init", "KernelMemory",
                 "KernelMemoryTCP")  # fmt: skip
_CONFIG_OMITTED = ("ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal",
                   "StopTimeout", "Shell")  # fmt: skip


def rfc3339(nanoseconds: int) -> str:
    """``2026-01-02T03:04:05.006Z``: nanoseconds since 1970, trailing zeros cut, 0 for never."""
    if not nanoseconds:
        return NEVER
    seconds, rest = divmod(nanoseconds, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


_LONG = ((48, 1, "hours"), (14 * 24, 24, "days"), (60 * 24, 7 * 24, "weeks"), (730 * 24, 30 * 24, "months"))


def duration(nanoseconds: int) -> str:
    """About how long, in the words of Docker's listings: ``2 minutes``. Hours and more are rounded to whole hours."""
    seconds = max(nanoseconds, 0) // SECOND
    if seconds < 60:
        return ("Less than a second", "1 second")[seconds] if seconds < 2 else f"{seconds} seconds"
    if seconds < 3600:
        return "About a minute" if seconds < 120 else f"{seconds // 60} minutes"
    hours = (seconds + 1800) // 3600
    for below, unit, name in _LONG:
        if hours < below:
            return f"{hours // unit} {name}" if hours > 1 else "About an hour"
    return f"{seconds // 3600 // 24 // 365} years"


def status_text(container: Container, now: int | None = None) -> str:
    """``Up 2 minutes``, ``Exited (0) 3 seconds ago``, ``Created``."""
    now = time.time_ns() if now is None else now
    up, since = duration(now - container.started), duration(now - container.finished)
    return {
        Status.CREATED: "Created",
        Status.RUNNING: f"Up {up}",
        Status.PAUSED: f"Up {up} (Paused)",
        Status.RESTARTING: f"Restarting ({container.exit_code}) {since} ago",
        Status.EXITED: f"Exited ({container.exit_code}) {since} ago",
        Status.REMOVING: "Removal In Progress",
        Status.DEAD: "Dead",
    }[container.status]


def state(container: Container) -> Json:
    """``State`` of inspect: the word, and Docker's booleans."""
    return {
        "Status": container.status.value,
        "Running": container.active,
        "Paused": container.status is Status.PAUSED,
        "Restarting": container.status is Status.RESTARTING,
        "OOMKilled": container.oom_killed,
        "Dead": container.status is Status.DEAD,
        "Pid": container.pid if container.alive else 0,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started),
        "FinishedAt": rfc3339(container.finished),
    }


def host_config(given: Json) -> Json:
    """HostConfig with every field."""
    full = schemas.host.HostConfig.model_validate(given).model_dump()
    full |= {key: value for key, value in _HOST_DEFAULTS.items() if not full[key]}
    full["LogConfig"] = {"Type": full["LogConfig"]["Type"] or "json-file", "Config": full["LogConfig"]["Config"] or {}}
    full["RestartPolicy"]["Name"] = full["RestartPolicy"]["Name"] or "no"
    full["ConsoleSize"] = full["ConsoleSize"] or [0, 0]
    if full["MaskedPaths"] is None:
        full["MaskedPaths"] = [] if full["Privileged"] else list(security.MASKED)
    if full["ReadonlyPaths"] is None:
        full["ReadonlyPaths"] = [] if full["Privileged"] else list(security.READONLY)
    if full["NetworkMode"] == "default":
        full["NetworkMode"] = "bridge"
    return _without(full, _HOST_OMITTED)


def config(given: Json) -> Json:
    """ContainerConfig with every field that Docker shows."""
    full = schemas.containers.ContainerConfig.model_validate(given).model_dump()
    full["Labels"] = full["Labels"] or {}
    return _without(full, _CONFIG_OMITTED)


def _without(full: Json, names: tuple[str, ...]) -> Json:
    return {key: value for key, value in full.items() if value or key not in names}


def mounts(host: Json) -> list[Json]:
    """Binds and Mounts as the mount points that they become."""
    return [*_binds(host), *_mounts(host)]


def _binds(host: Json) -> Iterator[Json]:
    for spec in host.get("Binds") or ():
        source, _, rest = spec.partition(":")
        destination, _, mode = rest.partition(":")
        yield _mount("bind", source, destination, mode, "ro" not in mode.split(","))


def _mounts(host: Json) -> Iterator[Json]:
    for mount in host.get("Mounts") or ():
        propagation = (mount.get("BindOptions") or {}).get("Propagation", "")
        yield _mount(
            mount.get("Type", ""), mount.get("Source", ""), mount.get("Target", ""), "", not mount.get("ReadOnly"),
            propagation,
        )  # fmt: skip


def _mount(kind: str, source: str, destination: str, mode: str, writable: bool, propagation: str = "") -> Json:
    spread = {"private", "shared", "rshared", "slave", "rslave"} & set(mode.split(","))
    return {
        "Type": kind,
        "Source": source,
        "Destination": destination,
        "Mode": mode,
        "RW": writable,
        "Propagation": (propagation or next(iter(spread), "rprivate")) if kind == "bind" else "",
    }


def _endpoints(container: Container, network_id: NetworkId) -> Json:
    """Network name -> EndpointSettings, with what was asked for filled in."""
    mode = container.host_config.get("NetworkMode") or "bridge"
    name = "bridge" if mode == "default" else mode
    if name.startswith("container:"):
        return {}
    wanted = (container.networking.get("EndpointsConfig") or {}).get(name) or {}
    full = schemas.containers.EndpointSettings.model_validate(wanted).model_dump(exclude={"GwPriority"})
    found = container.endpoint if container.alive and container.endpoint else Endpoint(network=name)
    actual = {
        "NetworkID": network_id(name),
        "EndpointID": found.endpoint_id,
        "Gateway": found.gateway,
        "IPAddress": found.address,
        "IPPrefixLen": found.prefix,
        "MacAddress": found.mac or full["MacAddress"],
    }
    return {name: full | actual}


def summary(container: Container, network_id: NetworkId, now: int | None = None) -> Json:
    """A line of ``ps``."""
    mode = container.host_config.get("NetworkMode") or "bridge"
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": command(container.args),
        "Created": container.created // SECOND,
        "Ports": _ports(container),
        "Labels": container.config.get("Labels") or {},
        "State": container.status.value,
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": "bridge" if mode == "default" else mode},
        "NetworkSettings": {"Networks": _endpoints(container, network_id)},
        "Mounts": mounts(container.host_config),
    }


def command(args: tuple[str, ...]) -> str:
    """The words of a command, those with spaces quoted."""
    return " ".join([*args[:1], *(f"'{word}'" if " " in word else word for word in args[1:])])


def _ports(container: Container) -> list[Json]:
    ports = container.config.get("ExposedPorts") or {} if container.alive else {}
    ranges = [(port.partition("-"), kind or "tcp") for port, _, kind in (p.partition("/") for p in ports)]
    return [
        {"PrivatePort": port, "Type": kind}
        for (first, _, last), kind in ranges
        for port in range(int(first), int(last or first) + 1)
    ]


def inspect(container: Container, network_id: NetworkId, bundle: Bundle, execs: Sequence[str] = ()) -> Json:
    """All about a container. ``execs``: the IDs of those that run in it."""
    started = bool(container.started)
    return {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.args[0] if container.args else "",
        "Args": list(container.args[1:]),
        "State": state(container),
        "Image": container.image_id,
        "ResolvConfPath": f"{bundle.run}/resolv.conf" if started else "",
        "HostnamePath": f"{bundle.run}/hostname" if started else "",
        "HostsPath": f"{bundle.run}/hosts" if started else "",
        "LogPath": bundle.log_path if started else "",
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": DRIVER,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(execs) or None,
        "HostConfig": host_config(container.host_config),
        "GraphDriver": {
            "Name": DRIVER,
            "Data": {"UpperDir": f"{bundle.rw_path}/upper", "WorkDir": f"{bundle.rw_path}/work"},
        },
        "Mounts": mounts(container.host_config),
        "Config": config({"Hostname": container.id[:12], **container.config}),
        "NetworkSettings": _network_settings(container, network_id),
    }


def _network_settings(container: Container, network_id: NetworkId) -> Json:
    networks = _endpoints(container, network_id)
    default = networks.get("bridge") or schemas.containers.EndpointSettings().model_dump(exclude={"GwPriority"})
    outer = ("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
             "IPv6Gateway", "MacAddress")  # fmt: skip
    exposed = container.config.get("ExposedPorts") or {} if container.alive else {}
    return {
        "Bridge": "",
        "SandboxID": container.id if container.alive else "",
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.alive and container.pid else "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "Ports": dict.fromkeys(exposed),
        **{key: default[key] for key in outer},
        "Networks": networks,
    }


def exec_inspect(record: Exec) -> Json:
    """All about an exec."""
    given = record.config
    words = given.get("Cmd") or [""]
    process = {
        "tty": bool(given.get("Tty")),
        "entrypoint": words[0],
        "arguments": list(words[1:]),
        "privileged": bool(given.get("Privileged")),
    }
    return {
        "ID": record.id,
        "Running": record.running,
        "ExitCode": record.exit_code,
        "ProcessConfig": process | ({"user": given["User"]} if given.get("User") else {}),
        "OpenStdin": bool(given.get("AttachStdin")),
        "OpenStdout": bool(given.get("AttachStdout")),
        "OpenStderr": bool(given.get("AttachStderr")),
        "CanRemove": False,
        "ContainerID": record.container_id,
        "DetachKeys": given.get("DetachKeys") or "",
        "Pid": record.pid,
    }
