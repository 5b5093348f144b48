"""Containers on a bridge: they talk, refuse what can't be, and vanish with their namespace."""

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from errno import ENODEV
from ipaddress import IPv4Address, IPv4Interface

import pytest
from netns_sandbox import container, dial, eventually, exchange, listen, make_bridge, own_network

from netns.bridge import Bridge, list_links
from netns.errors import NameTaken, NetlinkError
from netns.namespace import NetworkNamespace
from netns.veth import connect, random_host_name


def shown(namespace: NetworkNamespace, command: str) -> str:
    """What a command prints inside."""
    return namespace.run(lambda: subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout)


@own_network
def test_two_containers_and_the_host_talk() -> None:
    bridge = make_bridge()
    (first, _), (second, endpoint) = container(bridge, 2), container(bridge, 3)
    with first, second, listen(second, 7000) as server:
        assert exchange(server, dial(first, endpoint.address.ip, 7000)) == "10.71.0.2"
        assert exchange(server, dial(None, endpoint.address.ip, 7000)) == "10.71.0.1"
        assert exchange(server, dial(second, IPv4Address("127.0.0.1"), 7000)) == "127.0.0.1"


@own_network
def test_the_endpoint_tells_what_is_there() -> None:
    bridge = make_bridge()
    namespace, endpoint = container(bridge, 9)
    with namespace:
        assert endpoint.ifname == "eth0"
        assert endpoint.mac == "02:42:0a:47:00:09"
        assert endpoint.address == IPv4Interface("10.71.0.9/24")
        assert endpoint.gateway == IPv4Address("10.71.0.1")
        assert (endpoint.bridge, endpoint.bridge_index) == ("tbr0", bridge.index())
        assert socket.if_nametoindex(endpoint.host_name) == endpoint.host_ifindex
        text = shown(namespace, "ip addr show eth0; ip route")
    assert "link/ether 02:42:0a:47:00:09" in text and "mtu 1500" in text
    assert "inet 10.71.0.9/24 brd 10.71.0.255" in text
    assert "inet6" not in text
    assert "default via 10.71.0.1 dev eth0" in text


@own_network
def test_mac_mtu_and_a_second_network() -> None:
    first, second = make_bridge(), make_bridge("tbr1", IPv4Interface("10.72.0.1/24"))
    namespace, _ = container(first, 2, mac="02:00:00:00:00:77", mtu=1400)
    with namespace:
        address = IPv4Interface("10.72.0.2/24")
        endpoint = connect(namespace, second, None, address, None, ifname="eth1")
        text = shown(namespace, "ip addr; ip route")
    assert endpoint.gateway is None
    assert "02:00:00:00:00:77" in text and "mtu 1400" in text
    assert "10.72.0.2/24" in text and text.count("default") == 1 + text.count("group default")


@own_network
def test_a_host_name_that_exists_is_refused() -> None:
    bridge = make_bridge()
    with NetworkNamespace.create() as first, NetworkNamespace.create() as second:
        connect(first, bridge, "vethtwice", IPv4Interface("10.71.0.2/24"), bridge.gateway)
        with pytest.raises(NameTaken, match="interface vethtwice exists already"):
            connect(second, bridge, "vethtwice", IPv4Interface("10.71.0.3/24"), bridge.gateway)
        connect(second, bridge, "vethother", IPv4Interface("10.71.0.3/24"), bridge.gateway)


@own_network
def test_connecting_the_same_interface_twice_is_refused() -> None:
    bridge = make_bridge()
    namespace, endpoint = container(bridge, 2)
    with namespace:
        with pytest.raises(NameTaken, match="eth0 in the container exists already"):
            connect(namespace, bridge, None, IPv4Interface("10.71.0.3/24"), bridge.gateway)
        assert [link.name for link in list_links("tbr0")] == [endpoint.host_name]


@own_network
def test_a_failing_step_inside_leaves_nothing_on_the_host() -> None:
    bridge = make_bridge()
    with NetworkNamespace.create() as namespace:
        with pytest.raises(NetlinkError, match=r"add default route via 192\.0\.2\.1: .*Nexthop has invalid gateway"):
            connect(namespace, bridge, None, IPv4Interface("10.71.0.2/24"), IPv4Address("192.0.2.1"))
        assert list_links("tbr0") == []
        connect(namespace, bridge, None, IPv4Interface("10.71.0.2/24"), bridge.gateway)


@own_network
def test_without_a_bridge() -> None:
    nowhere = Bridge("tbr9", IPv4Interface("10.71.0.1/24"))
    with NetworkNamespace.create() as namespace, pytest.raises(NetlinkError, match="look for bridge tbr9") as caught:
        connect(namespace, nowhere, None, IPv4Interface("10.71.0.2/24"), nowhere.gateway)
    assert caught.value.errno == ENODEV


@own_network
def test_closing_the_last_descriptor_takes_the_pair_away() -> None:
    bridge = make_bridge()
    namespace, endpoint = container(bridge, 2)
    keeper = os.dup(namespace.fd)
    namespace.close()
    assert [link.name for link in list_links("tbr0")] == [endpoint.host_name], "a second holder keeps it"
    os.close(keeper)
    assert eventually(lambda: not list_links("tbr0"))


@own_network
def test_a_hundred_at_once() -> None:
    bridge = make_bridge()
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda number: container(bridge, number), range(2, 102)))
    assert len({endpoint.host_name for _, endpoint in made}) == 100
    assert {link.index for link in list_links("tbr0")} == {endpoint.host_ifindex for _, endpoint in made}
    first, last = made[0], made[-1]
    with listen(last[0], 7000) as server:
        exchange(server, dial(first[0], last[1].address.ip, 7000))
    for namespace, _ in made:
        namespace.close()
    assert eventually(lambda: not list_links("tbr0"))


def test_random_names_fit_and_differ() -> None:
    names = {random_host_name() for _ in range(1000)}
    assert len(names) > 990
    assert all(len(name) == 11 and name.startswith("veth") for name in names)
