"""The nftables table, tried with packets: NAT out, published ports in, isolation, and two daemons in one table."""

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from netns_sandbox import DEADLINE, container, dial, exchange, listen, make_bridge, own_network

from netns.bridge import enable_forwarding, list_links
from netns.errors import FirewallError, InvalidName, PortTaken
from netns.firewall import Firewall, PublishedPort
from netns.namespace import NetworkNamespace
from netns.veth import allow_hairpin

FIRST, SECOND = IPv4Network("10.71.0.0/24"), IPv4Network("10.72.0.0/24")
UPLINK = IPv4Interface("198.51.100.1/24")
INTERNET = IPv4Address("198.51.100.2")
BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
REFUSED_AFTER = 0.5  # seconds that a connection which must not come about is waited for


@dataclass
class World:
    """A host with two networks of one container each, and one machine outside that knows the way to them."""

    firewall: Firewall
    first: NetworkNamespace
    second: NetworkNamespace
    internet: NetworkNamespace


@contextmanager
def world() -> Iterator[World]:
    with ExitStack() as stack:
        enable_forwarding()
        bridges = [make_bridge("tbr0"), make_bridge("tbr1", IPv4Interface("10.72.0.1/24")), make_bridge("up0", UPLINK)]
        namespaces = [stack.enter_context(container(bridge, 2)[0]) for bridge in bridges]
        firewall = stack.enter_context(Firewall())
        firewall.ensure("tbr0", FIRST)
        firewall.ensure("tbr1", SECOND)
        yield World(firewall, *namespaces)


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


@own_network
def test_what_leaves_has_the_host_s_address() -> None:
    with world() as here, listen(here.internet, 7000) as server:
        assert exchange(server, dial(here.first, INTERNET, 7000)) == "198.51.100.1"
        assert exchange(server, dial(here.second, INTERNET, 7000)) == "198.51.100.1"


@own_network
def test_without_the_table_there_is_no_translation() -> None:
    with world() as here, listen(here.internet, 7000) as server:
        here.firewall.release("tbr0")
        here.firewall.release("tbr1")
        assert exchange(server, dial(here.first, INTERNET, 7000)) == "10.71.0.2"


@own_network
def test_datagrams_leave_and_are_answered() -> None:
    with world() as here, listen(here.internet, 7000, socket.SOCK_DGRAM) as server:
        client = here.first.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with client:
            client.settimeout(DEADLINE)
            client.sendto(b"ping", (str(INTERNET), 7000))
            data, source = server.recvfrom(16)
            assert (data, source[0]) == (b"ping", "198.51.100.1")
            server.sendto(b"pong", source)
            assert client.recv(16) == b"pong"


@own_network
def test_networks_do_not_reach_each_other_nor_does_the_outside() -> None:
    with world() as here, listen(here.first, 7000) as server:
        for stranger in (here.second, here.internet):
            with pytest.raises(TimeoutError):
                dial(stranger, FIRST[2], 7000, timeout=REFUSED_AFTER)
        exchange(server, dial(None, FIRST[2], 7000))


@own_network
def test_containers_of_one_network_see_each_other_s_own_address() -> None:
    with world() as here, listen(here.first, 7000) as server:
        neighbour, _ = container(make_bridge("tbr0"), 9)
        with neighbour:
            assert exchange(server, dial(neighbour, FIRST[2], 7000)) == "10.71.0.9"


def filter_bridged(value: str) -> None:
    """Whether bridged packets pass the packet filter too (br_netfilter): this namespace's own setting."""
    with open(BRIDGED, "w") as file:
        file.write(value)


either_way = pytest.mark.parametrize("bridged", ["0", "1"] if os.path.exists(BRIDGED) else [""])


@either_way
@own_network
def test_a_published_port_is_reached_from_everywhere(bridged: str) -> None:
    with world() as here, listen(here.first, 7000) as server:
        if bridged:
            filter_bridged(bridged)
        here.firewall.publish("tcp", None, 8080, FIRST[2], 7000)
        assert exchange(server, dial(here.internet, UPLINK.ip, 8080)) == "198.51.100.2", "the client's own address"
        assert exchange(server, dial(None, UPLINK.ip, 8080)) == "198.51.100.1"
        assert exchange(server, dial(here.second, UPLINK.ip, 8080)) == "10.71.0.1", "another network's container"
        neighbour, _ = container(make_bridge("tbr0"), 9)
        with neighbour:
            assert exchange(server, dial(neighbour, UPLINK.ip, 8080)) == "10.71.0.1", "hairpin"


@either_way
@own_network
def test_a_container_reaches_itself_through_its_published_port(bridged: str) -> None:
    with world() as here, listen(here.first, 7000) as server:
        if bridged:
            filter_bridged(bridged)
        here.firewall.publish("tcp", None, 8080, FIRST[2], 7000)
        (port,) = list_links("tbr0")
        allow_hairpin(port.name)
        assert exchange(server, dial(here.first, UPLINK.ip, 8080)) == "10.71.0.1"


@own_network
def test_neighbours_may_use_addresses_outside_the_subnet() -> None:
    with world() as here, listen(here.first, 7000, socket.SOCK_DGRAM) as server:
        neighbour, _ = container(make_bridge("tbr0"), 9)
        with neighbour, neighbour.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            neighbour.run(lambda: subprocess.run(["ip", "addr", "add", "10.99.0.1/32", "dev", "eth0"], check=True))
            client.bind(("10.99.0.1", 0))
            client.sendto(b"ping", (str(FIRST[2]), 7000))
            data, (source, _) = server.recvfrom(16)
            assert (data, source) == (b"ping", "10.99.0.1")


@own_network
def test_an_unpublished_port_is_closed() -> None:
    with world() as here, listen(here.first, 7000):
        here.firewall.publish("tcp", None, 8080, FIRST[2], 7000)
        here.firewall.unpublish("tcp", None, 8080)
        here.firewall.unpublish("tcp", None, 8080)
        with pytest.raises(ConnectionRefusedError):
            dial(here.internet, UPLINK.ip, 8080)


@own_network
def test_a_port_of_one_host_address_only() -> None:
    with world() as here, listen(here.first, 7000) as server, listen(here.second, 7001) as other:
        here.firewall.publish("tcp", UPLINK.ip, 8080, FIRST[2], 7000)
        here.firewall.publish("tcp", IPv4Address("10.72.0.1"), 8080, SECOND[2], 7001)
        exchange(server, dial(here.internet, UPLINK.ip, 8080))
        exchange(other, dial(None, IPv4Address("10.72.0.1"), 8080))
        with pytest.raises(ConnectionRefusedError):
            dial(None, IPv4Address("10.71.0.1"), 8080)


@own_network
def test_a_published_port_for_datagrams() -> None:
    with world() as here, listen(here.first, 5300, socket.SOCK_DGRAM) as server:
        here.firewall.publish("udp", None, 53, FIRST[2], 5300)
        client = here.internet.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with client:
            client.settimeout(DEADLINE)
            client.sendto(b"ping", (str(UPLINK.ip), 53))
            data, source = server.recvfrom(16)
            server.sendto(data, source)
            assert client.recvfrom(16) == (b"ping", (str(UPLINK.ip), 53))


@own_network
def test_only_what_is_meant_for_this_host_is_translated() -> None:
    with world() as here, listen(here.internet, 8080) as server:
        here.firewall.publish("tcp", None, 8080, FIRST[2], 7000)
        assert exchange(server, dial(here.second, INTERNET, 8080)) == "198.51.100.1"
        with pytest.raises(ConnectionRefusedError):
            dial(None, IPv4Address("127.0.0.1"), 8080)


@own_network
def test_a_taken_port_is_refused_and_the_first_holder_keeps_it() -> None:
    with Firewall() as firewall:
        firewall.ensure("tbr0", FIRST)
        firewall.publish("tcp", None, 8080, FIRST[2], 80)
        with pytest.raises(PortTaken, match=r"tcp port 0\.0\.0\.0:8080 is published already"):
            firewall.publish("tcp", None, 8080, FIRST[3], 80)
        firewall.publish("udp", None, 8080, FIRST[3], 80)
        assert set(firewall.published()) == {
            PublishedPort("tcp", IPv4Address("0.0.0.0"), 8080, FIRST[2], 80),
            PublishedPort("udp", IPv4Address("0.0.0.0"), 8080, FIRST[3], 80),
        }
        assert firewall.published(SECOND) == []


@own_network
def test_ensure_again_changes_nothing() -> None:
    with Firewall() as firewall:
        firewall.ensure("tbr0", FIRST)
        firewall.publish("tcp", None, 8080, FIRST[2], 80)
        before = ruleset()
        for _ in range(3):
            firewall.ensure("tbr0", FIRST)
        assert ruleset() == before
    with Firewall() as restarted:
        restarted.ensure("tbr0", FIRST)
        assert ruleset() == before


@own_network
def test_ensure_repairs_what_someone_broke() -> None:
    with Firewall() as firewall:
        firewall.ensure("tbr0", FIRST)
        before = ruleset()
        subprocess.run(["nft", "flush", "chain", "ip", "minirun", "forward"], check=True)
        subprocess.run(["nft", "add", "rule", "ip", "minirun", "postrouting", "drop"], check=True)
        assert ruleset() != before
        firewall.ensure("tbr0", FIRST)
        assert ruleset() == before


@own_network
def test_a_changed_subnet_replaces_the_old_one() -> None:
    with Firewall() as firewall:
        firewall.ensure("tbr0", FIRST)
        firewall.ensure("tbr0", SECOND)
        assert firewall.networks() == [("tbr0", SECOND)]


@own_network
def test_two_daemons_share_the_table_and_the_last_takes_it() -> None:
    with Firewall() as one, Firewall() as other:
        one.ensure("tbr0", FIRST)
        other.ensure("tbr1", SECOND)
        one.publish("tcp", None, 8080, FIRST[2], 80)
        other.publish("tcp", None, 9090, SECOND[2], 80)
        one.ensure("tbr0", FIRST)
        assert sorted(other.networks()) == [("tbr0", FIRST), ("tbr1", SECOND)]
        one.release("tbr0")
        one.release("tbr0")
        assert other.networks() == [("tbr1", SECOND)]
        assert [port.host_port for port in other.published()] == [9090]
        other.release("tbr1")
        other.release("tbr1")
        assert ruleset() == ""


@own_network
def test_other_tables_are_left_alone() -> None:
    subprocess.run(["nft", "add", "table", "inet", "minirun"], check=True)
    subprocess.run(["nft", "add", "table", "ip", "theirs"], check=True)
    before = ruleset()
    with Firewall() as firewall:
        firewall.ensure("tbr0", FIRST)
        firewall.release("tbr0")
    assert ruleset() == before


@own_network
def test_many_threads_and_daemons_at_once() -> None:
    def daemon(number: int) -> None:
        bridge, subnet = f"tbr{number}", IPv4Network(f"10.{number}.0.0/16")
        with Firewall() as firewall:
            for port in range(10):
                firewall.ensure(bridge, subnet)
                firewall.publish("tcp", None, 1000 * number + port, subnet[2], 80)
            firewall.release(bridge)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(daemon, range(1, 9)))
    assert ruleset() == ""


@own_network
def test_errors_carry_nft_s_message() -> None:
    with Firewall() as firewall:
        with pytest.raises(FirewallError, match="No such file or directory"):
            firewall.publish("tcp", None, 8080, FIRST[2], 80)
        with pytest.raises(FirewallError, match="unknown protocol 'icmp'"):
            firewall.publish("icmp", None, 8080, FIRST[2], 80)
        with pytest.raises(InvalidName):
            firewall.ensure('x" . 1.2.3.4 }; flush ruleset; #', FIRST)
        firewall.ensure("tbr0", FIRST)
        with pytest.raises(FirewallError, match="nftables: Service out of range"):
            firewall.publish("tcp", None, 99999, FIRST[2], 80)
    with pytest.raises(FirewallError, match="closed"):
        firewall.networks()


@own_network
def test_a_failing_ensure_changes_nothing() -> None:
    with Firewall() as firewall:
        subprocess.run(["nft", "add", "table", "ip", "minirun"], check=True)
        subprocess.run(["nft", "add", "set", "ip", "minirun", "bridges", "{ type mark; }"], check=True)
        before = ruleset()
        with pytest.raises(FirewallError):
            firewall.ensure("tbr0", FIRST)
        assert ruleset() == before
