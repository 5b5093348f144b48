"""Network namespaces made in advance, wired to the default bridge, so that starting a container waits for no RTNL lock.

      take()  <---  [ns, endpoint] [ns, endpoint] ...  <---  worker thread: make one, until there are ``size``
        |
        `-- none ready: makes one itself, in the caller's thread

Whoever takes one owns it: the namespace is theirs to pass on, and the endpoint's address theirs to give back to the
address pool. What waits here belongs to the pool; ``close`` lets go of it, addresses included.

A refill that fails is tried again later, ever more slowly, and at once when something is taken. Nobody is told: an
empty pool makes the next ``take`` do the work itself, and what is wrong is raised there, where someone can act on it.
"""

import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from ipaddress import IPv4Interface
from typing import Self

from netns.bridge import Bridge
from netns.errors import AddressPoolExhausted, NetworkError, PoolClosed
from netns.ipam import AddressPool
from netns.namespace import NetworkNamespace
from netns.veth import Endpoint, connect

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds between refills that fail
REST = 0.01  # seconds before a refill: whoever took one is busy starting a container, and should have the processor
LONG_REST = 0.05  # the same while half of them are there: a short container has come and gone by then

Entry = tuple[NetworkNamespace, Endpoint]


class ReadyPool:
    """At most ``size`` namespaces on ``bridge``, each with an address from ``addresses``. Safe with threads.

    The worker starts with the object, in the network namespace of the thread that makes it.
    """

    def __init__(self, bridge: Bridge, addresses: AddressPool, size: int = 4) -> None:
        self.bridge, self.addresses = bridge, addresses
        self._size = size
        self._ready: deque[Entry] = deque()
        self._closed = False
        self._making = threading.Lock()
        self._wanted = threading.Condition()
        self._worker = threading.Thread(target=self._refill, name="netns-pool", daemon=True)
        self._worker.start()

    def __len__(self) -> int:
        """How many are ready now."""
        return len(self._ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take(self) -> Entry:
        """A namespace and its endpoint: at once if one is ready, else made here (some 2 ms).

        Raises PoolClosed, AddressPoolExhausted, NetlinkError (no bridge, say), OSError (no descriptors left).
        """
        return self.take_ready() or self.make()

    def take_ready(self) -> Entry | None:
        """One that is ready, or None; never makes one, so an event loop can call it. Raises PoolClosed."""
        with self._wanted:
            if self._closed:
                raise PoolClosed("the pool of network namespaces is closed")
            entry = self._pop_usable()
            self._wanted.notify()
        return entry

    def make(self) -> Entry:
        """Make one here and now, whatever is ready; only where no address is left, one that is.

        One at a time: the kernel's RTNL lock allows no more, and threads that fight for it and for the interpreter
        need twice the processor time.
        """
        with self._making:
            try:
                return self._made()
            except AddressPoolExhausted:
                ready = self.take_ready()  # the worker may just have made one, with the last address
                if ready is None:
                    raise
                return ready

    def _made(self) -> Entry:
        """A new one. For who holds ``_making``."""
        with ExitStack() as undo:
            address = self.addresses.allocate()
            undo.callback(self.addresses.release, address)
            namespace = undo.enter_context(NetworkNamespace.create())
            own = IPv4Interface((address, self.bridge.network.network.prefixlen))
            endpoint = connect(namespace, self.bridge, None, own, self.bridge.gateway)
            undo.pop_all()
        return namespace, endpoint

    def resize(self, size: int) -> None:
        """Keep this many ready from now on; 0 keeps none. What is too many is let go."""
        with self._wanted:
            self._size = size
            while len(self._ready) > size:
                self._discard(self._ready.pop())
            self._wanted.notify()

    def close(self) -> None:
        """Stop the worker and let go of everything that is ready. Twice is fine."""
        with self._wanted:
            self._closed = True
            self._wanted.notify()
        self._worker.join()
        while self._ready:
            self._discard(self._ready.popleft())

    def _pop_usable(self) -> Entry | None:
        """The oldest that hangs on the bridge of today: one deleted and made again has another index."""
        index = None
        while self._ready:
            entry = self._ready.popleft()
            with suppress(NetworkError):
                index = index or self.bridge.index()
            if entry[1].bridge_index == index:
                return entry
            self._discard(entry)
        return None

    def _discard(self, entry: Entry) -> None:
        namespace, endpoint = entry
        namespace.close()
        self.addresses.release(endpoint.address.ip)

    def _refill(self) -> None:
        pause = FIRST_PAUSE
        while self._wait_until_wanted():
            time.sleep(REST if len(self) < self._size // 2 else LONG_REST)
            try:
                with self._making:
                    self._keep(self._made())
            except (NetworkError, OSError, RuntimeError):  # RuntimeError: no thread can be started
                self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE

    def _wait_until_wanted(self) -> bool:
        """Sleep until one is missing (True) or the pool closes (False)."""
        with self._wanted:
            self._wanted.wait_for(lambda: self._closed or len(self._ready) < self._size)
            return not self._closed

    def _pause(self, seconds: float) -> None:
        with self._wanted:
            if not self._closed:
                self._wanted.wait(seconds)

    def _keep(self, entry: Entry) -> None:
        with self._wanted:
            if self._closed or len(self._ready) >= self._size:
                self._discard(entry)
            else:
                self._ready.append(entry)
