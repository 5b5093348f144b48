"""What the daemon was told: roots, bridge, registries. Made by ``options.py`` from options and daemon.json."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface

from minirund.bundle import Bundle

EXEC_OPT = "native.cgroupdriver"
DRIVERS = ("cgroupfs", "systemd")


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths are absolute. ``max_unpacked_size`` is in bytes, None for no bound."""

    data_root: str = "/var/lib/minirund"
    exec_root: str = "/run/minirund"
    bridge: str = "minirun0"
    bip: IPv4Interface | None = None
    """The bridge's own address with its subnet; None chooses a subnet that is free."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    cgroup_parent: str = ""
    """Of the containers' cgroups, below the cgroup v2 mount; "" for the daemon's choice (places.py)."""
    cgroup_driver: str = ""
    """One of DRIVERS; "" for systemd where that is in charge (places.py)."""
    max_unpacked_size: int | None = None
    layer_size: int = 0
    """Bytes that a container may write to its own layer where it asks for nothing; 0 for no limit."""
    pool_size: int = 4
    """Network namespaces that wait, wired, for a container."""
    hosts: tuple[str, ...] = ("unix:///run/minirund.sock",)
    log_level: str = "info"
    metrics_addr: tuple[str, int] | None = None
    """Host ("" is every address) and port where /metrics is served besides the socket."""

    @property
    def containers_dir(self) -> str:
        """The durable side of the bundles."""
        return f"{self.data_root}/containers"

    @property
    def run_dir(self) -> str:
        """The side that is gone at reboot."""
        return f"{self.exec_root}/containers"

    def bundle(self, ident: str) -> Bundle:
        """The two directories of the container with this ID."""
        return Bundle(f"{self.containers_dir}/{ident}", f"{self.run_dir}/{ident}")

    @property
    def trash_dir(self) -> str:
        """What is to be deleted, whenever there is time."""
        return f"{self.data_root}/trash"

    @property
    def rootfs_dir(self) -> str:
        """Where every init mounts its root, each in its own mount namespace: on the host it stays empty."""
        return f"{self.exec_root}/rootfs"
