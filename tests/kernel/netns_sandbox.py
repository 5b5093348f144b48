"""What the network tests share: a network namespace of the test's own, and sockets in the containers' namespaces.

A test decorated with ``own_network`` runs in a thread that has left for a fresh namespace: it is "the host" there, and
the bridges, rules and sysctls it makes are nobody else's. The thread ends, the last descriptor closes, all is gone.
Threads and processes that the test starts begin in that namespace too.
"""

import functools
import os
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from waiting import PATIENCE as DEADLINE

from netns.bridge import Bridge
from netns.messages import LOOPBACK_INDEX, link_up
from netns.namespace import NetworkNamespace, run_in
from netns.netlink import RouteSocket
from netns.syscalls import unshare_net
from netns.veth import Endpoint, connect

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
BRIDGE = IPv4Interface("10.71.0.1/24")


def _enter() -> None:
    unshare_net()
    with RouteSocket() as routes:
        routes.execute(link_up(LOOPBACK_INDEX, "loopback"))


def own_network(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run a test in a network namespace of its own."""

    @functools.wraps(test)
    def inside(*args: Any, **kwargs: Any) -> None:
        run_in(_enter, lambda: test(*args, **kwargs))

    return needs_root(inside)


def make_bridge(name: str = "tbr0", network: IPv4Interface = BRIDGE) -> Bridge:
    bridge = Bridge(name, network)
    bridge.ensure()
    return bridge


def container(bridge: Bridge, last_byte: int, **options: Any) -> tuple[NetworkNamespace, Endpoint]:
    """A namespace on the bridge, its address the subnet's with this last byte."""
    namespace = NetworkNamespace.create()
    address = IPv4Interface((bridge.network.network.network_address + last_byte, bridge.network.network.prefixlen))
    return namespace, connect(namespace, bridge, None, address, bridge.gateway, **options)


def listen(namespace: NetworkNamespace, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    def open_inside() -> socket.socket:
        server = socket.socket(socket.AF_INET, kind)
        server.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        server.settimeout(DEADLINE)
        return server

    return namespace.run(open_inside)


def dial(
    namespace: NetworkNamespace | None, address: IPv4Address, port: int, timeout: float = DEADLINE
) -> socket.socket:
    """A TCP connection from inside a namespace, or from the test's own with None."""

    def open_inside() -> socket.socket:
        return socket.create_connection((str(address), port), timeout=timeout)

    return namespace.run(open_inside) if namespace else open_inside()


def exchange(server: socket.socket, client: socket.socket) -> str:
    """Send both ways over a new connection; the client's address as the server sees it."""
    connection, (peer, _) = server.accept()
    with connection, client:
        connection.settimeout(DEADLINE)
        client.sendall(b"ping")
        assert connection.recv(4) == b"ping"
        connection.sendall(b"pong")
        assert client.recv(4) == b"pong"
    return str(peer)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true: the kernel takes interfaces away some time after the last descriptor closes."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
