"""Netlink messages as bytes, and what reading them back says. The layouts are rtnetlink(7)'s."""

import struct
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Interface

import pytest

from netns import messages
from netns.netlink import HEADER, acknowledgement, split


def header(request: messages.Request) -> tuple[int, ...]:
    return HEADER.unpack_from(request.data)


def test_the_header_has_length_type_and_flags() -> None:
    request = messages.link_up(7, "eth0")
    length, kind, flags, _, port = header(request)
    assert (length, kind, port) == (len(request.data), messages.RTM_NEWLINK, 0)
    assert flags == messages.NLM_F_REQUEST | messages.NLM_F_ACK
    family, _, index, up, change = struct.unpack_from("=BxHiII", request.data, HEADER.size)
    assert (family, index, up, change) == (0, 7, messages.IFF_UP, messages.IFF_UP)
    assert request.step == "bring eth0 up"


def test_a_veth_carries_both_ends() -> None:
    request = messages.add_veth("veth0", 5, 9, peer_name="eth0", peer_mac="02:42:0a:47:00:02", mtu=1400)
    assert header(request)[2] & (messages.NLM_F_CREATE | messages.NLM_F_EXCL) == messages.NEW
    link = messages.PARSERS[messages.RTM_NEWLINK](request.data)
    link.decode()
    assert (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MASTER")) == ("veth0", 5)
    info = link.get_attr("IFLA_LINKINFO")
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "02:42:0a:47:00:02"
    assert (peer.get_attr("IFLA_NET_NS_FD"), peer.get_attr("IFLA_MTU")) == (9, 1400)


def test_an_address_has_its_broadcast() -> None:
    request = messages.add_address(2, IPv4Interface("10.71.0.2/24"))
    address = messages.PARSERS[messages.RTM_NEWADDR](request.data)
    address.decode()
    assert (address["index"], address["prefixlen"], address["family"]) == (2, 24, 2)
    assert address.get_attr("IFA_LOCAL") == "10.71.0.2"
    assert address.get_attr("IFA_BROADCAST") == "10.71.0.255"


def test_a_default_route_has_no_destination() -> None:
    request = messages.add_default_route(2, IPv4Address("10.71.0.1"))
    route = messages.PARSERS[messages.RTM_NEWROUTE](request.data)
    route.decode()
    assert str(messages.route_network(route)) == "0.0.0.0/0"
    assert (route.get_attr("RTA_GATEWAY"), route.get_attr("RTA_OIF")) == ("10.71.0.1", 2)


def error_message(errno: int, flags: int, echoed: bytes, reason: bytes = b"") -> bytes:
    attribute = struct.pack("=HH", 4 + len(reason), 1) + reason if reason else b""
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=i", -errno) + echoed + attribute
    return HEADER.pack(HEADER.size + len(body), 2, flags, 1, 0) + body


ECHO = HEADER.pack(HEADER.size, 16, 5, 1, 0)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (error_message(0, 0x100, ECHO), (0, "")),
        (error_message(17, 0x100, ECHO), (17, "")),
        (error_message(22, 0x300, ECHO, b"no such thing\0"), (22, "no such thing")),
        (error_message(22, 0x200, HEADER.pack(21, 16, 5, 1, 0) + bytes(8), b"whole\0"), (22, "whole")),
    ],
    ids=["done", "refused", "explained", "explained behind the whole request"],
)
def test_acknowledgements(message: bytes, expected: tuple[int, str]) -> None:
    assert acknowledgement(message) == expected


def test_a_datagram_is_split_at_padded_lengths() -> None:
    first, second = HEADER.pack(18, 1, 0, 1, 0) + b"ab", HEADER.pack(16, 2, 0, 2, 0)
    assert list(split(first + b"\0\0" + second)) == [first, second]


LIGHT = """
import sys
import netns.pool, netns.firewall, netns.resolv, netns.subnets
left = sorted(name for name in sys.modules if name.startswith("pyroute2"))
assert not left, left
heavy = {"asyncio", "subprocess", "ssl", "minirund", "cgroups", "overlayfs"} & set(sys.modules)
assert not heavy, heavy
import pyroute2
assert pyroute2.IPRoute, "the whole package can still be had"
"""


def test_importing_the_library_is_light_and_leaves_pyroute2_whole() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True)


def test_a_loaded_pyroute2_is_used_as_it_is() -> None:
    code = "import pyroute2, sys; import netns.messages as m; assert sys.modules['pyroute2'] is pyroute2 and m.PARSERS"
    subprocess.run([sys.executable, "-c", code], check=True)
