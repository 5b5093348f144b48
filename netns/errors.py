"""What can go wrong with a container's network.

    NetworkError
    |-- AddressPoolExhausted    every address of the subnet is taken
    |-- AddressUnavailable      this address is taken, or not one of the subnet
    |-- NoFreeSubnet            every candidate overlaps with what the host has
    |-- InvalidName             no name for an interface
    |-- NameTaken               an interface of this name exists already
    |-- BridgeInUse             the subnet can't change while containers hang on the bridge
    |-- SysctlError             a file below /proc/sys/net can't be written
    |-- PoolClosed              the pool of ready namespaces is shut down
    |-- NetlinkError            the kernel refused a step; carries the step and the errno
    `-- FirewallError           nftables refused; carries nft's own message
        `-- PortTaken           the published port belongs to another container

Every message is one line that a user can act on.
"""

import os


class NetworkError(Exception):
    """Anything that this library reports."""


class AddressPoolExhausted(NetworkError):
    """Every address of the subnet is taken."""


class AddressUnavailable(NetworkError):
    """This one address is taken, or isn't an address of the subnet."""


class NoFreeSubnet(NetworkError):
    """Every candidate subnet overlaps with a route or an address of the host."""


class InvalidName(NetworkError):
    """This can't be the name of an interface."""


class NameTaken(NetworkError):
    """An interface of this name exists already."""


class BridgeInUse(NetworkError):
    """The bridge's subnet can't change while containers hang on it."""


class SysctlError(NetworkError):
    """A network sysctl can't be set: ``errno`` says why, ``path`` which."""

    def __init__(self, path: str, value: str, errno: int) -> None:
        super().__init__(f"cannot write {value!r} to {path}: {os.strerror(errno)}")
        self.path, self.value, self.errno = path, value, errno


class PoolClosed(NetworkError):
    """The pool of ready namespaces is shut down."""


class NetlinkError(NetworkError):
    """The kernel refused one step of a netlink conversation.

    ``step`` is what was tried, in words; ``errno`` the kernel's number; ``reason`` its own explanation, where it
    gives one (extended acknowledgements, Documentation/userspace-api/netlink/intro.rst).
    """

    def __init__(self, step: str, errno: int, reason: str = "") -> None:
        super().__init__(f"{step}: {os.strerror(errno)}" + (f" ({reason})" if reason else ""))
        self.step, self.errno, self.reason = step, errno, reason


class FirewallError(NetworkError):
    """Nftables refused: the message is nft's own."""


class PortTaken(FirewallError):
    """A published port belongs to another container."""
