"""The engine: its parts, put together, by resource. A thin facade; each part is a file of its own.

engine.containers   engine.execs   engine.updates   engine.images   engine.networks   engine.events   engine.stats
engine.system   engine.metrics
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from cgroups.cgroup import Cgroup
from cgroups.errors import CgroupError
from minirund.engine.catalog import Catalog
from minirund.engine.containers import Containers
from minirund.engine.events import Events
from minirund.engine.execs import Execs
from minirund.engine.images import Images
from minirund.engine.locks import claim_bridge, lock_or_refuse, wait_for_starts
from minirund.engine.metrics import Metrics
from minirund.engine.network import Network
from minirund.engine.networks import Networks
from minirund.engine.places import Places, choose
from minirund.engine.records import Container, Json
from minirund.engine.recover import recover
from minirund.engine.restarts import Restarts
from minirund.engine.runner import Runner
from minirund.engine.settings import Settings
from minirund.engine.shims import Command, Spawner
from minirund.engine.stats import Statistics
from minirund.engine.store import Store
from minirund.engine.system import System
from minirund.engine.trash import Trash
from minirund.engine.updates import Updates
from minirund.errors import EngineError
from minirund.registry.options import RegistryOptions
from overlayfs.content import ContentStore
from overlayfs.layer import LayerStore

log = logging.getLogger(__name__)


class Engine:
    """One daemon's engine. ``await Engine.open(...)`` makes it, ``close`` lets go; the containers go on."""

    def __init__(self, settings: Settings, spawner: Spawner, places: Places, locks: tuple[int, ...]) -> None:
        """Opens the stores and the network. ``locks``: descriptors to be held until ``close``. Raises EngineError."""
        self.settings, self._spawner, self._places, self._locks = settings, spawner, places, locks
        root = Path(settings.data_root)
        for directory in (settings.containers_dir, settings.run_dir, settings.rootfs_dir):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        self._store = Store(f"{settings.data_root}/minirund.db")
        self.events = Events()
        self._trash = Trash(settings.trash_dir)
        self._catalog = Catalog(self._store)
        registries = RegistryOptions(settings.insecure_registries, settings.registry_mirrors)
        content, layers = ContentStore(root / "images"), LayerStore(root / "layers", settings.max_unpacked_size)
        content.sweep()
        layers.sweep()
        self.images = Images(self._store, content, layers, registries, self.events, self._catalog.containers)
        running = [one.endpoint.address for one in self._catalog.containers() if one.endpoint and one.endpoint.address]
        self._locks += (claim_bridge(settings.bridge),)
        self._network = Network(settings, self._store, running)
        self._runner = Runner(settings, self._catalog, self._network, spawner, self.events, self._rootfs, places)
        self._restarts = Restarts(self._catalog, self._runner)
        self.containers = Containers(
            self._catalog, self._runner, self._restarts, self.images, self.events, self._trash, places, settings
        )
        self.execs = Execs(self._catalog, self._runner, self.events)
        self.stats = Statistics(self._catalog, self._runner)
        self.updates = Updates(self._catalog, self._runner, self.events, places.top)
        self.networks = Networks(self._network, self._catalog)
        self.system = System(
            settings, self._store, self.containers, self.images, self.networks, self.events, places.driver
        )
        self.metrics = Metrics(self._catalog, self.stats, self._runner.starts, self.events, self.system)

    @classmethod
    async def open(cls, settings: Settings, command: Command) -> Engine:
        """Start the spawner, take up what runs, clear up what is left over. ``command``: see shims.Spawner."""
        places = choose(cgroup_root(), settings.cgroup_parent, settings.cgroup_driver)
        os.makedirs(settings.exec_root, mode=0o711, exist_ok=True)
        lock = lock_or_refuse(f"{settings.exec_root}/minirund.lock", "exec root", "--exec-root")
        token = await asyncio.to_thread(wait_for_starts, settings.exec_root)
        spawner = Spawner(lambda control, limit: places.command(command(control, limit)), token)
        engine = cls(settings, spawner, places, (token, lock))
        places.open()
        spawner.start()
        await recover(engine._catalog, engine._runner, settings, engine._trash, places)
        await engine.containers.finish_removals()
        await engine.images.drop_damaged()
        await engine.images.collect()
        try:
            await places.entered(spawner)
        except EngineError:
            await engine.close()
            raise
        engine._restarts.take_up()
        engine.containers.ready.fill()
        return engine

    def _rootfs(self, container: Container) -> Json:
        return self.images.rootfs(container.layers, self._runner.bundle(container).rw_path, container.auto_remove)

    async def close(self) -> None:
        """Let go of everything but the containers."""
        self.events.close()
        self._restarts.close()
        await self._runner.finish()
        self._runner.ooms.close()
        await self.images.close()
        await self.containers.ready.close()
        self._spawner.stop()
        await asyncio.to_thread(self._network.close)
        await self._trash.close()
        self._store.close()
        if not any(container.alive for container in self._catalog.containers()):
            self._leave_nothing()
        for descriptor in self._locks:
            os.close(descriptor)

    def _leave_nothing(self) -> None:
        """No container runs: the bridge, the rules and the parent cgroup are of use to nobody."""
        self._network.remove()
        self._places.close()


def cgroup_root() -> Cgroup:
    """The top of the cgroup v2 hierarchy. Raises EngineError if the host has none."""
    try:
        return Cgroup.at("/")
    except CgroupError as error:
        raise EngineError(str(error)) from error
