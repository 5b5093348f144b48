"""What a HostConfig may not ask for yet. Nothing is passed over in silence: it is refused, by name.

A table, one line an option: which value means "not asked for", and what to say. It gets shorter as the engine grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minirund.engine.records import Json
from minirund.errors import InvalidArgument, NotSupported

Test = Callable[[Any], bool]

NOT_YET: tuple[tuple[str, Test, str], ...] = (
    ("PortBindings", bool, "published ports (-p)"),
    ("PublishAllPorts", bool, "published ports (-P)"),
    ("VolumesFrom", bool, "volumes of another container (--volumes-from)"),
    ("VolumeDriver", lambda value: value not in {None, "", "local"}, "volume drivers (--volume-driver)"),
    ("Links", bool, "links (--link)"),
    ("UsernsMode", lambda value: value not in {None, "", "host"}, "user namespaces (--userns)"),
    ("DeviceRequests", bool, "device requests (--gpus)"),
    ("Isolation", lambda value: value not in {None, "", "default"}, "isolation technologies (--isolation)"),
)

CONFIG_NOT_YET: tuple[tuple[str, Test, str], ...] = (
    ("Healthcheck", lambda value: (value or {}).get("Test") not in (None, [], ["NONE"]), "health checks (--health-*)"),
    ("Volumes", bool, "anonymous volumes (-v /path)"),
    ("MacAddress", bool, "a MAC address of one's own (--mac-address)"),
)
"""The same for what a ContainerConfig asks for itself. From an image all this is a proposal, and may be passed over."""

ENDPOINT_NOT_YET: tuple[tuple[str, Test, str], ...] = (
    ("IPAMConfig", lambda value: any((value or {}).values()), "an address of one's own (--ip)"),
    ("MacAddress", bool, "a MAC address of one's own (--mac-address)"),
    ("Links", bool, "links (--link)"),
    ("Aliases", bool, "names in a network (--network-alias)"),
)

MODES: dict[str, tuple[str, ...]] = {
    "PidMode": ("", "host", "private"),
    "IpcMode": ("", "host", "private", "shareable", "none"),
    "UTSMode": ("", "host"),
    "CgroupnsMode": ("", "host", "private"),
}


def check_config(config: Json) -> None:
    """What the user's own ContainerConfig asks for. Raises NotSupported."""
    _refuse(config, CONFIG_NOT_YET)


def _refuse(asked_for: Json, table: tuple[tuple[str, Test, str], ...]) -> None:
    for key, asked, what in table:
        if asked(asked_for.get(key)):
            verb = "is" if what.split()[0] in {"a", "an"} else "are"
            raise NotSupported(f"{what} {verb} not offered yet")


def check(host: Json, networking: Json) -> None:
    """Raises NotSupported, or InvalidArgument for a word that is none."""
    _refuse(host, NOT_YET)
    if (host.get("Runtime") or "runc") not in {"runc", "minirund", "io.containerd.runc.v2"}:
        raise InvalidArgument(f"unknown or invalid runtime name: {host['Runtime']}")
    _check_log_driver((host.get("LogConfig") or {}).get("Type") or "json-file")
    for key, words in MODES.items():
        mode = host.get(key) or ""
        if mode not in words and not (mode.startswith("container:") and key in {"PidMode", "IpcMode"}):
            raise InvalidArgument(f"invalid {key}: {mode}: use {' or '.join(word for word in words if word)}")
    for name, endpoint in (networking.get("EndpointsConfig") or {}).items():
        _refuse(endpoint or {}, ENDPOINT_NOT_YET)
        if name not in {"bridge", "default", "host", "none", host.get("NetworkMode")}:
            raise NotSupported(f"network {name} not found: user-defined networks are not offered yet")


LOG_DRIVERS = frozenset("awslogs etwlogs fluentd gcplogs gelf journald logentries splunk syslog".split())
"""Docker's, which send the output elsewhere."""


def _check_log_driver(driver: str) -> None:
    if driver in LOG_DRIVERS:
        raise NotSupported(f'logging driver "{driver}" is not offered: logs are kept in files, as by "json-file"')
    if driver not in {"json-file", "local", "none"}:
        raise InvalidArgument(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
