"""The pool of ready namespaces: filled behind, taken in front, by many at once, and through failures."""

import os
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from netns_sandbox import dial, eventually, exchange, listen, make_bridge, own_network

from netns.bridge import Bridge, list_links
from netns.errors import AddressPoolExhausted, NetlinkError, PoolClosed
from netns.ipam import AddressPool
from netns.pool import ReadyPool


def addresses_of(bridge: Bridge) -> AddressPool:
    return AddressPool(bridge.network.network, bridge.gateway)


def taken_in(addresses: AddressPool) -> set[IPv4Address]:
    return {host for host in addresses.subnet.hosts() if host in addresses} - {addresses.gateway}


@own_network
def test_what_is_taken_works_and_the_pool_fills_again() -> None:
    bridge = make_bridge()
    with ReadyPool(bridge, addresses_of(bridge), size=2) as pool:
        assert eventually(lambda: len(pool) == 2)
        first, _ = pool.take()
        second, endpoint = pool.take()
        with first, second, listen(second, 7000) as server:
            exchange(server, dial(first, endpoint.address.ip, 7000))
        assert eventually(lambda: len(pool) == 2)


@own_network
def test_a_ready_one_is_taken_as_it_waits() -> None:
    bridge = make_bridge()
    with ReadyPool(bridge, addresses_of(bridge), size=1) as pool:
        assert eventually(lambda: len(pool) == 1)
        (waiting,) = list_links("tbr0")
        entry = pool.take_ready()
        assert entry is not None
        assert entry[1].host_name == waiting.name
        entry[0].close()


@own_network
def test_an_empty_pool_makes_one_at_once() -> None:
    bridge = make_bridge()
    with ReadyPool(bridge, addresses_of(bridge), size=0) as pool:
        assert pool.take_ready() is None
        namespace, endpoint = pool.take()
        with namespace:
            assert [link.name for link in list_links("tbr0")] == [endpoint.host_name]
        assert len(pool) == 0


@own_network
def test_close_gives_back_addresses_descriptors_and_interfaces() -> None:
    bridge = make_bridge()
    addresses = addresses_of(bridge)
    before = len(os.listdir("/proc/self/fd"))
    pool = ReadyPool(bridge, addresses, size=3)
    assert eventually(lambda: len(pool) == 3)
    assert len(taken_in(addresses)) == 3
    kept, endpoint = pool.take()
    pool.close()
    pool.close()
    assert taken_in(addresses) == {endpoint.address.ip}
    kept.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert eventually(lambda: not list_links("tbr0"))
    with pytest.raises(PoolClosed):
        pool.take()


@own_network
def test_a_burst_of_a_hundred() -> None:
    bridge = make_bridge()
    with ReadyPool(bridge, addresses_of(bridge), size=4) as pool, ThreadPoolExecutor(20) as threads:
        made = list(threads.map(lambda _: pool.take(), range(100)))
        assert len({endpoint.address for _, endpoint in made}) == 100
        assert len({endpoint.host_name for _, endpoint in made}) == 100
        with listen(made[0][0], 7000) as server:
            exchange(server, dial(made[-1][0], made[0][1].address.ip, 7000))
        for namespace, _ in made:
            namespace.close()


@own_network
def test_resize_grows_and_shrinks() -> None:
    bridge = make_bridge()
    addresses = addresses_of(bridge)
    with ReadyPool(bridge, addresses, size=1) as pool:
        pool.resize(5)
        assert eventually(lambda: len(pool) == 5)
        pool.resize(2)
        assert len(pool) == 2
        assert len(taken_in(addresses)) == 2
        assert eventually(lambda: len(list_links("tbr0")) == 2)


@own_network
def test_an_error_is_raised_by_take_and_the_pool_recovers() -> None:
    bridge = Bridge("tbr0", make_bridge().network)
    bridge.remove()
    addresses = addresses_of(bridge)
    with ReadyPool(bridge, addresses, size=2) as pool:
        with pytest.raises(NetlinkError, match="look for bridge tbr0"):
            pool.take()
        assert eventually(lambda: not taken_in(addresses)), "a failed one keeps no address"
        bridge.ensure()
        namespace, _ = pool.take()
        namespace.close()
        assert eventually(lambda: len(pool) == 2)


@own_network
def test_an_exhausted_subnet_is_named_and_recovers() -> None:
    bridge = make_bridge()
    addresses = AddressPool(IPv4Network("10.71.0.0/30"), bridge.gateway)
    with ReadyPool(bridge, addresses, size=3) as pool:
        assert eventually(lambda: len(pool) == 1)
        namespace, endpoint = pool.take()
        with pytest.raises(AddressPoolExhausted, match=r"10\.71\.0\.0/30"):
            pool.take()
        for _ in range(20):  # whoever of the two is faster, the worker or this, there is one address for both
            namespace.close()
            addresses.release(endpoint.address.ip)
            namespace, same = pool.take()
            assert same.address == endpoint.address
        namespace.close()


@own_network
def test_what_waits_on_a_bridge_that_was_made_anew_is_thrown_away() -> None:
    bridge = make_bridge()
    addresses = addresses_of(bridge)
    with ReadyPool(bridge, addresses, size=2) as pool:
        assert eventually(lambda: len(pool) == 2)
        old = {link.name for link in list_links("tbr0")}
        bridge.remove()
        bridge.ensure()
        namespace, endpoint = pool.take()
        with namespace:
            assert endpoint.host_name not in old
            assert endpoint.bridge_index == bridge.index()
            assert endpoint.host_name in {link.name for link in list_links("tbr0")}
        assert eventually(lambda: len(pool) == 2)
        assert len(taken_in(addresses)) == 3


@own_network
def test_two_pools_on_two_bridges_do_not_meet() -> None:
    first = make_bridge()
    second = make_bridge("tbr1", IPv4Interface("10.72.0.1/24"))
    with ReadyPool(first, addresses_of(first), 3) as one, ReadyPool(second, addresses_of(second), 3) as other:
        assert eventually(lambda: len(one) == 3 and len(other) == 3)
        assert len(list_links("tbr0")) == len(list_links("tbr1")) == 3
