"""What the daemon takes from its host: listening sockets, the process ID file, and checks that the host will do."""

from __future__ import annotations

import contextlib
import grp
import os
import resource
import socket
import stat
from collections.abc import Iterator, Sequence

from minirund.engine.settings import Settings
from minirund.options import BadOption
from overlayfs import quota
from overlayfs.errors import NoProjectQuota
from overlayfs.mounted import mount_of

FIRST_PASSED = 3  # sd_listen_fds(3)
UNFIT = frozenset({"overlay", "nfs", "nfs4", "vfat", "exfat", "ntfs", "9p", "fuse", "ecryptfs"})
"""File systems that can't hold an upper directory."""


def check_host(settings: Settings) -> None:
    """What would otherwise fail later and less clearly. Raises BadOption."""
    if os.geteuid() != 0:
        raise BadOption("minirund must run as root: it makes namespaces and mounts")
    for directory in (settings.data_root, settings.exec_root):
        try:
            os.makedirs(directory, mode=0o711, exist_ok=True)
        except OSError as error:
            raise BadOption(f"can't make {directory}: {os.strerror(error.errno or 0)}") from None
    check_overlay(settings.data_root)
    if settings.layer_size:
        try:
            quota.require(settings.data_root)
        except NoProjectQuota as error:
            raise BadOption(f"--storage-opt overlay2.size is supported only with project quotas: {error}") from None


def raise_descriptors() -> None:
    """As many descriptors as the hard limit allows: started by hand, a daemon has 1024, and a container takes some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_overlay(data_root: str) -> None:
    """An upper directory needs trusted xattrs and d_type; overlay itself is one of them. Raises BadOption."""
    kind = mount_of(data_root).kind
    if kind in UNFIT or not _takes_xattrs(data_root):
        raise BadOption(
            f"data root {data_root} is on {kind}, which can't hold overlayfs layers: "
            "choose a directory on ext4, xfs, btrfs or tmpfs with --data-root"
        )


def _takes_xattrs(directory: str) -> bool:
    try:
        os.setxattr(directory, "trusted.minirund", b"y")
        os.removexattr(directory, "trusted.minirund")
    except OSError:
        return False
    return True


def listen(url: str, group: str | None) -> list[socket.socket]:
    """The listening sockets of one -H. Raises BadOption."""
    scheme, separator, rest = url.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return [_listen_unix(rest, group)]
    if scheme == "fd":
        return _passed_sockets()
    if scheme == "tcp":
        raise BadOption(f"-H {url}: TCP needs mutual TLS, which is not offered yet; use unix:///PATH")
    raise BadOption(
        f"-H {url}: not a host: use unix:///PATH or fd://" + ("" if separator else " (is unix:// missing?)")
    )


def _listen_unix(path: str, group: str | None) -> socket.socket:
    owner = _group_id(group)
    _clear_stale(path)
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with _umask(0o177):  # nobody else gets in between bind and chmod
                listener.bind(path)
        except OSError as error:
            raise BadOption(f"can't listen on {path}: {error.strerror or error}") from None
        os.chown(path, 0, owner)
        os.chmod(path, 0o660)
        listener.listen(4096)
        undo.pop_all()
    return listener


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _clear_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more. Raises BadOption if somebody does."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise BadOption(f"can't listen on {path}: it exists and is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except OSError as error:
                raise BadOption(f"can't listen on {path}: {error.strerror}") from None
        raise BadOption(f"can't listen on {path}: another daemon listens there; stop it or choose another with -H")


def _group_id(name: str | None) -> int:
    try:
        return grp.getgrnam(name or "minirun").gr_gid
    except KeyError:
        if name is None:
            return 0
        raise BadOption(f"--group {name}: no such group; make it: groupadd --system {name}") from None


def _passed_sockets() -> list[socket.socket]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise BadOption("-H fd://: no sockets were passed: it is for a unit with a systemd socket")
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    for number in range(FIRST_PASSED, FIRST_PASSED + count):
        os.set_inheritable(number, False)
    return [socket.socket(fileno=number) for number in range(FIRST_PASSED, FIRST_PASSED + count)]


@contextlib.contextmanager
def listening(hosts: Sequence[str], group: str | None) -> Iterator[list[socket.socket]]:
    """All sockets, listening. Afterwards those made here are gone from the file system."""
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for url in hosts:
            for listener in listen(url, group):
                undo.callback(listener.close)
                sockets.append(listener)
                if url.startswith("unix://"):
                    undo.callback(_unlink, url.removeprefix("unix://"), os.stat(url.removeprefix("unix://")).st_ino)
        yield sockets


@contextlib.contextmanager
def listening_tcp(address: tuple[str, int] | None, option: str) -> Iterator[list[socket.socket]]:
    """The listening socket of an address, none for None. Raises BadOption."""
    if address is None:
        yield []
        return
    host, port = address
    try:
        listener = _listen_tcp(host, port)
    except OSError as error:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        number = error.errno or 0  # below 0: the resolver's
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise BadOption(f"can't listen on {shown}: {why.lower()}: choose another address with {option}") from None
    with listener:
        yield [listener]


def _listen_tcp(host: str, port: int) -> socket.socket:
    """A name's first address, IPv4 if it has one; "" is every address of both kinds."""
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, where = min(found, key=lambda one: one[0] != socket.AF_INET)
    return socket.create_server(where[:2], family=family)


def _unlink(path: str, inode: int) -> None:
    """Remove the socket if it is still ours: another daemon may have taken the path over."""
    with contextlib.suppress(OSError):
        if os.lstat(path).st_ino == inode:
            os.unlink(path)


@contextlib.contextmanager
def pidfile(path: str | None) -> Iterator[None]:
    """The process ID in a file, while this runs. Raises BadOption if the process named there is alive."""
    if path is None:
        yield
        return
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        pid = int(file.read())
        if pid != os.getpid() and os.path.exists(f"/proc/{pid}") and _is_minirund(pid):
            raise BadOption(f"{path}: minirund is running already, as process {pid}")
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise BadOption(f"can't write --pidfile {path}: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _is_minirund(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"minirund" in file.read()
    except OSError:
        return False
