"""The interpreter, sealed: the spawner runs from a read-only copy of the mount that its own binary lies on.

Between the clone and execve init is this interpreter, inside the container. An image can have it executed once more, as
``/proc/self/exe``, with libraries of its own; and such a process could open /proc/self/exe, the host's interpreter, and
write to it as soon as nobody runs it (CVE-2019-5736 did that to runc). Not if its mount is read-only: a process's exe
goes by the mount that it was executed from. So the spawner executes itself once more, from a detached, read-only bind
mount: one that has no place in any tree, can't be remounted by name, and goes away with its last user.
"""

from __future__ import annotations

import os
import resource
import sys

from minirund.runtime import lean

SEALED = "MINIRUND_SEALED"
AT_ONCE = {"LD_BIND_NOW": "1"}
"""ld.so(8) looks the C library's functions up now, and not in every process forked from us, at each one's first use."""


def main(control: int, descriptors: tuple[int, int] | None = None) -> None:
    """Seal, then spawn. Runs twice: before and after the second execve. ``descriptors``: see command.py."""
    remove = lean.install()
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
    if os.environ.pop(SEALED, "") != "yes":
        execute_sealed()
    from minirund.runtime import spawner  # noqa: PLC0415 - what is imported before the stand-ins is imported in full

    spawner.main(control, remove)


def execute_sealed() -> None:
    """execve this interpreter, with the same arguments, from a read-only mount. Raises StepFailed."""
    from minirund.errors import StepFailed  # noqa: PLC0415
    from minirund.runtime import syscalls  # noqa: PLC0415

    interpreter = os.path.realpath("/proc/self/exe")
    tree = syscalls.open_tree(syscalls.AT_FDCWD, interpreter)
    syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_RDONLY, named=interpreter)
    try:
        os.execve(tree, [interpreter, *sys.orig_argv[1:]], {**os.environ, SEALED: "yes", **AT_ONCE})  # noqa: S606
    except OSError as error:
        raise StepFailed("execute the sealed interpreter", error.errno or 0, interpreter) from error
