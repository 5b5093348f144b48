"""Netlink messages: what to ask the kernel, as bytes. Nothing is sent here (``netlink.py`` does).

A request is one ``struct nlmsghdr``, a fixed struct of its family, then attributes that nest (rtnetlink(7)). pyroute2
knows the layouts. Its package's ``__init__`` imports all the rest of it as well, 230 modules, 75 ms and 8 MB, of which
nothing is needed here: ``_message_classes`` enters the package by its path, past that ``__init__``, for 10 ms and 1 MB.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
NEW = NLM_F_CREATE | NLM_F_EXCL
IFF_UP = 0x1
UP = {"flags": IFF_UP, "change": IFF_UP}
AF_INET, AF_UNSPEC = 2, 0
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 3, 0, 1
LOOPBACK_INDEX = 1  # the kernel gives lo this index in every namespace

Attributes = Sequence[tuple[str, Any]]
Fields = dict[str, int]


def _message_classes() -> tuple[Any, Any, Any]:
    """pyroute2's message classes for links, addresses and routes, without the rest of pyroute2.

    If the package is loaded already, that one is used; if not, no trace of the bare one stays in ``sys.modules``,
    so that a later ``import pyroute2`` gets the whole package.
    """
    bare = "pyroute2" not in sys.modules
    if bare:
        sys.modules["pyroute2"] = _package_without_init("pyroute2")
    try:
        names = ("ifinfmsg", "ifaddrmsg", "rtmsg")
        modules = [importlib.import_module(f"pyroute2.netlink.rtnl.{name}") for name in names]
        link, address, route = (getattr(module, name) for module, name in zip(modules, names, strict=True))
        return link, address, route
    finally:
        if bare:
            for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
                del sys.modules[name]


def _package_without_init(name: str) -> types.ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"no package named {name!r}", name=name)
    package = types.ModuleType(name)
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
    return package


_Link, _Address, _Route = _message_classes()
PARSERS: Final = {RTM_NEWLINK: _Link, RTM_NEWADDR: _Address, RTM_NEWROUTE: _Route}


remembered = lru_cache(
    maxsize=64
)  # what each container asks for in the same words: encoding takes as long as the kernel


@dataclass(frozen=True)
class Request:
    """One message to the kernel, and in words what it is to do: ``step`` begins the error if it is refused."""

    step: str
    data: bytes


def _encode(
    step: str, message: Any, kind: int, *, flags: int = 0, fields: Fields | None = None, attrs: Attributes = ()
) -> Request:
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    for name, value in (fields or {}).items():
        message[name] = value
    message["attrs"] = list(attrs)
    message.encode()
    return Request(step, bytes(message.data))


def _nested(*attrs: tuple[str, Any]) -> dict[str, Attributes]:
    return {"attrs": list(attrs)}


def add_veth(
    host_name: str, bridge_index: int, peer_namespace: int, *, peer_name: str, peer_mac: str, mtu: int
) -> Request:
    """A veth pair in one message: this end up and on the bridge, its peer born inside another namespace.

    ``peer_namespace`` is a descriptor of it. The kernel applies IFLA_MASTER and IFF_UP while it creates the link.
    """
    peer = _nested(
        ("IFLA_IFNAME", peer_name),
        ("IFLA_ADDRESS", peer_mac),
        ("IFLA_MTU", mtu),
        ("IFLA_NET_NS_FD", peer_namespace),
    )
    attrs = [
        ("IFLA_IFNAME", host_name),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", bridge_index),
        ("IFLA_LINKINFO", _nested(("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", _nested(("VETH_INFO_PEER", peer))))),
    ]
    step = f"add veth {host_name} with {peer_name} in the container"
    return _encode(step, _Link(), RTM_NEWLINK, flags=NEW, fields=UP, attrs=attrs)


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    """A bridge, up, with a fixed MAC (one of its own would change with its ports) and without spanning tree."""
    kind = _nested(("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", _nested(("IFLA_BR_STP_STATE", 0))))
    attrs = [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", kind)]
    return _encode(f"add bridge {name}", _Link(), RTM_NEWLINK, flags=NEW, fields=UP, attrs=attrs)


def configure_bridge(index: int, mtu: int) -> Request:
    """A bridge that exists: up, with this MTU, without spanning tree (with it, a new port is deaf for 30 seconds)."""
    kind = _nested(("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", _nested(("IFLA_BR_STP_STATE", 0))))
    attrs = [("IFLA_MTU", mtu), ("IFLA_LINKINFO", kind)]
    return _encode("configure the bridge", _Link(), RTM_NEWLINK, fields={"index": index, **UP}, attrs=attrs)


def hairpin(name: str) -> Request:
    """Let a bridge send frames out of the port they came in by (IFLA_BRPORT_MODE)."""
    port = _nested(("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", _nested(("IFLA_BRPORT_MODE", 1))))
    attrs = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", port)]
    return _encode(f"set hairpin mode of {name}", _Link(), RTM_NEWLINK, attrs=attrs)


@remembered
def link_up(index: int, what: str = "interface") -> Request:
    """Bring an interface up (``ip link set up``)."""
    return _encode(f"bring {what} up", _Link(), RTM_NEWLINK, fields={"index": index, **UP})


def delete_link(name: str) -> Request:
    """Delete an interface. Blocks for some 20 ms on a veth: see ``namespace`` for the way around."""
    return _encode(f"delete interface {name}", _Link(), RTM_DELLINK, attrs=[("IFLA_IFNAME", name)])


@remembered
def get_link(name: str) -> Request:
    """Ask for one interface by its name; ENODEV if there is none."""
    return _encode(f"look for interface {name}", _Link(), RTM_GETLINK, attrs=[("IFLA_IFNAME", name)])


def list_ports(bridge_index: int) -> Request:
    """Ask for the interfaces that hang on a bridge (the kernel filters by IFLA_MASTER)."""
    return _encode("list ports", _Link(), RTM_GETLINK, flags=NLM_F_DUMP, attrs=[("IFLA_MASTER", bridge_index)])


def _address_attrs(address: IPv4Interface) -> Attributes:
    own = str(address.ip)
    return [("IFA_LOCAL", own), ("IFA_ADDRESS", own), ("IFA_BROADCAST", str(address.network.broadcast_address))]


def add_address(index: int, address: IPv4Interface) -> Request:
    """Give an interface an IPv4 address with its prefix; the kernel adds the subnet's route."""
    fields = {"family": AF_INET, "prefixlen": address.network.prefixlen, "index": index}
    step, attrs = f"add address {address}", _address_attrs(address)
    return _encode(step, _Address(), RTM_NEWADDR, flags=NEW, fields=fields, attrs=attrs)


def delete_address(index: int, address: IPv4Interface) -> Request:
    """Take an IPv4 address away from an interface."""
    fields = {"family": AF_INET, "prefixlen": address.network.prefixlen, "index": index}
    attrs = [("IFA_LOCAL", str(address.ip))]
    return _encode(f"delete address {address}", _Address(), RTM_DELADDR, fields=fields, attrs=attrs)


def list_addresses() -> Request:
    """Ask for every IPv4 address of the namespace."""
    return _encode("list addresses", _Address(), RTM_GETADDR, flags=NLM_F_DUMP, fields={"family": AF_INET})


@remembered
def add_default_route(index: int, gateway: IPv4Address) -> Request:
    """Send what no other route takes to ``gateway``."""
    fields = {
        "family": AF_INET,
        "table": RT_TABLE_MAIN,
        "proto": RTPROT_BOOT,
        "scope": RT_SCOPE_UNIVERSE,
        "type": RTN_UNICAST,
    }
    attrs = [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)]
    step = f"add default route via {gateway}"
    return _encode(step, _Route(), RTM_NEWROUTE, flags=NEW, fields=fields, attrs=attrs)


def list_routes() -> Request:
    """Ask for every IPv4 route of the namespace, of all tables."""
    return _encode("list routes", _Route(), RTM_GETROUTE, flags=NLM_F_DUMP, fields={"family": AF_INET})


def route_network(route: Any) -> IPv4Network:
    """The destination of a decoded route, 0.0.0.0/0 for a default one."""
    return IPv4Network((route.get_attr("RTA_DST") or 0, route["dst_len"]))
