"""Network namespaces as descriptors: made and entered by threads, while everyone else stays where they are."""

import ctypes
import errno
import os
import socket
import subprocess

import pytest
from netns_sandbox import DEADLINE, needs_root, own_network

from netns.namespace import NetworkNamespace, run_in
from netns.syscalls import setns_net

pytestmark = needs_root


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def own_inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_a_fresh_namespace_has_only_loopback_and_the_caller_stays() -> None:
    before = own_inode()
    with NetworkNamespace.create() as namespace:
        assert inode(namespace.fd) != before
        assert "lo" in namespace.run(interfaces) and "eth0" not in namespace.run(interfaces)
        assert namespace.run(own_inode) == inode(namespace.fd)
    assert own_inode() == before
    assert os.stat("/proc/self/ns/net").st_ino == before


def ping_self() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(DEADLINE)
        udp.sendto(b"hello", udp.getsockname())
        return udp.recv(16)


def test_loopback_is_down_until_it_is_asked_for() -> None:
    with NetworkNamespace.create() as namespace:
        with pytest.raises(OSError):
            namespace.run(ping_self)
        namespace.loopback_up()
        assert namespace.run(ping_self) == b"hello"


def read_disable_ipv6() -> str:
    with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6") as file:
        return file.read().strip()


@pytest.mark.skipif(not os.path.exists("/proc/sys/net/ipv6"), reason="a kernel without IPv6")
@pytest.mark.parametrize(("ipv6", "expected"), [(False, "1"), (True, "0")])
def test_ipv6_is_off_unless_asked_for(ipv6: bool, expected: str) -> None:
    with NetworkNamespace.create(ipv6=ipv6) as namespace:
        assert namespace.run(read_disable_ipv6) == expected


def test_steal_hands_the_descriptor_over() -> None:
    namespace = NetworkNamespace.create()
    fd = namespace.steal()
    namespace.close()
    assert namespace.fd == -1
    with NetworkNamespace.from_fd(fd) as again:
        again.loopback_up()
        assert again.run(ping_self) == b"hello"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_close_twice_is_fine_and_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    namespace = NetworkNamespace.create()
    assert len(os.listdir("/proc/self/fd")) == before + 2
    namespace.close()
    namespace.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_closed_on_exec() -> None:
    with NetworkNamespace.create() as namespace:
        assert not os.get_inheritable(namespace.fd)


def test_from_pid_is_the_process_s_namespace() -> None:
    with NetworkNamespace.create() as namespace:
        sleeper = namespace.run(lambda: subprocess.Popen(["sleep", "60"]))
        try:
            with NetworkNamespace.from_pid(sleeper.pid) as same:
                assert inode(same.fd) == inode(namespace.fd)
        finally:
            sleeper.kill()
            sleeper.wait()


def test_from_pid_of_nobody() -> None:
    with pytest.raises(FileNotFoundError):
        NetworkNamespace.from_pid(2**22)


def test_a_descriptor_that_is_no_namespace_is_refused() -> None:
    with NetworkNamespace.from_fd(os.open("/dev/null", os.O_RDONLY)) as wrong:
        with pytest.raises(OSError) as caught:
            wrong.loopback_up()
        assert caught.value.errno == errno.EINVAL


def test_run_in_raises_what_happened_inside() -> None:
    with pytest.raises(ZeroDivisionError):
        run_in(lambda: None, lambda: 1 // 0)
    with pytest.raises(OSError, match="setns network namespace"):
        run_in(lambda: setns_net(-1), lambda: None)


def without_rights() -> None:
    """Give up all capabilities of this thread (capset(2) acts on the thread alone)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, nothing) == 0


def test_without_rights_the_error_names_the_call() -> None:
    with pytest.raises(PermissionError, match="unshare network namespace"):
        run_in(without_rights, NetworkNamespace.create)


@own_network
def test_the_sandbox_is_a_namespace_of_its_own() -> None:
    assert own_inode() != os.stat("/proc/self/ns/net").st_ino
