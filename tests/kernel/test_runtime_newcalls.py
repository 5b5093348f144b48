"""System calls newer than libseccomp, under Docker's profile: asked for in a process of its own that has loaded it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from minirund.engine import security
from minirund.runtime import newcalls, seccomp

MSEAL, KEYCTL, FUTURE, X32_GETPID = 462, 250, 4000, 0x40000000 + 39

ASK = """
import ctypes, json, sys
from minirund.runtime import syscalls
syscalls.set_no_new_privs()
syscalls.load_seccomp(bytes.fromhex(sys.stdin.readline()))
libc = ctypes.CDLL(None, use_errno=True)
answers = []
for number in json.loads(sys.argv[1]):
    result = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0)
    answers.append(ctypes.get_errno() if result == -1 else 0)
print(json.dumps(answers))
"""


def answers(profile: dict[str, object], *numbers: int) -> list[int]:
    """The errno of each call, 0 for none."""
    program = seccomp.compile_profile(profile).hex()
    done = subprocess.run(
        [sys.executable, "-c", ASK, repr(list(numbers))],
        input=program + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.strip("[]\n").split(",")]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers above are x86-64's")
def test_newer_calls_are_allowed_or_unknown() -> None:
    profile = security.policy({}).seccomp
    assert profile is not None
    kernel_has_it = security.kernel() >= (6, 10)
    expected = [0 if kernel_has_it else errno.ENOSYS, errno.EPERM, errno.ENOSYS]
    assert answers(profile, MSEAL, KEYCTL, FUTURE) == expected
    assert answers(profile, X32_GETPID)[0] in (0, errno.ENOSYS)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers above are x86-64's")
def test_a_profile_that_lists_little_allows_little() -> None:
    names = ["read", "write", "exit_group", "brk", "mmap", "munmap", "rt_sigaction", "close", "fstat", "futex",
             "getpid",
             "rt_sigreturn", "rt_sigprocmask", "openat", "newfstatat", "lseek", "ioctl", "mprotect"]  # fmt: skip
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
    assert answers(profile, MSEAL, FUTURE) == [errno.EPERM, errno.ENOSYS]


def test_every_jump_lands_on_an_instruction() -> None:
    for allowed in ([], ["mseal"], list(newcalls.NUMBERS), ["no_such_name"]):
        code = newcalls.prefix(allowed, "x86_64")
        count = len(code) // 8
        for index in range(count):
            kind, true, false = code[index * 8], code[index * 8 + 2], code[index * 8 + 3]
            if kind in (newcalls.JUMP_EQUAL, newcalls.JUMP_GREATER, newcalls.JUMP_NOT_LESS):
                assert max(true, false) + index + 1 <= count
    assert newcalls.prefix(["mseal"], "s390x") == b""
