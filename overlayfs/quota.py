"""A bound on what one directory may hold: the project quotas of ext4 and xfs.

A file has an owner, a group, and a project: a number of 32 bits, 0 for none. The file system counts the blocks of each
project and gives it no more than its limit. What is made in a directory with the flag PROJINHERIT is of that
directory's project, so a quota on a tree takes three steps, while the tree is empty:

    ioctl(FS_IOC_FSSETXATTR)      the directory gets a project, and passes it on
    quotactl_fd(Q_SETQUOTA)       the project gets a limit
    mkdir upper, work             from here on all that is made counts

Who then writes more gets EDQUOT on ext4 and ENOSPC on xfs, root too, as overlayfs writes without CAP_SYS_RESOURCE; and
statfs(2), so ``df``, shows the limit as the size. All of it is in the file system: nothing is to be saved, or to be
done again after a reboot. It must be mounted with ``prjquota``, or limits are kept and not held.

Nobody gives out projects. Small numbers are those of /etc/projid, other programs have ranges of their own; the range
here is FIRST to LAST. A number is drawn from it, is free if nothing is counted or limited under it, and is ours if,
once it is set, one inode is counted: our directory. Two who have drawn the same one see two, and both draw again.
``lift`` sets the limit to 0 again, before the files go; when they have gone, the kernel forgets the number.

The owner of a file may give it another project (``chattr -p``), or take the flag from a directory, and then the limit
does not hold: a program that must stay below it must be kept from both ioctls, by seccomp or a user namespace.

Sources: quotactl(2), xfs_quota(8), linux/quota.h, linux/dqblk_xfs.h, linux/fs.h, the kernel's fs/quota/quota.c. Needs
root, and Linux 5.14 for quotactl_fd.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from typing import NamedTuple

from overlayfs.errors import NoProjectQuota
from overlayfs.mounted import mount_of_descriptor

FIRST, LAST = 1_800_000_000, 1_899_999_999
"""The projects that are drawn here."""
TRIES = 100
LARGEST_BLOCK = 64 * 1024
"""Bytes: xfs keeps a limit in whole blocks of its own."""
BLOCK = 1024
"""Bytes in a block, as quotactl(2) counts limits, whatever the file system's are."""

FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
PROJINHERIT = 0x200
FSXATTR = struct.Struct("=5I8x")  # xflags, extsize, nextents, projid, cowextsize

SYS_QUOTACTL_FD = 443  # the same on every machine
PROJECTS = 2  # PRJQUOTA: not users, not groups
Q_GETQUOTA, Q_SETQUOTA, Q_XGETQSTATV = 0x800007, 0x800008, 0x5808
DQBLK = struct.Struct("=8QI4x")  # limits, soft, bytes; the same of inodes; two times; which of them are valid
LIMITS_VALID = 1  # QIF_BLIMITS
STATV = struct.Struct("=BxH196x")  # version, flags; then what else is to be known
STATV_VERSION, ENFORCED = 1, 1 << 5  # FS_QUOTA_PDQ_ENFD
NOT_THERE = frozenset({errno.ENOSYS, errno.ESRCH, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL})
"""How a file system, or a kernel, says that it has no project quotas."""

FIXES = {
    "ext4": "unmount it, run `tune2fs -O quota,project -Q prjquota {source}`, and mount it with the option prjquota",
    "xfs": "unmount it and mount it with the option prjquota (a remount does not do; the root file system takes "
    "rootflags=prjquota on the kernel's command line)",
}
ELSEWHERE = "use a directory on ext4 or xfs that is mounted with the option prjquota"


class Quota(NamedTuple):
    """What holds for a directory: its project, its limit and what is used of it, in bytes. Limit 0: none."""

    project: int
    limit: int
    used: int


def require(directory: str) -> None:
    """Raises NoProjectQuota, which says why and the way out, where a limit would not be held."""
    with _opened(directory) as fd:
        _require(fd)


def limit(directory: str, size: int) -> int:
    """Hold all that will be made in ``directory``, which is empty, to ``size`` bytes (rounded up to whole blocks).

    Returns its project. Raises NoProjectQuota, OSError.
    """
    with _opened(directory) as fd:
        _require(fd)
        project = _claim(fd)
        _set_limit(fd, project, size)
        return project


def look(directory: str) -> Quota | None:
    """The quota of a directory with a project of ours, or None. Raises OSError if the directory can't be read."""
    with _opened(directory) as fd:
        return _look(fd)


def held(directory: str, size: int) -> bool:
    """Whether ``directory`` is held to this limit now. Not so where its file system is mounted without quotas, or where
    it is a copy: a project stays behind. Raises OSError."""
    with _opened(directory) as fd:
        found = _look(fd)
        return found is not None and 0 <= found.limit - size < LARGEST_BLOCK and _enforced(fd)


def lift(directory: str) -> None:
    """Take the limit away, for good: the directory is about to be removed. One without a quota is fine."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _opened(directory) as fd:
        if found := _look(fd):
            _set_limit(fd, found.project, 0)


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _require(fd: int) -> None:
    if not _enforced(fd):
        raise _no_quota(fd)


def _look(fd: int) -> Quota | None:
    project = _project(fd)
    found = _counted(fd, project) if project in range(FIRST, LAST + 1) else None
    return Quota(project, found[0] * BLOCK, found[2]) if found else None


def _claim(fd: int) -> int:
    """Give the directory a project that nobody else has. Raises OSError, and NoProjectQuota where nothing counts."""
    fields = bytearray(FSXATTR.size)
    fcntl.ioctl(fd, FS_IOC_FSGETXATTR, fields)
    flags, extent, _, _, cow = FSXATTR.unpack(fields)
    for _ in range(TRIES):
        project = FIRST + secrets.randbelow(LAST - FIRST + 1)
        found = _counted(fd, project)
        if found is None or not any(found[:6]):
            fcntl.ioctl(fd, FS_IOC_FSSETXATTR, FSXATTR.pack(flags | PROJINHERIT, extent, 0, project, cow))
            if _inodes(fd, project) == 1:
                return project
    raise _no_quota(fd)


def _inodes(fd: int, project: int) -> int:
    found = _counted(fd, project)
    return found[5] if found else 0


def _project(fd: int) -> int:
    fields = bytearray(FSXATTR.size)
    try:
        fcntl.ioctl(fd, FS_IOC_FSGETXATTR, fields)
    except OSError as error:
        if error.errno in NOT_THERE:
            return 0
        raise
    return int(FSXATTR.unpack(fields)[3])


def _set_limit(fd: int, project: int, size: int) -> None:
    fields = DQBLK.pack(-(-size // BLOCK), 0, 0, 0, 0, 0, 0, 0, LIMITS_VALID)
    quotactl(fd, Q_SETQUOTA, project, bytearray(fields))


def _counted(fd: int, project: int) -> tuple[int, ...] | None:
    """The fields of struct if_dqblk; None if nothing is known of the project, or nothing is counted at all."""
    fields = bytearray(DQBLK.size)
    try:
        quotactl(fd, Q_GETQUOTA, project, fields)
    except OSError as error:
        if error.errno in NOT_THERE | {errno.ENOENT}:
            return None
        raise
    return DQBLK.unpack(fields)


def _enforced(fd: int) -> bool:
    """Whether the file system counts projects, and holds them to their limits."""
    fields = bytearray(STATV.size)
    fields[0] = STATV_VERSION
    try:
        quotactl(fd, Q_XGETQSTATV, 0, fields)
    except OSError as error:
        if error.errno in NOT_THERE:
            return False
        raise
    return bool(STATV.unpack(fields)[1] & ENFORCED)


def quotactl(fd: int, command: int, project: int, fields: bytearray) -> None:
    """quotactl(2) on the file system of an open file, for projects; ``fields`` is the command's struct, read or filled.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    struct_ = (ctypes.c_char * len(fields)).from_buffer(fields)
    number = ctypes.c_uint(command << 8 | PROJECTS)
    if libc.syscall(SYS_QUOTACTL_FD, ctypes.c_int(fd), number, ctypes.c_uint(project), ctypes.byref(struct_)) != 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed), "quotactl_fd")


def _no_quota(fd: int) -> NoProjectQuota:
    mount = mount_of_descriptor(fd)
    fix = FIXES.get(mount.kind, ELSEWHERE).format(source=mount.source)
    return NoProjectQuota(mount.point, mount.kind, fix if _kernel_knows() else "it takes Linux 5.14")


def _kernel_knows() -> bool:
    """Whether there is the call, told by what it says to a descriptor that is none."""
    try:
        quotactl(-1, Q_XGETQSTATV, 0, bytearray(STATV.size))
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True
