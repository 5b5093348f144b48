"""/dev: the device nodes, the links, and the terminal.

A device node is a name for a driver: type, major, minor. Making one takes CAP_MKNOD; opening it asks the cgroup's
device program. A terminal is a pair. The container's devpts holds the slave, which the process has as its stdin, stdout
and stderr; the master goes to the shim. They are made with the path of the multiplexer and one ioctl: TIOCGPTPEER opens
the slave that belongs to the master, whatever an image has put at /dev/pts/0.

Sources: OCI runtime-spec config-linux.md, "Default Devices"; pts(4), ioctl_tty(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from typing import Any

from minirund.errors import StepFailed
from minirund.runtime import paths, syscalls
from minirund.runtime.context import Context

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441
PTMX = os.makedev(5, 2)


def make_devices(ctx: Context) -> None:
    """The nodes and links that every container has, then those of the configuration. A /dev of the host's is left."""
    if dev_is_bound(ctx):
        return
    dev = paths.make_directories(ctx.root, "/dev")
    old = os.umask(0)
    for name, (major, minor) in NODES.items():
        make_node(dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), f"/dev/{name}")
    for name, target in LINKS.items():
        make_link(dev, name, target)
    for device in ctx.linux.get("devices") or ():
        make_device(ctx, device)
    os.umask(old)
    os.close(dev)


def dev_is_bound(ctx: Context) -> bool:
    """Whether /dev is a directory of the host."""
    return any(each["destination"].rstrip("/") == "/dev" and each.get("type") == "bind" for each in ctx.mounts)


def make_device(ctx: Context, device: dict[str, Any]) -> None:
    """One entry of linux.devices: path, type, numbers, mode, owner."""
    path, kind = device["path"], device.get("type") or "c"
    number = os.makedev(device.get("major") or 0, device.get("minor") or 0)
    parent = paths.make_directories(ctx.root, os.path.dirname(path))
    name = os.path.basename(path)
    mode = device.get("fileMode")
    make_node(parent, name, KINDS[kind] | (0o666 if mode is None else mode & 0o7777), number, path)
    os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=parent, follow_symlinks=False)
    os.close(parent)


def make_node(parent: int, name: str, mode: int, number: int, path: str) -> None:
    """mknod. One that is there already must be the same device."""
    try:
        os.mknod(name, mode, number, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if (stat.S_IFMT(found.st_mode), found.st_rdev) != (stat.S_IFMT(mode), number):
            raise StepFailed("make the device node", errno.EEXIST, path) from None
    except OSError as error:
        raise StepFailed("make the device node", error.errno or 0, path) from error


def make_link(parent: int, name: str, target: str) -> None:
    """A symbolic link, unless the name is taken: then the image or a mount wants it otherwise."""
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        return
    except OSError as error:
        raise StepFailed("make the link", error.errno or 0, f"/dev/{name}") from error


def open_terminal(ctx: Context) -> None:
    """A new terminal in the container's devpts: its master goes to the shim, its slave becomes 0, 1, 2 and, for the
    container itself, /dev/console."""
    if not ctx.terminal:
        return
    try:
        master, slave = open_pair(ctx.root)
    except OSError as error:
        raise StepFailed("open a terminal", error.errno or 0, "/dev/pts/ptmx") from error
    set_size(master, ctx.process.get("consoleSize") or {})
    if not ctx.is_exec:
        bind_console(ctx, slave)
    ctx.send_terminal(master)
    take_terminal(slave)


def open_pair(root: int) -> tuple[int, int]:
    """A master and its slave."""
    flags = os.O_RDWR | os.O_NOCTTY
    master = paths.open_in(root, "/dev/pts/ptmx", flags, links=False)
    if os.fstat(master).st_rdev != PTMX:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    return master, fcntl.ioctl(master, TIOCGPTPEER, flags | os.O_CLOEXEC)


def set_size(terminal: int, size: dict[str, int]) -> None:
    """Rows and columns; whoever has the terminal gets SIGWINCH."""
    if size.get("height") or size.get("width"):
        window = struct.pack("HHHH", size.get("height", 0), size.get("width", 0), 0, 0)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, window)


def bind_console(ctx: Context, slave: int) -> None:
    """/dev/console is the container's own terminal."""
    tree = syscalls.open_tree(slave, "", named="/dev/console")
    target = paths.make_target(ctx.root, "/dev/console", directory=False)
    syscalls.move_mount(tree, target, "/dev/console")
    os.close(target)
    os.close(tree)


def take_terminal(slave: int) -> None:
    """stdin, stdout, stderr, and the terminal that ctrl-c and job control act through."""
    for descriptor in (0, 1, 2):
        os.dup2(slave, descriptor, inheritable=True)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
