"""The engine's network: one bridge with its addresses, and what a container's NetworkMode comes to.

    bridge         a namespace from the pool, wired already; its address goes back to the pool of addresses at the end
    none           a namespace of its own with nothing in it but lo
    host           the host's
    container:ID   that container's

The network namespace travels to the shim as a descriptor; nothing of it is left on the host when the last process
of the container ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple

from minirund.engine.hostfiles import Followed
from minirund.engine.records import Container, Endpoint, Json
from minirund.engine.settings import Settings
from minirund.engine.store import Store
from minirund.errors import EngineError, InvalidArgument
from netns.bridge import enable_forwarding
from netns.errors import NetworkError
from netns.firewall import Firewall
from netns.ipam import AddressPool
from netns.namespace import NetworkNamespace
from netns.pool import ReadyPool
from netns.resolv import hosts_file, resolv_conf
from netns.subnets import ensure_bridge

log = logging.getLogger(__name__)

BUILT_IN = ("bridge", "host", "none")


Strings = list[str]


class Place(NamedTuple):
    """A container's place. ``descriptor``: a namespace to hand over, or -1; ``join``: a path to join, "" for the
    host's, None for neither."""

    endpoint: Endpoint | None = None
    descriptor: int = -1
    join: str | None = None


class Network:
    """The default bridge and its containers."""

    def __init__(self, settings: Settings, store: Store, in_use: Iterable[str]) -> None:
        """Makes the bridge what it should be. ``in_use``: addresses of containers that run. Raises EngineError."""
        self._settings = settings
        self._resolvers = Followed("/etc/resolv.conf"), Followed("/run/systemd/resolve/resolv.conf")
        self.id = store.fact("network bridge", lambda: secrets.token_hex(32))
        try:
            self.bridge = ensure_bridge(settings.bridge, settings.bip)
            enable_forwarding()
            self._firewall = Firewall()
            self._firewall.ensure(settings.bridge, self.bridge.network.network)
        except NetworkError as error:
            raise EngineError(f"network: {error}") from error
        self._addresses = AddressPool(self.bridge.network.network, self.bridge.gateway)
        for address in in_use:
            self._reserve(address)
        self._pool = ReadyPool(self.bridge, self._addresses, settings.pool_size)

    def _reserve(self, address: str) -> None:
        try:
            self._addresses.reserve(IPv4Address(address))
        except NetworkError as error:
            log.warning("a running container's address is not of this subnet: %s", error)

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.bridge.gateway)

    async def place(self, container: Container, others: Container | None) -> Place:
        """A place for a container that is about to start. ``others`` is the one of ``container:ID``."""
        mode = mode_of(container.host_config)
        if mode == "host":
            return Place(join="")
        if mode == "none":
            return Place(descriptor=await asyncio.to_thread(_with_loopback))
        if others is not None:
            return Place(join=f"/proc/{others.pid}/ns/net")
        return await self._on_bridge()

    async def _on_bridge(self) -> Place:
        try:
            ready = self._pool.take_ready()
            namespace, wired = ready if ready is not None else await asyncio.to_thread(self._pool.make)
        except NetworkError as error:
            raise EngineError(f"network: {error}") from error
        endpoint = Endpoint(
            network="bridge", address=str(wired.address.ip), prefix=wired.address.network.prefixlen,
            gateway=self.gateway, mac=wired.mac, endpoint_id=secrets.token_hex(32),
        )  # fmt: skip
        return Place(endpoint, namespace.steal())

    def release(self, endpoint: Endpoint | None) -> None:
        """The container has ended: its address is free."""
        if endpoint is not None and endpoint.address:
            self._addresses.release(IPv4Address(endpoint.address))

    def hosts(self, container: Container, hostname: str, endpoint: Endpoint | None) -> str:
        """The text of its /etc/hosts. Raises InvalidArgument for a bad --add-host."""
        address = IPv4Address(endpoint.address) if endpoint and endpoint.address else None
        extra = container.host_config.get("ExtraHosts") or ()
        try:
            return hosts_file(hostname, container.config.get("Domainname") or "", address, extra, self.gateway)
        except ValueError as error:
            raise InvalidArgument(str(error)) from None

    def resolv(self, container: Container) -> str:
        """The text of its /etc/resolv.conf."""
        host, own = container.host_config, self._settings
        return resolv_conf(
            self._resolvers[0].text(),
            host.get("Dns") or own.dns,
            host.get("DnsSearch") or own.dns_search,
            host.get("DnsOptions") or own.dns_options,
            self._resolvers[1].text(),
        )

    def list(self) -> list[Json]:
        """The built-in networks, in Docker's bodies but for their containers."""
        subnet = str(self.bridge.network.network)
        return [
            _body("bridge", self.id, "bridge", [{"Subnet": subnet, "Gateway": self.gateway}],
                  {"com.docker.network.bridge.name": self._settings.bridge}),
            *(_body(name, "0" * 63 + str(number), driver, [], {}) for number, (name, driver)
              in enumerate((("host", "host"), ("none", "null")))),
        ]  # fmt: skip

    def warnings(self) -> Strings:
        """What on this host stands in the containers' way: firewall chains of others that drop what is forwarded."""
        return [
            f"WARNING: {chain} drops what containers send or receive: let {self._settings.bridge} through"
            for chain in self._firewall.blocked_by()
        ]

    def close(self) -> None:
        """The daemon ends: what waits in the pool goes; running containers keep their network."""
        self._pool.close()
        self._firewall.close()

    def remove(self) -> None:
        """Take bridge and rules away (no container uses them). After ``close``, so with a firewall of its own."""
        with contextlib.suppress(NetworkError), Firewall() as firewall:
            firewall.release(self._settings.bridge)
        with contextlib.suppress(NetworkError):
            self.bridge.remove()


def mode_of(host: Json) -> str:
    """NetworkMode without its synonyms. Raises InvalidArgument for a network that isn't there."""
    mode = host.get("NetworkMode") or "default"
    if mode in {"default", "bridge"}:
        return "bridge"
    if mode in BUILT_IN or mode.startswith("container:"):
        return str(mode)
    raise InvalidArgument(f"network {mode} not found: use bridge, none, host or container:NAME")


def _with_loopback() -> int:
    with NetworkNamespace.create() as namespace:
        namespace.loopback_up()
        return namespace.steal()


def _body(name: str, ident: str, driver: str, ipam: list[Json], options: Json) -> Json:
    return {
        "Name": name, "Id": ident, "Created": "1970-01-01T00:00:00Z", "Scope": "local", "Driver": driver,
        "EnableIPv4": True, "EnableIPv6": False, "IPAM": {"Driver": "default", "Options": None, "Config": ipam},
        "Internal": False, "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False,
        "Containers": {}, "Options": options, "Labels": {},
    }  # fmt: skip
