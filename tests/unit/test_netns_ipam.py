"""Addresses of a subnet: order, going round, exhaustion, edges, and threads."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network

import pytest

from netns.errors import AddressPoolExhausted, AddressUnavailable, NetworkError
from netns.ipam import AddressPool


def pool(subnet: str = "10.71.0.0/29", reserved: tuple[str, ...] = ()) -> AddressPool:
    network = IPv4Network(subnet)
    return AddressPool(network, network.network_address + 1, [IPv4Address(text) for text in reserved])


def allocate(addresses: AddressPool, count: int) -> list[str]:
    return [str(addresses.allocate()) for _ in range(count)]


def test_in_order_without_network_gateway_and_broadcast() -> None:
    assert allocate(pool(), 5) == [f"10.71.0.{last}" for last in (2, 3, 4, 5, 6)]


def test_a_released_address_is_the_last_to_come_back() -> None:
    addresses = pool()
    allocate(addresses, 2)
    addresses.release(IPv4Address("10.71.0.2"))
    assert allocate(addresses, 4) == ["10.71.0.4", "10.71.0.5", "10.71.0.6", "10.71.0.2"]


def test_exhausted_names_the_subnet_and_recovers() -> None:
    addresses = pool()
    allocate(addresses, 5)
    with pytest.raises(AddressPoolExhausted, match=r"10\.71\.0\.0/29"):
        addresses.allocate()
    addresses.release(IPv4Address("10.71.0.4"))
    assert allocate(addresses, 1) == ["10.71.0.4"]


def test_reserved_addresses_are_not_given_out() -> None:
    assert allocate(pool(reserved=("10.71.0.3", "10.71.0.5")), 3) == ["10.71.0.2", "10.71.0.4", "10.71.0.6"]


def test_reserve_takes_an_address_once() -> None:
    addresses = pool()
    addresses.reserve(IPv4Address("10.71.0.2"))
    assert IPv4Address("10.71.0.2") in addresses
    assert IPv4Address("10.71.0.3") not in addresses
    with pytest.raises(AddressUnavailable, match=r"10\.71\.0\.2 in 10\.71\.0\.0/29 is in use"):
        addresses.reserve(IPv4Address("10.71.0.2"))
    assert allocate(addresses, 1) == ["10.71.0.3"]


@pytest.mark.parametrize("wrong", ["10.71.0.0", "10.71.0.7", "10.71.0.8", "192.0.2.1"])
def test_only_addresses_for_containers_can_be_reserved(wrong: str) -> None:
    with pytest.raises(AddressUnavailable, match="is not an address for a container"):
        pool().reserve(IPv4Address(wrong))


def test_the_gateway_stays_taken() -> None:
    addresses = pool()
    addresses.release(addresses.gateway)
    assert addresses.gateway in addresses
    with pytest.raises(AddressUnavailable):
        addresses.reserve(addresses.gateway)


def test_releasing_what_nobody_holds_is_no_error() -> None:
    addresses = pool()
    addresses.release(IPv4Address("10.71.0.3"))
    addresses.release(IPv4Address("192.0.2.1"))
    assert len(allocate(addresses, 5)) == 5


def test_a_subnet_of_two_has_no_broadcast() -> None:
    addresses = AddressPool(IPv4Network("10.71.0.0/31"), IPv4Address("10.71.0.0"))
    assert allocate(addresses, 1) == ["10.71.0.1"]
    with pytest.raises(AddressPoolExhausted):
        addresses.allocate()


def test_a_large_subnet_costs_nothing_until_used() -> None:
    assert allocate(pool("10.0.0.0/8"), 2) == ["10.0.0.2", "10.0.0.3"]


def test_threads_never_get_the_same() -> None:
    addresses = pool("10.71.0.0/20")
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda _: addresses.allocate(), range(4000)))
    assert len(set(given)) == 4000


def test_errors_are_network_errors() -> None:
    assert issubclass(AddressPoolExhausted, NetworkError)
    assert issubclass(AddressUnavailable, NetworkError)
