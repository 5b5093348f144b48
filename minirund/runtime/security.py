"""What a process may do: capabilities, no_new_privs, the seccomp filter, resource limits, its user and groups.

Root's power is cut into capabilities; a container's root keeps fourteen of some forty. Five sets hold them. What counts
in the end is the bounding set, since execve gives a root process all that is in it, and a plain user's process none
(unless they are ambient). The order matters: leaving root clears the sets, so ``keepcaps`` holds them over the change;
a seccomp filter needs CAP_SYS_ADMIN or no_new_privs, so without the latter it is loaded before the capabilities go.

Sources: capabilities(7), seccomp(2), setrlimit(2), OCI runtime-spec config.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource

from minirund.errors import StartFailed, StepFailed
from minirund.runtime import paths, syscalls, users
from minirund.runtime.context import Context
from minirund.runtime.start import read_memfd

NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}
LIMITS = {
    f"RLIMIT_{name}": getattr(resource, f"RLIMIT_{name}")
    for name in "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS MSGQUEUE NICE RTPRIO RTTIME SIGPENDING".split()
}
LIMITS["RLIMIT_LOCKS"] = 10  # resource.h has it, Python does not


def set_oom_score(ctx: Context) -> None:
    """How soon the kernel picks this process when memory runs out: -1000 never .. 1000 first."""
    score = ctx.process.get("oomScoreAdj")
    if score is None:
        return
    try:  # not through a file object: that would be 25 pages more to copy, on every start
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, str(score).encode())
        finally:
            os.close(file)
    except OSError as error:
        raise StepFailed(f"set oom_score_adj to {score}", error.errno or 0, "/proc/self/oom_score_adj") from error


def set_rlimits(ctx: Context) -> None:
    """Resource limits. Raising a hard limit takes CAP_SYS_RESOURCE."""
    for limit in ctx.process.get("rlimits") or ():
        kind, soft, hard = limit["type"], limit["soft"], limit["hard"]
        if kind not in LIMITS:
            raise StepFailed(f"set rlimit {kind}: no such limit", errno.EINVAL)
        _set_rlimit(kind, _limit(soft), _limit(hard))


def _set_rlimit(kind: str, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(LIMITS[kind], (soft, hard))
    except (ValueError, OSError) as error:  # ValueError is what Python makes of EPERM and EINVAL
        now = resource.getrlimit(LIMITS[kind])[1]
        if now != resource.RLIM_INFINITY and not 0 <= hard <= now:
            raise StepFailed(
                f"set rlimit {kind} to {hard}: the host's hard limit is {now}, and raising it needs CAP_SYS_RESOURCE",
                errno.EPERM,
            ) from error
        raise StepFailed(f"set rlimit {kind} to soft {soft}, hard {hard}", errno.EINVAL) from error


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value in (-1, 2**64 - 1, 2**63 - 1) else value


def find_user(ctx: Context) -> None:
    """Who the process will be: names are looked up in the container's own files."""
    user = ctx.process.get("user") or {}
    entries = users.passwd(paths.read_in(ctx.root, "/etc/passwd"))
    groups = users.group(paths.read_in(ctx.root, "/etc/group"))
    if "username" in user:
        found = users.resolve(user["username"], entries, groups)
    else:
        numbers = users.resolve(str(user.get("uid", 0)), entries, [])
        found = numbers._replace(gid=user.get("gid", 0), groups=tuple(user.get("additionalGids") or ()))
    named = tuple(users.group_number(str(name), groups) for name in user.get("groups") or ())
    ctx.identity = found._replace(groups=(*found.groups, *named))


def own_stdio(ctx: Context) -> None:
    """Give the process's own pipes and terminal to its user, so that it can open /dev/stdout by name."""
    for descriptor in (0, 1, 2):
        found = os.fstat(descriptor)
        if found.st_rdev != os.makedev(1, 3) and found.st_uid != ctx.identity.uid:
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, ctx.identity.uid, -1)


def set_no_new_privs(ctx: Context) -> None:
    """On request: set-user-ID programs in the image give nobody anything."""
    if ctx.process.get("noNewPrivileges"):
        syscalls.set_no_new_privs()


def load_seccomp_early(ctx: Context) -> None:
    """The system call filter, while CAP_SYS_ADMIN is still there to load it; it must allow the few steps after it."""
    if not ctx.process.get("noNewPrivileges"):
        load_seccomp(ctx)


def load_seccomp_late(ctx: Context) -> None:
    """The same as the last step of all, where no_new_privs makes it possible without privileges."""
    if ctx.process.get("noNewPrivileges"):
        load_seccomp(ctx)


def load_seccomp(ctx: Context) -> None:
    """The filter, if there is one."""
    program = read_memfd(ctx.seccomp) if ctx.seccomp >= 0 else b""
    if program:
        syscalls.load_seccomp(program)


def drop_bounding_set(ctx: Context) -> None:
    """Take every capability that is not listed out of the bounding set: no execve can bring it back."""
    wanted = ctx.process.get("capabilities")
    if wanted is None:
        return
    keep = mask(wanted.get("bounding"))
    for capability in range(ctx.host.last_capability + 1):
        if not keep >> capability & 1:
            syscalls.drop_bounding(capability)


def change_user(ctx: Context) -> None:
    """setgroups, setgid, setuid, in this order: the last takes the right to the others away."""
    syscalls.set_keepcaps(True)
    who = ctx.identity
    try:
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    except OSError as error:
        raise StepFailed(f"become user {who.uid}:{who.gid}", error.errno or 0) from error
    syscalls.set_keepcaps(False)


def set_capabilities(ctx: Context) -> None:
    """The remaining four sets, as listed; what this host does not have itself can't be given.

    Of a user who is not root execve leaves only the ambient ones effective; here they go before it, so that what the
    user may not execute is not executed with root's rights. As Docker has it.
    """
    wanted = ctx.process.get("capabilities")
    if wanted is None:
        return
    sets = {name: mask(wanted.get(name)) & ctx.available for name in ("effective", "permitted", "inheritable")}
    ambient = mask(wanted.get("ambient")) & sets["permitted"] & sets["inheritable"]
    effective = sets["effective"] & (sets["permitted"] if ctx.identity.uid == 0 else ambient)
    syscalls.capset(effective, sets["permitted"], sets["inheritable"])
    for capability in bits(ambient):
        syscalls.raise_ambient(capability)


def mask(names: list[str] | None) -> int:
    """Capability names -> a mask. Raises StartFailed for a name that no kernel has."""
    for name in names or ():
        if name not in NUMBERS:
            raise StartFailed(f"unknown capability {name}")
    return sum({1 << NUMBERS[name] for name in names or ()})


def bits(value: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [number for number in range(value.bit_length()) if value >> number & 1]
