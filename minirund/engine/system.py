"""What the daemon says of itself and its host: version, info, disk usage. Docker's bodies, true values."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping

from cgroups.cgroup import Cgroup, fix_for_host
from cgroups.errors import CgroupError
from minirund import __version__
from minirund.engine import hostfiles, machine
from minirund.engine.containers import Containers
from minirund.engine.events import Events
from minirund.engine.images import Images
from minirund.engine.lifecycle import Status
from minirund.engine.networks import Networks
from minirund.engine.records import Json
from minirund.engine.settings import Settings
from minirund.engine.store import Store
from minirund.registry.platform import host as host_platform
from overlayfs.mounted import mount_of

API, MIN_API = "1.47", "1.24"
WANTED_CONTROLLERS = ("memory", "cpu", "pids", "io", "cpuset")
OPTIONAL = (("cpu.max",), ("io.weight", "io.bfq.weight"))
"""Files that a kernel may be built without though it has the controller: one of each is wanted."""
LACKING = {
    "memory.swap.max": "swap limit support: the kernel counts no swap for cgroups, it has no memory.swap.max",
    "cpu.max": "cpu cfs quota support: the kernel is built without CONFIG_CFS_BANDWIDTH, it has no cpu.max",
    "io.weight": "io.weight support: the kernel has neither io.weight nor io.bfq.weight",
}


class System:
    """The host, and this daemon on it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        containers: Containers,
        images: Images,
        networks: Networks,
        events: Events,
        cgroup_driver: str,
    ) -> None:
        self._settings, self._containers, self._images = settings, containers, images
        self._networks, self._events, self._cgroup_driver = networks, events, cgroup_driver
        self.id = store.fact("daemon", lambda: secrets.token_hex(16))
        self.memory = _memory()
        """The host's, in bytes."""

    def version(self) -> Json:
        """GET /version."""
        kernel, architecture = platform.release(), host_platform().architecture
        details = {"ApiVersion": API, "Arch": architecture, "BuildTime": "", "Experimental": "false",
                   "GitCommit": "", "GoVersion": "", "KernelVersion": kernel,
                   "MinAPIVersion": MIN_API, "Os": "linux"}  # fmt: skip
        python = platform.python_version()
        return {
            "Platform": {"Name": "minirund"},
            "Components": [
                {"Name": "Engine", "Version": __version__, "Details": details},
                {"Name": "Python", "Version": python, "Details": {}},
            ],
            "Version": __version__, "ApiVersion": API, "MinAPIVersion": MIN_API, "GitCommit": "", "GoVersion": "",
            "Os": "linux", "Arch": architecture, "KernelVersion": kernel, "BuildTime": "",
        }  # fmt: skip

    def info(self) -> Json:
        """GET /info."""
        offered, warnings = limits(self._top())
        return {
            **self._identity(), **self._counts(), **offered, **_EMPTY,
            "Warnings": [*warnings, *self._networks.warnings()] or None,
            "Driver": "overlayfs", "DriverStatus": [["Backing Filesystem", mount_of(self._settings.data_root).kind]],
            "DockerRootDir": self._settings.data_root, "CgroupDriver": self._cgroup_driver, "CgroupVersion": "2",
            "LoggingDriver": "json-file", "DefaultRuntime": "minirund", "Runtimes": {"minirund": {"path": "minirund"}},
            "InitBinary": "tini", "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
            "Plugins": {"Volume": [], "Network": ["bridge", "host", "null"], "Authorization": None,
                        "Log": ["json-file"]},
            "IPv4Forwarding": hostfiles.read("/proc/sys/net/ipv4/ip_forward").strip() == "1",
            "Debug": self._settings.log_level == "debug", "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(asyncio.all_tasks()), "NEventsListener": self._events.listeners,
            "SystemTime": _now(), "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self._registries(), "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""), "NoProxy": os.environ.get("NO_PROXY", ""),
        }  # fmt: skip

    def _identity(self) -> Json:
        return {
            "ID": self.id, "Name": platform.node(), "ServerVersion": __version__, "OperatingSystem": _os_name(),
            "OSType": "linux", "OSVersion": _os_release().get("VERSION_ID", ""), "Architecture": platform.machine(),
            "KernelVersion": platform.release(), "NCPU": os.cpu_count() or 1, "MemTotal": self.memory,
        }  # fmt: skip

    def _counts(self) -> Json:
        containers = self._containers.list(all=True, limit=None, filters={})
        count = Counter(container.status for container in containers)
        running, paused = count[Status.RUNNING], count[Status.PAUSED]
        return {
            "Containers": len(containers), "ContainersRunning": running, "ContainersPaused": paused,
            "ContainersStopped": len(containers) - running - paused, "Images": len(self._images.all()),
        }  # fmt: skip

    def _top(self) -> Cgroup | None:
        try:
            return Cgroup.at("/")
        except (CgroupError, OSError):
            return None

    def _registries(self) -> Json:
        insecure = ["127.0.0.0/8", *(entry for entry in self._settings.insecure_registries if "/" in entry)]
        return {
            "InsecureRegistryCIDRs": insecure,
            "Mirrors": list(self._settings.registry_mirrors),
            "IndexConfigs": {
                "docker.io": {"Name": "docker.io", "Official": True, "Secure": True,
                              "Mirrors": list(self._settings.registry_mirrors)},
                **{name: {"Name": name, "Official": False, "Secure": False, "Mirrors": []}
                   for name in self._settings.insecure_registries if "/" not in name},
            },
        }  # fmt: skip

    async def data_usage(self) -> Json:
        """GET /system/df, but for the shapes of images and containers: bytes of all layers, of those of each image that
        others have too, and of what each container writes."""
        layers = await asyncio.to_thread(self._images.layers.layers)
        containers = self._containers.list(all=True, limit=None, filters={})
        found = await self._containers.sizes_of(container.id for container in containers)
        sizes = {ident: written for ident, (written, _) in found.items()}
        images = {image.id: image.layers for image in self._images.all()}
        shared = shared_sizes(images, {layer.chain_id: layer.size for layer in layers})
        return {"LayersSize": sum(layer.size for layer in layers), "SizeRw": sizes, "SharedSize": shared}


def shared_sizes(images: Mapping[str, Iterable[str]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Of each image, the bytes of the layers that another image has too. Layers are named by chain ID."""
    users = Counter(chain for layers in images.values() for chain in layers)
    return {image: sum(sizes.get(chain, 0) for chain in layers if users[chain] > 1) for image, layers in images.items()}


_EMPTY: Json = {
    "BridgeNfIptables": False, "BridgeNfIp6tables": False, "Labels": [], "ExperimentalBuild": False,
    "LiveRestoreEnabled": True, "Isolation": "", "GenericResources": None, "ProductLicense": "",
    "ContainerdCommit": {"ID": "", "Expected": ""}, "RuncCommit": {"ID": "", "Expected": ""},
    "InitCommit": {"ID": "", "Expected": ""},
    "Swarm": {"LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": False, "Error": "",
              "RemoteManagers": None},
}  # fmt: skip
"""What Docker's body has and minirund has nothing to say of."""


def limits(top: Cgroup | None) -> tuple[Json, list[str]]:
    """Which limits can be enforced, and a warning for each that can't."""
    controllers = top.controllers() if top else frozenset()
    lacking = {"memory.swap.max"} if top and not machine.counts_swap(top) else set()
    lacking |= {files[0] for files in OPTIONAL if top and machine.has(top, *files) is False}
    found: Json = {
        "MemoryLimit": "memory" in controllers, "CPUShares": "cpu" in controllers, "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers, "OomKillDisable": False,
        "SwapLimit": "memory" in controllers and "memory.swap.max" not in lacking,
        **dict.fromkeys(("CpuCfsPeriod", "CpuCfsQuota"), "cpu" in controllers and "cpu.max" not in lacking),
    }  # fmt: skip
    warnings = [
        f"WARNING: No {name} limit support: {fix_for_host(name)}"
        for name in WANTED_CONTROLLERS
        if name not in controllers
    ]
    words = [text for file, text in LACKING.items() if file in lacking and file.partition(".")[0] in controllers]
    return found, warnings + [f"WARNING: No {text}" for text in words]


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _os_name() -> str:
    return _os_release().get("PRETTY_NAME", "Linux")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - for this one line

    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
