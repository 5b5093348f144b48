"""init becomes the container: from the first instruction in new namespaces to execve, step by step.

The shim has cloned us into new namespaces and into the container's cgroup. ``STEPS`` is the whole of what is left to
do, in its order; every step is a function of one context that does one kernel thing, and docs/how-a-container-starts.md
walks through them. ``EXEC_STEPS`` is the same for a process that joins a container which runs already: it
enters the namespaces of init instead of furnishing new ones, and shares the rest.

A step that fails raises; what it raised goes to the shim as ``wire.Failed`` and the process ends. The shim learns of
success from the end of the report socket, which execve closes. Nobody cleans up here: with the process its namespaces
go, and with them its mounts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NoReturn

from minirund import wire
from minirund.bundle import record_shim
from minirund.errors import StartFailed, StepFailed
from minirund.runtime import devices, program, rootfs, security, syscalls
from minirund.runtime.context import READY, Context, Host
from minirund.runtime.start import Start

Step = Callable[[Context], None]
LONGEST = 1000  # characters
LONGEST_WORD = 65536  # bytes


def write_shim_pid(ctx: Context) -> None:
    """shim.pid, for a daemon that comes later. Done here, since each page that the shim writes to stays its own."""
    record_shim(ctx.run, ctx.shim)


def new_session(_ctx: Context) -> None:
    """A session of its own: signals of the daemon's terminal stay outside, and a terminal can be taken."""
    os.setsid()


def connect_pipes(ctx: Context) -> None:
    """stdin, stdout and stderr are pipes to the shim, unless they are to be a terminal."""
    if ctx.stdio is not None:
        for target, source in enumerate(ctx.stdio):
            os.dup2(source, target, inheritable=True)


def join_namespaces(ctx: Context) -> None:
    """Enter the namespaces that others made: a network prepared by the engine, another container's, the host's."""
    for each in ctx.joins:
        syscalls.setns(each.descriptor, each.kind, each.path)


def wait_for_plan(ctx: Context) -> None:
    """The spawner prepares the rest meanwhile, and the engine may still be writing config.json. Raises StartFailed."""
    word = os.read(ctx.waits, LONGEST_WORD)
    if word != READY:
        raise told_by(word)
    plan = ctx.plan()
    ctx.config, ctx.process, ctx.linux = plan, plan.get("process") or {}, plan.get("linux") or {}


def new_cgroup_namespace(ctx: Context) -> None:
    """From inside, the container's own cgroup is the root of all.

    Made here and not by clone3: such a namespace's root is the cgroup of who makes it, and the shim stays in its own.
    """
    if ctx.has_new("cgroup"):
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)


def set_names(ctx: Context) -> None:
    """Host name and domain name, in a UTS namespace of its own only."""
    hostname, domainname = ctx.config.get("hostname"), ctx.config.get("domainname")
    if hostname and ctx.has_new("uts"):
        syscalls.sethostname(hostname)
    if domainname and ctx.has_new("uts"):
        syscalls.setdomainname(domainname)


def replace_null(ctx: Context) -> None:
    """/dev/null on stdin is the host's device node so far: take the container's, so that no descriptor leads out."""
    if ctx.stdio is None:
        return
    null = rootfs.open_null(ctx)
    number = os.fstat(null).st_rdev
    os.close(null)
    for descriptor in (0, 1, 2):
        if os.fstat(descriptor).st_rdev == number:
            opened = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            os.dup2(opened, descriptor, inheritable=True)
            os.close(opened)


BECOME: tuple[Step, ...] = (
    security.set_rlimits,
    security.find_user,
    security.own_stdio,
    program.enter_cwd,
    security.set_no_new_privs,
    security.load_seccomp_early,
    security.drop_bounding_set,
    security.change_user,
    security.set_capabilities,
    program.enter_cwd_as_user,
    program.find_program,
    program.set_umask,
    program.reset_signals,
    program.close_descriptors,
    security.load_seccomp_late,
    program.execute,
)
"""Inside, furnished: who it is, what it may do, its program. The same for init and for an exec."""

STEPS: tuple[Step, ...] = (
    write_shim_pid,
    new_session,
    connect_pipes,
    join_namespaces,
    wait_for_plan,
    new_cgroup_namespace,
    set_names,
    security.set_oom_score,
    rootfs.cut_propagation,
    rootfs.open_bind_sources,
    rootfs.mount_root,
    rootfs.mount_all,
    devices.make_devices,
    devices.open_terminal,
    rootfs.change_root,
    rootfs.set_root_propagation,
    rootfs.write_sysctls,
    rootfs.make_paths_readonly,
    rootfs.mask_paths,
    program.make_cwd,
    rootfs.make_root_readonly,
    replace_null,
    *BECOME,
)
"""From clone3 to execve."""


def enter_container(ctx: Context) -> None:
    """All namespaces of init at once, by its pidfd. The mount namespace brings its root and working directory along."""
    for each in ctx.joins:
        syscalls.setns(each.descriptor, each.kind, each.path)
    ctx.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


EXEC_STEPS: tuple[Step, ...] = (
    new_session,
    connect_pipes,
    security.set_oom_score,
    enter_container,
    devices.open_terminal,
    replace_null,
    *BECOME,
)
"""From clone3 to execve, in a container that runs."""


def main(host: Host, descriptors: list[int], shim: int) -> NoReturn:
    """init, cloned: from what the shim was given to the container's program. ``shim`` is its process ID."""
    try:
        become(context_of(host, Start.parse(descriptors), shim), STEPS)
    finally:
        os._exit(1)


def context_of(host: Host, start: Start, shim: int) -> Context:
    """What init's steps work on; ``wait_for_plan`` adds the configuration."""
    ctx = Context(host, start.told["bundle"], {}, {})
    ctx.report = socket.socket(fileno=start.get("init"))
    ctx.shim, ctx.run = shim, start.told["run"]
    ctx.joins, ctx.seccomp = start.joins(), start.get("seccomp")
    ctx.plan, ctx.waits = start.plan, start.get("init_plan")
    if start.get("init0") >= 0:
        ctx.stdio = (start.get("init0"), start.get("init1"), start.get("init2"))
    return ctx


def become(ctx: Context, steps: tuple[Step, ...]) -> NoReturn:
    """Take the steps. The last one does not return; whatever else happens is reported, and the process ends."""
    name = "start"
    try:
        for step in steps:
            name = step.__name__
            step(ctx)
    except BaseException as error:
        report(ctx, failure(error, name))
    os._exit(1)


def told_by(word: bytes) -> StartFailed | StepFailed:
    """What went wrong in the spawner. That it has ended is no failure of the container's."""
    if not word:
        return StepFailed(wire.LOST)
    found = wire.decode(word)
    message = found.message if isinstance(found, wire.Failed) else ""
    return StartFailed(message, found.exit_code if isinstance(found, wire.Failed) else 125)


def report(ctx: Context, failed: wire.Failed) -> None:
    """Tell the shim; if it has gone there is nobody to tell."""
    try:
        ctx.report.send(wire.encode(failed))
    except OSError:
        return


def failure(error: BaseException, step: str) -> wire.Failed:
    """Any exception as the message that crosses to the daemon."""
    if isinstance(error, StartFailed):
        return wire.Failed(step, 0, "", shortened(error), error.exit_code)
    if isinstance(error, StepFailed):
        return wire.Failed(error.step[:LONGEST], error.errno, error.path[:LONGEST], shortened(error))
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        told = StepFailed(step.replace("_", " "), error.errno or 0, path)
        return wire.Failed(told.step, told.errno, told.path[:LONGEST], shortened(told))
    return wire.Failed(step, 0, "", f"{step}: {type(error).__name__}: {shortened(error)}")


def shortened(error: BaseException) -> str:
    """What it says, beginning and end of it where it repeats a name of 64 KB: a report is one datagram."""
    text = str(error)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
