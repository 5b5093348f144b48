"""Packet filter and address translation: one nftables table, ``minirun``, with constant rules over sets and a map.

    set networks   interface . subnet       every bridge with its subnet, of every daemon on this host
    set bridges    interface                the same bridges
    set within     interface . interface    each of them twice: from a bridge back into it (nft compares no two fields)
    map ports      host address . protocol . port  ->  container address . port     (0.0.0.0: any host address)

    prerouting, output   to one of this host's addresses: look the port up in ``ports`` and translate (DNAT)
    forward              answers pass; published ports pass; the same bridge passes; between two bridges nothing
                         passes; out of a bridge everything, into one nothing
    postrouting          (told by the sender's address: a bridged packet has no input interface here)
                         what leaves a subnet by another interface gets this host's address (masquerade); so does what
                         comes back to its own network through a published port (hairpin), or it would be answered
                         past this host

Rules never name a bridge or a port, so publishing a port is one map element and a network is two set elements. Several
daemons share the table: each touches only the elements of its own bridges, whoever starts writes the same rules again,
and the last to leave takes the table. Every change is one transaction; those that look before they write
hold a lock on the network namespace itself (flock on its file, which every process of this host can open).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self

from netns.bridge import valid_name
from netns.errors import FirewallError, PortTaken
from netns.namespace import namespace_lock
from netns.neighbours import admit, dismiss, dropping_chains
from netns.nft import Nft

TABLE = "minirun"
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}  # nft prints the number where the host has no /etc/protocols
ANY_ADDRESS = IPv4Address(0)

DEFINITIONS = (
    "add table ip minirun",
    "add set ip minirun bridges { type ifname; }",
    "add set ip minirun within { type ifname . ifname; }",
    "add set ip minirun networks { type ifname . ipv4_addr; flags interval; }",
    "add map ip minirun ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }",
    "add chain ip minirun published",
    "add chain ip minirun prerouting { type nat hook prerouting priority -100; }",
    "add chain ip minirun output { type nat hook output priority -100; }",
    "add chain ip minirun forward { type filter hook forward priority 0; }",
    "add chain ip minirun postrouting { type nat hook postrouting priority 100; }",
)
RULES = {
    "published": (
        "dnat ip to ip daddr . meta l4proto . th dport map @ports",
        "dnat ip to ip daddr & 0.0.0.0 . meta l4proto . th dport map @ports",
    ),
    "prerouting": ("fib daddr type local meta l4proto { tcp, udp, sctp } jump published",),
    "output": ("ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto { tcp, udp, sctp } jump published",),
    "forward": (
        "ct state established,related accept",
        "oifname @bridges ct status dnat accept",
        "iifname . oifname @within accept",
        "oifname @bridges drop",
    ),
    "postrouting": (
        "oifname . ip saddr @networks ct status dnat masquerade",
        "oifname . ip saddr @networks accept",
        "iifname . ip saddr @networks masquerade",
    ),
}


@dataclass(frozen=True)
class PublishedPort:
    """One element of the map: what arrives for the host's port goes to the container's."""

    protocol: str
    host_ip: IPv4Address  # 0.0.0.0: any address of the host
    host_port: int
    container_ip: IPv4Address
    container_port: int

    @property
    def key(self) -> str:
        """The element's key in nft's language."""
        return f"{self.host_ip} . {self.protocol} . {self.host_port}"

    @property
    def value(self) -> str:
        """The element's value in nft's language."""
        return f"{self.container_ip} . {self.container_port}"


def constant_script() -> str:
    """Definitions and rules: the same for every daemon, and harmless to repeat."""
    lines = list(DEFINITIONS)
    for chain, rules in RULES.items():
        lines.append(f"flush chain ip {TABLE} {chain}")
        lines += [f"add rule ip {TABLE} {chain} {rule}" for rule in rules]
    return "\n".join(lines)


def _element(verb: str, container: str, *elements: str) -> str:
    return f"{verb} element ip {TABLE} {container} {{ {', '.join(elements)} }}"


def _network(bridge: str, subnet: IPv4Network) -> str:
    return f'"{valid_name(bridge)}" . {subnet}'


class Firewall:
    """The table, seen by one daemon; acts in the network namespace of the thread that makes it. Safe with threads.

    Every method raises FirewallError with nft's message.
    """

    def __init__(self) -> None:
        self._nft = Nft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the library; the table stays, as running containers need it."""
        self._nft.close()

    def ensure(self, bridge: str, subnet: IPv4Network) -> None:
        """Table, rules and this bridge's elements, from whatever is there; published ports stay. One transaction.

        Where dockerd has a firewall, a second one lets the bridge through it (see ``neighbours``).
        """
        with namespace_lock():
            stale = [old for name, old in self.networks() if name == bridge and old != subnet]
            script = [constant_script()]
            script += [_element("delete", "networks", _network(bridge, old)) for old in stale]
            script.append(_element("add", "networks", _network(bridge, subnet)))
            script.append(_element("add", "bridges", f'"{bridge}"'))
            script.append(_element("add", "within", f'"{bridge}" . "{bridge}"'))
            self._nft.run("\n".join(script))
            admit(self._nft, bridge)

    def release(self, bridge: str) -> None:
        """Take this bridge's elements and published ports away, and the table if no bridge is left in it."""
        with namespace_lock():
            dismiss(self._nft, bridge)
            everything = self.networks()
            own = [subnet for name, subnet in everything if name == bridge]
            if len(own) == len(everything):
                self._delete_table()
                return
            script = [_element("delete", "networks", _network(bridge, subnet)) for subnet in own]
            script += [_element("delete", "ports", port.key) for subnet in own for port in self.published(subnet)]
            if own:
                script.append(_element("delete", "bridges", f'"{bridge}"'))
                script.append(_element("delete", "within", f'"{bridge}" . "{bridge}"'))
                self._nft.run("\n".join(script))

    def publish(
        self, protocol: str, host_ip: IPv4Address | None, host_port: int, container_ip: IPv4Address, container_port: int
    ) -> None:
        """Let a port of the host lead to a container's; ``host_ip`` None or 0.0.0.0 means all of the host's addresses.

        Raises PortTaken if the port of that address leads somewhere already.
        """
        port = PublishedPort(_known(protocol), host_ip or ANY_ADDRESS, host_port, container_ip, container_port)
        try:
            self._nft.run(_element("create", "ports", f"{port.key} : {port.value}"))
        except FirewallError as error:
            if self._holder(port.key):
                raise PortTaken(f"{protocol} port {port.host_ip}:{host_port} is published already") from error
            raise

    def unpublish(self, protocol: str, host_ip: IPv4Address | None, host_port: int) -> None:
        """Close a published port; fine if it isn't published."""
        key = f"{host_ip or ANY_ADDRESS} . {_known(protocol)} . {host_port}"
        try:
            self._nft.run(_element("delete", "ports", key))
        except FirewallError:
            if self._holder(key):
                raise

    def published(self, subnet: IPv4Network | None = None) -> list[PublishedPort]:
        """Every published port, or those that lead into ``subnet``."""
        ports = [parse_port(element) for element in self._elements("map", "ports")]
        return [port for port in ports if subnet is None or port.container_ip in subnet]

    def networks(self) -> list[tuple[str, IPv4Network]]:
        """(bridge, subnet) of every daemon in the table; empty without a table."""
        return [_parse_network(element) for element in self._elements("set", "networks")]

    def blocked_by(self) -> list[str]:
        """Other firewalls' chains that drop containers' traffic: for a warning, as nothing is done about them."""
        return dropping_chains(self._nft)

    def _holder(self, key: str) -> PublishedPort | None:
        return next((port for port in self.published() if port.key == key), None)

    def _exists(self) -> bool:
        tables = [item["table"] for item in self._nft.query("list tables") if "table" in item]
        return any(table["name"] == TABLE and table["family"] == "ip" for table in tables)

    def _delete_table(self) -> None:
        if self._exists():
            self._nft.run(f"delete table ip {TABLE}")

    def _elements(self, kind: str, name: str) -> list[Any]:
        if not self._exists():
            return []
        (found,) = [item[kind] for item in self._nft.query(f"list {kind} ip {TABLE} {name}") if kind in item]
        return list(found.get("elem", []))


def _known(protocol: str) -> str:
    if protocol not in PROTOCOLS:
        raise FirewallError(
            f"unknown protocol {protocol!r} of a published port: one of {', '.join(PROTOCOLS)} is meant"
        )
    return protocol


def _parse_network(element: Any) -> tuple[str, IPv4Network]:
    name, address = element["concat"]
    if isinstance(address, str):  # a subnet of one address
        return name, IPv4Network(address)
    return name, IPv4Network((address["prefix"]["addr"], address["prefix"]["len"]))


def parse_port(element: Any) -> PublishedPort:
    """An element of the map as nft prints it in JSON: ``[{"concat": [address, protocol, port]}, {"concat": ...}]``."""
    key, value = element
    (host_ip, protocol, host_port), (container_ip, container_port) = key["concat"], value["concat"]
    name = next((name for name, number in PROTOCOLS.items() if protocol in {name, number}), str(protocol))
    return PublishedPort(name, IPv4Address(host_ip), host_port, IPv4Address(container_ip), container_port)
