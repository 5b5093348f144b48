"""System calls that are newer than libseccomp: what a program meets that is built for them.

libseccomp knows the calls of its own day. A profile may allow newer ones, and a C library may try ones that are newer
than the profile. EPERM, the profile's answer to what it doesn't allow, would mislead it: it takes that for the answer
to its question, where ENOSYS makes it fall back on an older call. So a few instructions go before libseccomp's:

    the machine's own calls only, not another ABI's
    newer than libseccomp and allowed by the profile      ->  allow
    newer than all that are known here                    ->  ENOSYS, "no such call", as a kernel without it says
    else                                                  ->  libseccomp's program

From 403 on a call has the same number on every machine. Sources: the kernel's scripts/syscall.tbl; linux/filter.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

NUMBERS = {
    "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
    "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
}  # fmt: skip
NEWEST = 467
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
X32 = 0x40000000  # x86-64's 32-bit-pointer ABI has this bit in its numbers

LOAD, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_LESS, RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
ARCH_OFFSET, NUMBER_OFFSET = 4, 0  # in struct seccomp_data
ALLOW, NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | 38  # SECCOMP_RET_ERRNO with ENOSYS


def instruction(code: int, k: int, true: int = 0, false: int = 0) -> bytes:
    """One struct sock_filter; ``true`` and ``false`` are how many instructions to skip."""
    return struct.pack("=HBBI", code, true, false, k)


def prefix(allowed: Iterable[str], machine: str = "") -> bytes:
    """The instructions to go before a program that answers unknown calls with an error. ``allowed``: names that
    libseccomp didn't know. Nothing on a machine whose numbers are not known here."""
    arch = AUDIT_ARCH.get(machine or os.uname().machine)
    if arch is None:
        return b""
    numbers = sorted({NUMBERS[name] for name in allowed if name in NUMBERS})
    left = len(numbers)  # of the comparisons below
    return b"".join((
        instruction(LOAD, ARCH_OFFSET),
        instruction(JUMP_EQUAL, arch, 0, left + 6),
        instruction(LOAD, NUMBER_OFFSET),
        instruction(JUMP_NOT_LESS, X32, left + 4, 0),
        *(instruction(JUMP_EQUAL, number, left - index + 1, 0) for index, number in enumerate(numbers)),
        instruction(JUMP_GREATER, NEWEST, 2, 0),
        instruction(JUMP, 2),
        instruction(RETURN, ALLOW),
        instruction(RETURN, NO_SUCH_CALL),
    ))  # fmt: skip
