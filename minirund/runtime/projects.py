"""Who is held to a quota may not give its files away: a seccomp guard against changing a file's project.

A quota on the read-write layer is a project with a limit (overlayfs/quota.py). The kernel lets the owner of a file give
it another project, and take from a directory the flag that passes its project on; through overlayfs it does the same to
the layer below. Root in a container owns everything there, so `chattr -p 0` would be the end of the limit. No
capability stands in the way, so a few instructions go before the container's own filter:

    ioctl(FS_IOC_FSSETXATTR), ioctl(FS_IOC_SETFLAGS), file_setattr    ->  EOPNOTSUPP, as of a file system without flags
    else                                                              ->  the container's own filter

ioctl takes 32 bits of its command, and the register has 64: the upper ones are not looked at here either. Privileged
containers have no guard, as they have no filter at all: they can do the same to the disk.

Sources: seccomp(2), linux/filter.h, linux/fs.h, the kernel's fs/file_attr.c.
"""

from __future__ import annotations

import errno
import os

from minirund.runtime.newcalls import (
    ALLOW,
    ARCH_OFFSET,
    AUDIT_ARCH,
    JUMP,
    JUMP_EQUAL,
    LOAD,
    NUMBER_OFFSET,
    RETURN,
    X32,
    instruction,
)

SECOND_ARGUMENT = 24  # its lower half, in struct seccomp_data of a little-endian machine
REFUSE = 0x00050000 | errno.EOPNOTSUPP
FILE_SETATTR = 469  # since Linux 6.17
COMMANDS = (0x401C5820, 0x40086602, 0x40046602)  # FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS, and that of 32-bit programs
ARCHES: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "x86_64": ((AUDIT_ARCH["x86_64"], (16, X32 | 16, X32 | 514)), (0x40000003, (54,))),
    "aarch64": ((AUDIT_ARCH["aarch64"], (29,)), (0x40000028, (54,))),
    "riscv64": ((AUDIT_ARCH["riscv64"], (29,)),),
}
"""Machine -> its ABIs, each with the numbers that ioctl has there."""


def guarded(program: bytes, machine: str = "") -> bytes:
    """A seccomp program with the guard before it; b"" is no program, which allows all. As it was on a machine whose
    numbers are not known here."""
    arches = ARCHES.get(machine or os.uname().machine)
    if arches is None:
        return program
    return b"".join(_block(*each) for each in arches) + (program or instruction(RETURN, ALLOW))


def _block(arch: int, ioctls: tuple[int, ...]) -> bytes:
    """The instructions for one ABI; another's skips them, and what is not refused goes on behind them."""
    calls, setattrs = len(ioctls), (FILE_SETATTR, X32 | FILE_SETATTR)
    look, refuse = len(COMMANDS) + 2, 1  # how long the two parts at the end are
    numbers = [
        *(instruction(JUMP_EQUAL, number, len(setattrs) + calls - place) for place, number in enumerate(ioctls)),
        *(instruction(JUMP_EQUAL, number, look + len(setattrs) - place) for place, number in enumerate(setattrs)),
        instruction(JUMP, look + refuse),
    ]
    commands = [
        instruction(LOAD, SECOND_ARGUMENT),
        *(instruction(JUMP_EQUAL, command, len(COMMANDS) - place) for place, command in enumerate(COMMANDS)),
        instruction(JUMP, refuse),
    ]
    body = [instruction(LOAD, NUMBER_OFFSET), *numbers, *commands, instruction(RETURN, REFUSE)]
    return b"".join([instruction(LOAD, ARCH_OFFSET), instruction(JUMP_EQUAL, arch, 0, len(body)), *body])
