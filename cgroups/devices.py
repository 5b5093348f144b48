"""Which devices a cgroup's processes may open or make: on cgroup v2 not a file but a program that the kernel runs.

    group.create()
    fd = group.open()
    attach(fd, program(DEFAULT_RULES))

At every open(2) or mknod(2) of a device node the kernel hands the program a struct bpf_cgroup_dev_ctx

    u32 access_type    type in the low half (1 block, 2 char), wanted access in the high half (1 mknod, 2 read, 4 write)
    u32 major
    u32 minor

and refuses with EPERM where the program returns 0. A program is machine code for the kernel's BPF machine: eight
bytes an instruction, eleven registers. Ours walks the rules from the last to the first, and holds in r3 what is still
asked for. A rule that allows takes its letters out, and nothing left means yes. A rule that denies ends it if a
letter of it is left. So the last rule that speaks of a letter decides on it, and what no rule speaks of is denied.

The program lives as long as the cgroup it is attached to: nobody needs to clean up. Where parents have programs too,
all of them must agree. `program` is pure; `attach` needs CAP_BPF or CAP_SYS_ADMIN, and is the library's only ctypes.
Sources: bpf(2); linux/bpf.h; OCI runtime-spec config-linux.md, "Allowed Device list".
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cgroups.errors import DeviceProgramRefused, LimitInvalid

TYPES = {"b": 1, "c": 2, "u": 2}  # BPF_DEVCG_DEV_*; "u" is an unbuffered "c"
ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
ANY = -1
ALL_ACCESS = 7

NODES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, ANY), (10, 200))
#        null    zero    full    random  urandom tty     console ptmx    pts/*       net/tun
DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "type": "a", "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},  # making a node is harmless: opening it asks again
    {"allow": True, "type": "b", "access": "m"},
    *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in NODES),
)
"""What a Docker container may do with devices; --device appends to it. OCI's entries."""


class Rule(NamedTuple):
    """One entry, in the kernel's numbers; kind 0 is both types, ANY is every major or minor."""

    allow: bool
    kind: int
    major: int
    minor: int
    access: int

    @property
    def conditions(self) -> list[tuple[int, int]]:
        """(register, value) pairs that must be equal for the rule to apply."""
        wanted = ((TYPE, self.kind, 0), (MAJOR, self.major, ANY), (MINOR, self.minor, ANY))
        return [(register, value) for register, value, wildcard in wanted if value != wildcard]


# --- from OCI's words ------------------------------------------------------------------------------------------------


def access_bits(letters: str) -> int:
    """ "rw" -> 6. Raises LimitInvalid for other letters."""
    unknown = set(letters) - set(ACCESS)
    if unknown:
        raise LimitInvalid(f"device access {letters!r} may hold the letters r, w and m only")
    return sum(ACCESS[letter] for letter in set(letters))


def number(value: int | None) -> int:
    """A major or minor number; absent and -1 are every one."""
    return ANY if value is None or value < 0 else value


def rule(entry: Mapping[str, Any]) -> Rule:
    """An OCI entry -> Rule. Type "a" is every device with every access, whatever else the entry says, as on v1."""
    kind = entry.get("type") or "a"
    if kind == "a":
        return Rule(bool(entry["allow"]), 0, ANY, ANY, ALL_ACCESS)
    if kind not in TYPES:
        raise LimitInvalid(f"device type {kind!r} is none of a, b, c, u")
    access = access_bits(entry.get("access") or "rwm")
    return Rule(bool(entry["allow"]), TYPES[kind], number(entry.get("major")), number(entry.get("minor")), access)


# --- the program -----------------------------------------------------------------------------------------------------

RESULT, CONTEXT, TYPE, WANTED, MAJOR, MINOR, SCRATCH = range(7)  # registers; the kernel enters with the context in r1

LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W:    dst = *(u32 *)(src + offset)
MOVE, COPY = 0xB4, 0xBC  # BPF_ALU | BPF_MOV:     dst = value; dst = src
AND, SHIFT_RIGHT = 0x54, 0x74  # BPF_ALU:         dst &= value; dst >>= value
JUMP_EQUAL, JUMP_UNEQUAL = 0x15, 0x55  # BPF_JMP: if dst == value: skip offset instructions
EXIT = 0x95

Code = list[bytes]


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """One struct bpf_insn: opcode, two registers in one byte, a signed offset, a signed or unsigned 32-bit value."""
    return struct.pack("<BBhI", code, dst | src << 4, offset, value & 0xFFFFFFFF)


def answer(allow: bool) -> Code:
    """Return yes or no."""
    return [instruction(MOVE, RESULT, value=int(allow)), instruction(EXIT)]


def head() -> Code:
    """Take the context apart into registers."""
    return [
        instruction(LOAD_WORD, TYPE, CONTEXT, 0),
        instruction(COPY, WANTED, TYPE),
        instruction(AND, TYPE, value=0xFFFF),
        instruction(SHIFT_RIGHT, WANTED, value=16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8),
    ]


def verdict(allow: bool, access: int) -> Code:
    """What a rule does when it applies to the device."""
    if access == ALL_ACCESS:
        return answer(allow)
    end = answer(allow)
    if allow:
        take_out = instruction(AND, WANTED, value=~access)
        return [take_out, instruction(JUMP_UNEQUAL, WANTED, offset=len(end), value=0), *end]
    left = [instruction(COPY, SCRATCH, WANTED), instruction(AND, SCRATCH, value=access)]
    return [*left, instruction(JUMP_EQUAL, SCRATCH, offset=len(end), value=0), *end]


def block(entry: Rule) -> Code:
    """One rule: its conditions, each of which jumps to the block's end if it fails, then its verdict."""
    body = verdict(entry.allow, entry.access)
    for register, value in reversed(entry.conditions):
        body.insert(0, instruction(JUMP_UNEQUAL, register, offset=len(body), value=value))
    return body


def program(rules: Iterable[Mapping[str, Any]]) -> bytes:
    """OCI's `linux.resources.devices` -> BPF instructions. Raises LimitInvalid.

    A rule on everything makes those before it unreachable, which the kernel's verifier refuses: they are left out.
    """
    code = head()
    for entry in reversed([rule(each) for each in rules]):
        code += block(entry)
        if entry.access == ALL_ACCESS and not entry.conditions:
            return b"".join(code)
    return b"".join(code + answer(False))


# --- bpf(2) ----------------------------------------------------------------------------------------------------------

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
PROG_LOAD, PROG_ATTACH = 5, 8  # enum bpf_cmd
PROG_TYPE_CGROUP_DEVICE, ATTACH_CGROUP_DEVICE, ALLOW_MULTI = 15, 6, 2
LOG_SIZE = 65536


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2) with a union bpf_attr. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = libc.syscall(SYS_BPF[os.uname().machine], command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def load(code: bytes, log: "ctypes.Array[ctypes.c_char] | None" = None) -> int:
    """BPF_PROG_LOAD -> the program's descriptor. A log buffer receives the verifier's words."""
    text, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    log_fields: Sequence[int] = (1, len(log), ctypes.addressof(log)) if log else (0, 0, 0)
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        PROG_TYPE_CGROUP_DEVICE,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(licence),
        *log_fields,
        0,  # kern_version
        0,  # prog_flags
        b"cgroup_device",  # prog_name: letters, digits, "_" and "."
        0,  # prog_ifindex
        ATTACH_CGROUP_DEVICE,
    )
    return bpf(PROG_LOAD, attributes)


def load_or_explain(code: bytes) -> int:
    """Load; on refusal load once more for the verifier's last words. Raises DeviceProgramRefused."""
    try:
        return load(code)
    except OSError as refusal:
        log = ctypes.create_string_buffer(LOG_SIZE)
        try:
            return load(code, log)
        except OSError:
            lines = log.value.decode(errors="replace").splitlines()
            raise DeviceProgramRefused(
                "load the device program", refusal.errno or errno.EINVAL, last(lines)
            ) from refusal


def last(lines: Sequence[str]) -> str:
    """The verifier's last line that is not its summary."""
    return next((line for line in reversed(lines) if not line.startswith("processed ")), "")


def attach(cgroup_fd: int, code: bytes) -> None:
    """Have the kernel ask the program for every process of the cgroup. Raises DeviceProgramRefused."""
    program_fd = load_or_explain(code)
    try:
        attach_loaded(cgroup_fd, program_fd)
    finally:
        os.close(program_fd)


def attach_loaded(cgroup_fd: int, program_fd: int) -> None:
    """The same with a program that is loaded already: one can serve many cgroups. Raises DeviceProgramRefused."""
    try:
        bpf(PROG_ATTACH, struct.pack("=IIII", cgroup_fd, program_fd, ATTACH_CGROUP_DEVICE, ALLOW_MULTI))
    except OSError as error:
        raise DeviceProgramRefused("attach the device program", error.errno or errno.EINVAL) from error
