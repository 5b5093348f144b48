"""A network namespace: interfaces, addresses, routes and packet filter of its own (network_namespaces(7)).

A namespace has no name unless someone binds one. Here it is a file descriptor, and whoever holds one keeps the
namespace alive: first this library's caller, then the container's shim, then the container's processes. When the
last holder is gone the kernel takes everything in it away, veth pair included, in a worker of its own: that costs
the closer nothing, where deleting a veth would block for 20 ms. So nothing here is ever deleted, only closed.

A thread can leave its process's namespace alone: ``run_in`` starts one, moves it, lets it open what is wanted there
(descriptors and sockets stay in the namespace they were opened in) and lets it end. The calling thread never moves,
and no process is forked, so this is safe in a daemon full of threads.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self, TypeVar

from netns.messages import LOOPBACK_INDEX, link_up
from netns.netlink import RouteSocket
from netns.syscalls import setns_net, unshare_net

T = TypeVar("T")

OWN_NAMESPACE = "/proc/thread-self/ns/net"
DISABLE_IPV6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"  # "all" sets what later interfaces begin with, too


def run_in(enter: Callable[[], None], action: Callable[[], T]) -> T:
    """Run ``enter`` and then ``action`` in a short-lived thread and give back the result, or raise its exception."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            outcome.append(action())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure.pop()
    return outcome[0]


def _open_own() -> int:
    return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def namespace_lock() -> Iterator[None]:
    """Only one process of this network namespace at a time: whoever looks and then writes must not be overtaken.

    The lock is on the namespace's own file (flock(2)), which every process in it can open and none has to agree upon.
    Not reentrant: the same thread would wait for itself.
    """
    fd = _open_own()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _disable_ipv6() -> None:
    """As Docker does on a network without IPv6; a kernel without IPv6 has no such file."""
    with suppress(FileNotFoundError):
        fd = os.open(DISABLE_IPV6, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)


class NetworkNamespace:
    """Owner of one network namespace: its descriptor, and a netlink socket that lives inside it.

    Both keep the namespace alive; ``close`` closes both. For one thread at a time.
    """

    def __init__(self, fd: int, routes: RouteSocket | None = None) -> None:
        self._fd = fd
        self._routes = routes

    @classmethod
    def create(cls, ipv6: bool = False) -> "NetworkNamespace":
        """Make a fresh namespace: loopback down, no IPv6 unless asked for. OSError EPERM without CAP_SYS_ADMIN."""

        def inside() -> NetworkNamespace:
            with ExitStack() as undo:
                if not ipv6:
                    _disable_ipv6()
                fd = _open_own()
                undo.callback(os.close, fd)
                namespace = cls(fd, RouteSocket())
                undo.pop_all()
                return namespace

        return run_in(unshare_net, inside)

    @classmethod
    def from_pid(cls, pid: int) -> Self:
        """The namespace that a process is in. OSError ENOENT if there is no such process."""
        return cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """Take a descriptor of a network namespace over: from now on it is closed by this object."""
        return cls(fd)

    @property
    def fd(self) -> int:
        """The descriptor, still owned by this object; -1 after ``steal`` or ``close``."""
        return self._fd

    @property
    def routes(self) -> RouteSocket:
        """The netlink socket inside; opened at first use where the namespace wasn't made here."""
        if self._routes is None:
            self._routes = self.run(RouteSocket)
        return self._routes

    def run(self, action: Callable[[], T]) -> T:
        """Run ``action`` in a thread inside the namespace: for sysctls, or to open a socket there."""
        return run_in(lambda: setns_net(self._fd), action)

    def loopback_up(self) -> None:
        """Bring lo up: the kernel adds 127.0.0.1/8 by itself. All that a container without a network needs."""
        self.routes.execute(link_up(LOOPBACK_INDEX, "loopback"))

    def steal(self) -> int:
        """Hand the descriptor over: the caller owns it from now on; the socket inside is closed."""
        fd, self._fd = self._fd, -1
        self.close()
        return fd

    def close(self) -> None:
        """Let go. If nobody else holds the namespace the kernel takes it away, a little later."""
        if self._routes is not None:
            self._routes.close()
            self._routes = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
