"""Who has which address of a subnet. Pure: it reads and writes nothing, and knows no containers.

Addresses are handed out in order and the search goes on behind the last one given, round and round: an address just
released comes back as late as can be, when no connection and no cache remembers who had it. The pool is in memory;
its owner records who holds what, and tells it with ``reserve`` after a restart. Safe with threads.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from threading import Lock

from netns.errors import AddressPoolExhausted, AddressUnavailable

NETWORK_AND_BROADCAST = 2


class AddressPool:
    """The addresses of one subnet: all but the network's, the broadcast, the gateway and the ``reserved`` ones."""

    def __init__(self, subnet: IPv4Network, gateway: IPv4Address, reserved: Iterable[IPv4Address] = ()) -> None:
        self.subnet, self.gateway = subnet, gateway
        whole = subnet.num_addresses <= NETWORK_AND_BROADCAST  # /31 and /32 have no broadcast (RFC 3021)
        self._first = int(subnet.network_address) + (not whole)
        self._last = int(subnet.broadcast_address) - (not whole)
        self._lock = Lock()
        self._taken: set[int] = set()
        self._next = self._first
        for address in {gateway, *reserved}:
            self.reserve(address)

    def allocate(self) -> IPv4Address:
        """Take the next free address. Raises AddressPoolExhausted."""
        with self._lock:
            size = self._last - self._first + 1
            if len(self._taken) >= size:
                raise AddressPoolExhausted(f"no free address left in {self.subnet}: all {size} are in use")
            while self._next in self._taken:
                self._advance()
            number = self._next
            self._taken.add(number)
            self._advance()
        return IPv4Address(number)

    def reserve(self, address: IPv4Address) -> None:
        """Take this very address. Raises AddressUnavailable if it is taken or none of the subnet's."""
        number = int(address)
        if not self._first <= number <= self._last:
            raise AddressUnavailable(f"{address} is not an address for a container in {self.subnet}")
        with self._lock:
            if number in self._taken:
                raise AddressUnavailable(f"address {address} in {self.subnet} is in use")
            self._taken.add(number)

    def release(self, address: IPv4Address) -> None:
        """Give an address back; the gateway's stays, and one that nobody holds is no error."""
        if address != self.gateway:
            with self._lock:
                self._taken.discard(int(address))

    def __contains__(self, address: IPv4Address) -> bool:
        """Whether the address is taken."""
        return int(address) in self._taken

    def _advance(self) -> None:
        self._next = self._first if self._next >= self._last else self._next + 1
