"""A veth pair is a cable: one end on the host's bridge, the other, eth0, inside the container (veth(4)).

One RTM_NEWLINK makes the pair with the far end already in the container's namespace and the near end already on the
bridge; one send of four more, on the socket inside, brings lo up, gives the address, brings eth0 up and adds the
default route. Nobody deletes a pair: it goes with the container's namespace.
"""

import secrets
import socket
from dataclasses import dataclass
from errno import EEXIST
from ipaddress import IPv4Address, IPv4Interface

from netns.bridge import Bridge, mac_of
from netns.errors import NameTaken, NetlinkError
from netns.messages import (
    LOOPBACK_INDEX,
    add_address,
    add_default_route,
    add_veth,
    delete_link,
    get_link,
    hairpin,
    link_up,
)
from netns.namespace import NetworkNamespace
from netns.netlink import RouteSocket

NAME_TRIES = 8


@dataclass(frozen=True)
class Endpoint:
    """A container's place on a network: the interface it sees, and the host's end of it."""

    ifname: str
    mac: str
    address: IPv4Interface
    gateway: IPv4Address | None
    mtu: int
    bridge: str
    bridge_index: int
    host_name: str
    host_ifindex: int


def random_host_name() -> str:
    """A name for the host's end, like ``veth3fa94c1``: 28 random bits, so that two daemons don't meet."""
    return f"veth{secrets.token_hex(4)[:7]}"


def connect(
    namespace: NetworkNamespace,
    bridge: Bridge,
    host_name: str | None,
    address: IPv4Interface,
    gateway: IPv4Address | None,
    *,
    mac: str | None = None,
    mtu: int | None = None,
    ifname: str = "eth0",
) -> Endpoint:
    """Wire a namespace to a bridge; afterwards the container can talk.

    Without a ``host_name`` a random one is taken; without a ``mac`` the address's own; without a ``mtu`` the
    bridge's; with ``gateway`` None there is no default route (a second network). Raises NameTaken if either end's
    name exists, NetlinkError for what the kernel refuses; nothing stays behind then.
    """
    mac, mtu = mac or mac_of(address.ip), mtu or bridge.mtu
    bridge_index = bridge.index()
    with RouteSocket() as host:
        host_name = _plug(host, namespace, bridge_index, host_name, ifname=ifname, mac=mac, mtu=mtu)
        try:
            host_index = _configure(namespace, ifname, address, gateway)
        except BaseException:
            host.execute(delete_link(host_name))
            raise
    return Endpoint(ifname, mac, address, gateway, mtu, bridge.name, bridge_index, host_name, host_index)


def allow_hairpin(host_name: str) -> None:
    """Let a container reach itself through its own published port. For endpoints that publish one.

    Needed where bridged packets pass the packet filter (br_netfilter, which dockerd loads): translated there,
    the packet has to leave by the port it came in by. Raises NetlinkError.
    """
    with RouteSocket() as host:
        host.execute(hairpin(host_name))


def _plug(
    host: RouteSocket,
    namespace: NetworkNamespace,
    bridge_index: int,
    wanted: str | None,
    *,
    ifname: str,
    mac: str,
    mtu: int,
) -> str:
    """Make the pair; the host's end's name comes back. A random name that exists is drawn again."""
    for _ in range(NAME_TRIES):
        name = wanted or random_host_name()
        try:
            host.execute(add_veth(name, bridge_index, namespace.fd, peer_name=ifname, peer_mac=mac, mtu=mtu))
            return name
        except NetlinkError as error:
            if error.errno != EEXIST:
                raise
            if wanted or not _exists(name):
                taken = name if _exists(name) else f"{ifname} in the container"
                raise NameTaken(f"interface {taken} exists already") from error
    raise NameTaken(f"no free name for a veth after {NAME_TRIES} tries")


def _exists(name: str) -> bool:
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def _configure(namespace: NetworkNamespace, ifname: str, address: IPv4Interface, gateway: IPv4Address | None) -> int:
    """Inside: lo, address, up, route. Gives back the index of the host's end (IFLA_LINK of this one)."""
    (link,) = namespace.routes.query(get_link(ifname))
    index = link["index"]
    steps = [link_up(LOOPBACK_INDEX, "loopback"), add_address(index, address), link_up(index, ifname)]
    if gateway is not None:
        steps.append(add_default_route(index, gateway))
    namespace.routes.execute(*steps)
    host_index: int = link.get_attr("IFLA_LINK")
    return host_index
