"""A seccomp profile -> the program that the kernel runs at every system call. Done once per profile, in the spawner.

The profile is OCI's linux.seccomp: a default action, architectures, and rules: names, action, conditions on arguments.
libseccomp turns it into classic BPF. It does not know every name that a profile lists: those of other architectures are
left out, and newcalls.py sees to those that are newer than the library.

pyseccomp is imported by a child, for the one profile. Source: seccomp(2), seccomp_rule_add(3); OCI runtime-spec
config-linux.md, "Seccomp".
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from minirund.errors import StepFailed
from minirund.runtime import newcalls

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
EPERM = 1
UNKNOWN_NAME = -1
DONE = b"+"
BINARY_TREE = 2  # instead of a chain of comparisons: at each load the kernel runs the program for every call number
COMPARISONS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}


def action(name: str, errno: int | None) -> int:
    """The kernel's number for an action; ERRNO and TRACE carry a value. Raises StepFailed."""
    if name not in ACTIONS:
        raise StepFailed(f"seccomp profile: unknown action {name}")
    carried = (EPERM if errno is None else errno) & 0xFFFF
    return ACTIONS[name] | (carried if name in WITH_ERRNO else 0)


def compile_aside(profile: dict[str, Any], prepare: Callable[[], None]) -> bytes:
    """Compile in a child that ends with it: the library and what it imports stay out of the spawner's memory.

    ``prepare`` is called in the child. Raises StepFailed.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os._exit(_compile_into(writer, profile, prepare))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if answer[:1] != DONE:
        raise StepFailed(answer[1:].decode(errors="replace") or "compile the seccomp profile: the compiler ended")
    return answer[1:]


def _compile_into(writer: int, profile: dict[str, Any], prepare: Callable[[], None]) -> int:
    """The child: an answer of one byte that says whether, and the program or the reason."""
    try:
        prepare()
        answer = DONE + compile_profile(profile)
    except BaseException as error:
        what = "" if isinstance(error, StepFailed) else "compile the seccomp profile: "
        answer = f"-{what}{error}".encode()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(answer)
    return 0


def compile_profile(profile: dict[str, Any]) -> bytes:
    """An OCI seccomp object -> struct sock_filter[], eight bytes each. Raises StepFailed, OSError."""
    import pyseccomp  # noqa: PLC0415 - starts ldconfig to find its library: only who compiles pays for it

    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    built = pyseccomp.SyscallFilter(default)
    built.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, BINARY_TREE)
    add_architectures(built, pyseccomp, profile.get("architectures") or ())
    for rule in profile.get("syscalls") or ():
        chosen = action(rule["action"], rule.get("errnoRet"))
        if chosen != default:
            add_rule(built, pyseccomp, rule, chosen)
    before = newcalls.prefix(newer_allowed(profile, pyseccomp)) if default != ACTIONS["SCMP_ACT_ALLOW"] else b""
    return before + export(built)


def newer_allowed(profile: dict[str, Any], library: Any) -> list[str]:
    """The names that the profile allows without conditions, and that libseccomp does not know."""
    allowing = [
        rule for rule in profile.get("syscalls") or () if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
    ]
    names = {name for rule in allowing for name in rule["names"]}
    return [name for name in names if library.resolve_syscall(library.Arch.NATIVE, name) == UNKNOWN_NAME]


def add_architectures(built: Any, library: Any, names: tuple[str, ...]) -> None:
    """The machine's other ABIs: 32-bit programs make system calls by other numbers."""
    built.set_attr(library.Attr.CTL_NNP, 0)  # no_new_privs is a decision of the configuration's
    for name in names:
        number = getattr(library.Arch, name.removeprefix("SCMP_ARCH_"), None)
        if number is not None:
            try:
                built.add_arch(number)
            except FileExistsError:
                continue


def add_rule(built: Any, library: Any, rule: dict[str, Any], chosen: int) -> None:
    """One rule: its names share an action and the conditions, all of which must hold."""
    conditions = [condition(library, each) for each in rule.get("args") or ()]
    # libseccomp takes one condition an argument in a rule; several on the same argument mean any of them
    repeated = len({each["index"] for each in rule.get("args") or ()}) < len(conditions)
    for name in rule["names"]:
        number = library.resolve_syscall(library.Arch.NATIVE, name)
        if number == UNKNOWN_NAME:
            continue
        for group in [[each] for each in conditions] if repeated else [conditions]:
            built.add_rule(chosen, number, *group)


def condition(library: Any, argument: dict[str, Any]) -> Any:
    """{index, op, value, valueTwo} -> a comparison. MASKED_EQ: value is the mask, valueTwo what must be left."""
    operator = argument["op"].removeprefix("SCMP_CMP_")
    if operator not in COMPARISONS:
        raise StepFailed(f"seccomp profile: unknown comparison {argument['op']}")
    value, second = argument.get("value") or 0, argument.get("valueTwo") or 0
    return library.Arg(argument["index"], COMPARISONS[operator], value, second)


def export(built: Any) -> bytes:
    """The finished program's bytes."""
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w+b") as file:
        built.export_bpf(file)
        file.seek(0)
        return file.read()
