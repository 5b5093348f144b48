"""Which subnet a network gets when nobody says: the first of Docker's pools that overlaps with nothing on the host.

Choosing is pure; reading what the host has is one function, and ``ensure_bridge`` puts the two together. Pools as in
the Docker daemon's documentation ("default-address-pools"): 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in
pieces of /20.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network

from netns.bridge import Bridge, current_network
from netns.errors import NoFreeSubnet
from netns.messages import list_addresses, list_routes, route_network
from netns.namespace import namespace_lock
from netns.netlink import RouteSocket

WIDEST_ROUTE = 8  # a shorter prefix is a default route in disguise: a VPN's 0.0.0.0/1 covers all, and means nothing


def candidates() -> Iterator[IPv4Network]:
    """The subnets to try, in order."""
    for second in range(17, 32):
        yield IPv4Network(f"172.{second}.0.0/16")
    yield from IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


def choose_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps with nothing in ``taken``. Raises NoFreeSubnet."""
    occupied = [network for network in taken if network.prefixlen >= WIDEST_ROUTE]
    for candidate in candidates():
        if not any(candidate.overlaps(network) for network in occupied):
            return candidate
    raise NoFreeSubnet("every subnet in 172.17.0.0-172.31.255.255 and 192.168.0.0/16 overlaps with one of the host's")


def gateway_of(subnet: IPv4Network) -> IPv4Interface:
    """The bridge's own address in a subnet: the first one, 172.17.0.1/16 in 172.17.0.0/16."""
    return IPv4Interface((subnet.network_address + 1, subnet.prefixlen))


def ensure_bridge(name: str, network: IPv4Interface | None = None, mtu: int = 1500) -> Bridge:
    """The bridge as it should be; without a ``network`` the one it has, or, if there is no bridge yet, a free one.

    Two daemons that start at the same moment don't choose the same subnet: choosing and making is under a lock.
    Raises NoFreeSubnet, and what ``Bridge.ensure`` raises.
    """
    with namespace_lock():
        chosen = network or current_network(name) or gateway_of(choose_subnet(host_networks()))
        bridge = Bridge(name, chosen, mtu)
        bridge.ensure()
    return bridge


def host_networks() -> set[IPv4Network]:
    """Every IPv4 network that this host has an address in or a route to. Raises NetlinkError."""
    with RouteSocket() as routes:
        addresses = routes.query(list_addresses())
        found = {route_network(route) for route in routes.query(list_routes())}
    for address in addresses:
        found.add(IPv4Interface((address.get_attr("IFA_ADDRESS"), address["prefixlen"])).network)
    return found
