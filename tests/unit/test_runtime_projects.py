"""The guard against changing a file's project: its instructions, run here as the kernel would."""

from __future__ import annotations

import errno
import struct

import pytest

from minirund.runtime import newcalls, projects
from minirund.runtime.newcalls import X32

GETXATTR, TCGETS = 0x801C581F, 0x5401
LOAD, EQUAL, JUMP, RETURN = newcalls.LOAD, newcalls.JUMP_EQUAL, newcalls.JUMP, newcalls.RETURN


def answer(program: bytes, arch: int, number: int, second: int) -> int:
    """What a seccomp program returns for a call."""
    data = struct.pack("<IIQ6Q", number, arch, 0, 3, second, 0, 0, 0, 0)
    instructions = [*struct.iter_unpack("=HBBI", program)]
    place, loaded = 0, 0
    while True:
        code, true, false, k = instructions[place]
        place += 1
        if code == LOAD:
            (loaded,) = struct.unpack_from("<I", data, k)
        elif code == EQUAL:
            place += true if loaded == k else false
        elif code == JUMP:
            place += k
        else:
            assert code == RETURN
            return int(k)


ABIS = [(machine, arch, number) for machine, all_ in projects.ARCHES.items() for arch, some in all_ for number in some]


@pytest.mark.parametrize(("machine", "arch", "number"), ABIS)
def test_the_ioctls_that_change_it_are_refused_in_every_abi(machine: str, arch: int, number: int) -> None:
    program = projects.guarded(b"", machine)
    for command in projects.COMMANDS:
        for second in (command, command | 1 << 32, command | 1 << 63):  # the kernel takes 32 bits of it
            assert answer(program, arch, number, second) == 0x00050000 | errno.EOPNOTSUPP
    for command in (GETXATTR, TCGETS, 0):
        assert answer(program, arch, number, command) == newcalls.ALLOW
    assert answer(program, arch, 469, 0) == answer(program, arch, X32 | 469, 0) == projects.REFUSE
    for other in (number + 1, 470, 0):
        assert answer(program, arch, other, projects.COMMANDS[0]) == newcalls.ALLOW


def test_what_is_not_refused_goes_to_the_container_s_own_filter() -> None:
    kill = newcalls.instruction(RETURN, 0)
    program = projects.guarded(kill, "x86_64")
    assert program.endswith(kill)
    native = newcalls.AUDIT_ARCH["x86_64"]
    assert answer(program, native, 16, TCGETS) == 0
    assert answer(program, native, 16, projects.COMMANDS[0]) == projects.REFUSE
    assert answer(program, 0x1234, 16, projects.COMMANDS[0]) == 0, "another machine's calls are not the guard's"


def test_a_machine_that_is_not_known() -> None:
    assert projects.guarded(b"as it was", "sparc") == b"as it was"
