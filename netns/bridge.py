"""A bridge is a switch inside the kernel; a network's containers hang on it, and its own address is their gateway.

The daemon calls ``Bridge.ensure`` at every start: whatever state the last run left, afterwards the bridge exists, has
its address, is up and doesn't do spanning tree. It stays when the daemon ends, as running containers need it;
``remove`` takes it away with its network. Ports come by ``veth.connect`` and go with their namespaces.
"""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EEXIST, ENODEV
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from netns.errors import BridgeInUse, InvalidName, NameTaken, NetlinkError, SysctlError
from netns.messages import (
    IFF_UP,
    add_address,
    add_bridge,
    configure_bridge,
    delete_address,
    delete_link,
    get_link,
    list_addresses,
    list_ports,
)
from netns.netlink import RouteSocket

NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
IP_FORWARD = "/proc/sys/net/ipv4/ip_forward"


@dataclass(frozen=True)
class Link:
    """An interface as the kernel lists it."""

    name: str
    index: int
    kind: str  # "bridge", "veth", ...; "" for hardware
    up: bool


def mac_of(address: IPv4Address) -> str:
    """The MAC for an address, as Docker makes it: 02:42 and the four bytes. A reused address keeps its MAC, so no
    neighbour's ARP cache is ever wrong about it."""
    return "02:42:" + address.packed.hex(":")


def valid_name(name: str) -> str:
    """The name, if an interface can have it: up to 15 letters, digits, ``.``, ``_`` and ``-``. Raises InvalidName.

    The kernel allows more (dev_valid_name in net/core/dev.c), but nft and shells would trip over it.
    """
    if not NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidName(f"{name[:64]!r} can't be an interface's name: 1 to 15 of letters, digits, '.', '_' and '-'")
    return name


class Bridge:
    """One bridge, named ``name``, with ``network`` as its own address and prefix (the containers' gateway).

    Making the object does nothing to the host. Raises InvalidName.
    """

    def __init__(self, name: str, network: IPv4Interface, mtu: int = 1500) -> None:
        self.name, self.network, self.mtu = valid_name(name), network, mtu

    @property
    def gateway(self) -> IPv4Address:
        """The bridge's own address."""
        return self.network.ip

    def index(self) -> int:
        """The bridge's interface index. Raises NetlinkError ENODEV if it is gone."""
        try:
            return socket.if_nametoindex(self.name)
        except OSError as error:
            raise NetlinkError(f"look for bridge {self.name}", ENODEV) from error

    def ensure(self) -> None:
        """Make the bridge as it should be, from whatever is there.

        Adopts a bridge of the same name; corrects its MTU, and its address if nothing hangs on it. Raises NameTaken if
        the name belongs to an interface that is no bridge, BridgeInUse if the address is another one and containers
        use it, NetlinkError for what the kernel refuses.
        """
        with RouteSocket() as routes:
            link = _find(routes, self.name) or self._create(routes)
            if link.kind != "bridge":
                raise NameTaken(f"interface {self.name} exists and is not a bridge (it is {link.kind or 'hardware'})")
            self._correct_address(routes, link)
            routes.execute(configure_bridge(link.index, self.mtu))

    def remove(self) -> None:
        """Delete the bridge; fine if it is gone already. Raises NameTaken if the name is no bridge's, NetlinkError."""
        with RouteSocket() as routes:
            link = _find(routes, self.name)
            if link is None:
                return
            if link.kind != "bridge":
                raise NameTaken(f"interface {self.name} is not a bridge and is left alone")
            routes.execute(delete_link(self.name))

    def _create(self, routes: RouteSocket) -> Link:
        with _unless_exists():
            routes.execute(add_bridge(self.name, mac_of(self.gateway), self.mtu))
        return _parse(*routes.query(get_link(self.name)))

    def _correct_address(self, routes: RouteSocket, link: Link) -> None:
        existing = _addresses(routes, link.index)
        if self.network in existing:
            return
        if existing and _ports(routes, link.index):
            raise BridgeInUse(
                f"bridge {self.name} has {existing[0]} and containers on it: end them before it becomes {self.network}"
            )
        for address in existing:
            routes.execute(delete_address(link.index, address))
        with _unless_exists():
            routes.execute(add_address(link.index, self.network))


@contextmanager
def _unless_exists() -> Iterator[None]:
    """Someone else was faster, and made the same thing."""
    try:
        yield
    except NetlinkError as error:
        if error.errno != EEXIST:
            raise


def current_network(name: str) -> IPv4Interface | None:
    """The first address of the bridge ``name``, None without a bridge or an address: what a restart goes on with."""
    with RouteSocket() as routes:
        link = _find(routes, name)
        found = _addresses(routes, link.index) if link and link.kind == "bridge" else []
    return found[0] if found else None


def list_links(bridge: str) -> Sequence[Link]:
    """What hangs on a bridge; nothing if there is no such bridge. Raises NetlinkError.

    Interfaces of namespaces that were just closed may be listed for a moment still.
    """
    with RouteSocket() as routes:
        link = _find(routes, bridge)
        return _ports(routes, link.index) if link else []


def enable_forwarding() -> None:
    """Let the host route between its interfaces. Raises SysctlError where /proc/sys is read-only, say."""
    with open(IP_FORWARD, "rb") as file:
        if file.read().strip() == b"1":
            return
    try:
        fd = os.open(IP_FORWARD, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
    except OSError as error:
        raise SysctlError(IP_FORWARD, "1", error.errno or 0) from error


def _parse(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ""
    return Link(message.get_attr("IFLA_IFNAME"), message["index"], kind, bool(message["flags"] & IFF_UP))


def _find(routes: RouteSocket, name: str) -> Link | None:
    try:
        return _parse(*routes.query(get_link(name)))
    except NetlinkError as error:
        if error.errno == ENODEV:
            return None
        raise


def _ports(routes: RouteSocket, bridge_index: int) -> list[Link]:
    found = routes.query(list_ports(bridge_index))
    return [_parse(message) for message in found if message.get_attr("IFLA_MASTER") == bridge_index]


def _addresses(routes: RouteSocket, index: int) -> list[IPv4Interface]:
    return [
        IPv4Interface((message.get_attr("IFA_LOCAL"), message["prefixlen"]))
        for message in routes.query(list_addresses())
        if message["index"] == index
    ]
