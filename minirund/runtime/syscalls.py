"""The system calls that Python's os module lacks: the one file that touches ctypes and prctl.

A wrapper is one call. Where the kernel refuses, it raises ``StepFailed`` with the call and its target in plain words,
the errno and the path: that is what the user reads in the end. Names and arguments are the kernel's (man 2 NAME).

The library handle is a ``PyDLL``: it keeps Python's lock across the call. That is what makes clone3 possible here. The
child is a copy of the calling thread alone, and goes on in the interpreter as if nothing had happened: with a lock that
it holds itself, and not one that another thread would have to give back.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

import prctl

from minirund.errors import StepFailed

_LIBC: Final = ctypes.PyDLL(None, use_errno=True)
# Looked up here, once. A handle makes a function object at the first use of its name: in every init, that is, for
# some 50 page faults in all.
_syscall, _mount, _umount2, _prctl = _LIBC.syscall, _LIBC.mount, _LIBC.umount2, _LIBC.prctl
_setns, _unshare, _sethostname, _setdomainname = _LIBC.setns, _LIBC.unshare, _LIBC.sethostname, _LIBC.setdomainname
_ARM: Final = os.uname().machine == "aarch64"

# Numbers above 423 are the same on every architecture.
SYS_PIVOT_ROOT, SYS_CAPSET, SYS_SECCOMP = (41, 91, 277) if _ARM else (155, 126, 317)
SYS_RT_SIGACTION = 134 if _ARM else 13
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_CLONE3, SYS_CLOSE_RANGE, SYS_OPENAT2 = 428, 429, 435, 436, 437
SYS_PIDFD_SEND_SIGNAL, SYS_MOUNT_SETATTR = 424, 442

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = -100, 0x1000, 0x8000, 0x100

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWTIME = 0x10000000, 0x20000000, 0x40000000, 0x80
CLONE_PIDFD, CLONE_INTO_CGROUP = 0x1000, 0x200000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_SYNCHRONOUS, MS_REMOUNT = 1, 2, 4, 8, 16, 32
MS_DIRSYNC, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_SILENT = 128, 1024, 2048, 4096, 16384, 32768
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_RELATIME = 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_NODIRATIME = 0x70, 0x10, 0x20, 0x80

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x02, 0x04, 0x10


class _Filter(ctypes.Structure):
    """struct sock_fprog: how many instructions, and where. A buffer of ctypes' would be a type made for its length."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _refused(step: str, path: str = "") -> StepFailed:
    return StepFailed(step, ctypes.get_errno(), path)


def _bytes(text: str) -> bytes | None:
    return os.fsencode(text) if text else None


# --- processes -------------------------------------------------------------------------------------------------------


def clone3(flags: int, cgroup: int = -1) -> tuple[int, int]:
    """Fork into new namespaces, born in the cgroup whose directory is open as ``cgroup``.

    Returns (0, -1) in the child and (pid, pidfd) in the parent, who owns the pidfd (it is close-on-exec).
    """
    pidfd = ctypes.c_int(-1)
    flags |= CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup >= 0 else 0)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    # set_tid_size, cgroup
    sigchld = 17
    args = struct.pack("=11Q", flags, ctypes.addressof(pidfd), 0, 0, sigchld, 0, 0, 0, 0, 0, max(cgroup, 0))
    pid: int = _syscall(SYS_CLONE3, args, len(args))
    if pid < 0:
        raise _refused("clone3")
    return pid, pidfd.value


def setns(descriptor: int, namespaces: int, path: str = "") -> None:
    """Enter a namespace by its file, or those of a process by its pidfd (a mask of CLONE_NEW*)."""
    if _setns(descriptor, namespaces) < 0:
        raise _refused("join the namespace", path)


def unshare(namespaces: int) -> None:
    """Leave the namespaces of the parent for new ones."""
    if _unshare(namespaces) < 0:
        raise _refused("unshare")


def sethostname(name: str) -> None:
    """The host name, in the caller's UTS namespace."""
    raw = name.encode()
    if _sethostname(raw, len(raw)) < 0:
        raise _refused(f"sethostname {name}")


def setdomainname(name: str) -> None:
    """The NIS domain name, in the caller's UTS namespace."""
    raw = name.encode()
    if _setdomainname(raw, len(raw)) < 0:
        raise _refused(f"setdomainname {name}")


def close_range(first: int, last: int = 0xFFFFFFFF, cloexec: bool = False) -> None:
    """Close every descriptor in the range, or mark it as close-on-exec."""
    if _syscall(SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), 4 if cloexec else 0) < 0:
        raise _refused("close_range")


# --- mounts ----------------------------------------------------------------------------------------------------------


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "", named: str = "") -> None:
    """mount(2). ``named`` is the target in the user's words, where ``target`` is a /proc/self/fd path."""
    if _mount(_bytes(source), os.fsencode(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data)) < 0:
        raise _refused(f"mount {fstype or source or named or target}", named or target)


def umount2(target: str, flags: int) -> None:
    """Take a mount away."""
    if _umount2(os.fsencode(target), flags) < 0:
        raise _refused("umount", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root``, a mount point, the root of the mount namespace; the old root moves to ``put_old``."""
    if _syscall(SYS_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old)) < 0:
        raise _refused("pivot_root", new_root)


def open_tree(directory: int, path: str, recursive: bool = False, follow: bool = True, named: str = "") -> int:
    """A detached copy of a mount (of what is at ``path``, with the mounts below if ``recursive``): a bind mount that
    is nowhere yet. The descriptor is close-on-exec and the caller's; closing it unattached takes the mount away."""
    clone = 1
    flags = clone | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0) | (0 if follow else AT_SYMLINK_NOFOLLOW)
    descriptor: int = _syscall(SYS_OPEN_TREE, directory, os.fsencode(path), flags | (0 if path else AT_EMPTY_PATH))
    if descriptor < 0:
        raise _refused("bind", named or path)
    return descriptor


def move_mount(tree: int, target: int, named: str = "") -> None:
    """Attach a detached mount to what is open as ``target`` (O_PATH will do)."""
    from_empty, to_empty = 0x04, 0x40
    if _syscall(SYS_MOVE_MOUNT, tree, b"", target, b"", from_empty | to_empty) < 0:
        raise _refused("mount", named)


def mount_setattr(
    descriptor: int, on: int = 0, off: int = 0, propagation: int = 0, recursive: bool = False, named: str = ""
) -> None:
    """Change a mount's attributes (MOUNT_ATTR_*) and propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE)."""
    attributes = struct.pack("=4Q", on, off, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    if _syscall(SYS_MOUNT_SETATTR, descriptor, b"", flags, attributes, len(attributes)) < 0:
        raise _refused("mount_setattr", named)


def openat2(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2), close-on-exec. Returns the negative errno where the kernel refuses: to look whether something is
    there is no step that fails, and an exception takes a new process some 100 microseconds."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)
    descriptor: int = _syscall(SYS_OPENAT2, directory, os.fsencode(path), how, len(how))
    return descriptor if descriptor >= 0 else -ctypes.get_errno()


# --- privileges ------------------------------------------------------------------------------------------------------


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """The calling thread's capability sets, as masks: bit N is capability N."""
    version_3 = 0x20080522
    header = struct.pack("=Ii", version_3, 0)
    sets = (effective, permitted, inheritable)
    low, high = (tuple(each >> shift & 0xFFFFFFFF for each in sets) for shift in (0, 32))
    if _syscall(SYS_CAPSET, header, struct.pack("=6I", *low, *high)) < 0:
        raise _refused("capset")


def drop_bounding(capability: int) -> None:
    """Take a capability out of the bounding set: no execve gives it back."""
    try:
        prctl.capbset_drop(capability)
    except OSError as error:
        raise StepFailed(f"drop capability {capability} from the bounding set", error.errno or 0) from error


def raise_ambient(capability: int) -> None:
    """Put a capability into the ambient set: it survives the execve of a plain program by a plain user."""
    pr_cap_ambient, ambient_raise = 47, 2
    if _prctl(pr_cap_ambient, ambient_raise, capability, 0, 0) < 0:
        raise _refused(f"raise the ambient capability {capability}")


def set_keepcaps(keep: bool) -> None:
    """Whether the permitted set survives the change from root to another user."""
    prctl.set_keepcaps(int(keep))


def set_no_new_privs() -> None:
    """From here on no execve gives privileges: set-user-ID bits and file capabilities are without effect."""
    prctl.set_no_new_privs(1)


def set_dumpable(dumpable: bool) -> None:
    """Without it no process of the same user may look into this one, or open its /proc/PID/exe, until execve."""
    prctl.set_dumpable(int(dumpable))


def set_title(title: str) -> None:
    """What ps shows: as much of it as the command line of this process had room for."""
    prctl.set_name(title.partition(" ")[0][:15])
    prctl.set_proctitle(title)


def load_seccomp(program: bytes, flags: int = 0) -> None:
    """Hand the kernel a filter: an array of struct sock_filter, eight bytes each. It can't be taken back."""
    set_mode_filter = 1
    length = min(len(program) // 8, 0xFFFF)  # too many for the kernel; not cut off at 16 bits
    if _syscall(SYS_SECCOMP, set_mode_filter, flags, ctypes.byref(_Filter(length, program))) < 0:
        raise _refused("load the seccomp profile")


def default_reserved_signals() -> None:
    """Signals 32 and 33 at their default. The C library keeps them to itself: its own calls don't reach them, and yet
    make(1), for one, starts its children with both ignored."""
    for number in (32, 33):
        if _syscall(SYS_RT_SIGACTION, number, bytes(32), None, 8) < 0:
            raise _refused(f"reset signal {number}")
