"""Before a container can start: its directory below the exec root, the files that go over its /etc, and config.json.

Nothing here is the kernel's yet. What the files say is decided by network.py (names, addresses) and spec.py (the rest).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from minirund.bundle import Bundle
from minirund.engine import quota, spec
from minirund.engine.catalog import Catalog
from minirund.engine.network import Network, Place
from minirund.engine.records import Container, Json
from minirund.engine.settings import Settings
from minirund.errors import Conflict, InvalidArgument

ETC = ("hostname", "hosts", "resolv.conf")
INITS = ("/usr/bin/tini-static", "/usr/bin/catatonit", "/usr/libexec/docker/docker-init", "/usr/bin/docker-init")
OF_STDIO = ("stdin", "stdin_once", "log")
HOSTS_OWN = (("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode"), ("cgroup", "CgroupnsMode"))


class Preparation:
    """Writes bundles."""

    def __init__(self, settings: Settings, network: Network, rootfs: Callable[[Container], Json]) -> None:
        self._settings, self._network, self._rootfs = settings, network, rootfs

    def bundle(self, container: Container) -> Bundle:
        """The container's directories."""
        return self._settings.bundle(container.id)

    def config(self, container: Container, place: Place, others: dict[str, Container]) -> Json:
        """config.json, and a directory for what belongs to this start. ``others``: containers whose namespaces are
        joined, by type.

        Raises OSError, InvalidArgument, NotSupported, EngineError.
        """
        bundle = self.bundle(container)
        quota.check_held(container.name, bundle.rw_path, container.host_config)
        os.makedirs(bundle.run, mode=0o700, exist_ok=True)
        return spec.config(container, self._surroundings(container, place, others))  # type: ignore[return-value]

    def write(self, container: Container, place: Place, config: Json) -> None:
        """Write what the runtime will read. Raises OSError, InvalidArgument."""
        bundle = self.bundle(container)
        hostname = spec.hostname(container)
        texts = (
            f"{hostname}\n",
            self._network.hosts(container, hostname, place.endpoint),
            self._network.resolv(container),
        )
        for name, text in zip(ETC, texts, strict=True):
            with open(f"{bundle.run}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        bundle.write_config(config)

    def _surroundings(self, container: Container, place: Place, others: dict[str, Container]) -> spec.Surroundings:
        run = self.bundle(container).run
        return spec.Surroundings(
            rootfs_path=self._settings.rootfs_dir,
            rootfs=self._rootfs(container),
            etc={f"/etc/{name}": f"{run}/{name}" for name in ETC},
            cgroups_path=container.cgroup,
            joins=_joins(container.host_config, place, others),
            init_binary=find_init() if container.host_config.get("Init") else "",
        )


def outline(config: Json) -> Json:
    """What has to be known of config.json before init can be cloned; see ``wire.Launch``."""
    parts = (("process", ("terminal",)), ("linux", ("namespaces", "cgroupsPath")), ("minirund", OF_STDIO))
    return {part: {key: config[part][key] for key in keys if key in config[part]} for part, keys in parts}


def joined(container: Container, catalog: Catalog) -> dict[str, Container]:
    """The containers whose namespaces it joins, by type. Raises NotFound, Conflict for one that does not run."""
    host, found = container.host_config, {}
    for kind, key in (("network", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode")):
        mode = host.get(key) or ""
        if mode.startswith("container:"):
            other = catalog.find(mode.removeprefix("container:"))
            if not other.alive:
                raise Conflict(f"cannot join the {kind} namespace of container {other.name}: it is not running")
            found[kind] = other
    return found


def _joins(host: Json, place: Place, others: dict[str, Container]) -> dict[str, str]:
    """Namespaces that are not the container's own: type to path, "" for the host's."""
    joins = {kind: f"/proc/{other.pid}/ns/{kind}" for kind, other in others.items() if kind != "network"}
    if place.join is not None:
        joins["network"] = place.join
    return joins | {kind: "" for kind, key in HOSTS_OWN if host.get(key) == "host"}


def find_init() -> str:
    """The little init of ``--init``. Raises InvalidArgument if none is installed."""
    for path in INITS:
        if os.path.exists(path):
            return path
    raise InvalidArgument("--init needs an init: install the package tini")


def without_own_files(changes: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """A container's changes without the empty files that were made for /etc/hosts and the like to be bound over."""
    own = {f"/etc/{name}" for name in ETC}
    left = [change for change in changes if change[1] not in own]
    if len(left) < len(changes) and not any(path.startswith("/etc/") for _, path in left):
        left = [change for change in left if change[1] != "/etc"]
    return left
