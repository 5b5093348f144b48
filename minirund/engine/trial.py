"""A trial: what a limit may be, and whether it can be had, the kernel knows best. It is asked before anything is made.

    TOP/minirund-trial-PID-RANDOM/limits     made, written to, removed; nobody is ever in it

Of the two directories the upper one hands the controllers on, and while it does, nobody can switch them off above: not
another trial, which at its end switches off what it has switched on at the top. A daemon that is killed in between
leaves empty directories behind; the next one clears them up (`sweep`).

Source: "Enabling and Disabling" in the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from cgroups.cgroup import Cgroup, subdirectories, try_rmdir
from cgroups.errors import CgroupError, ControllerMissing, FileMissing, WriteRefused
from cgroups.limits import Limits
from minirund.errors import EngineError, InvalidArgument, MinirundError, NotSupported

NAME, BELOW = "minirund-trial", "limits"


class Try(NamedTuple):
    """One limit, and the option and the value that asked for it."""

    option: str
    value: str
    limits: Limits


def attempt(tries: Iterable[Try], top: Cgroup) -> None:
    """Have the kernel judge; nothing of it stays. Raises InvalidArgument, NotSupported, EngineError: by option."""
    above = Cgroup(f"{top.path}/{NAME}-{os.getpid()}-{secrets.token_hex(4)}")
    group = Cgroup(above.file(BELOW))
    before = top.handed_on()
    try:
        group.create(())
        for each in tries:
            _attempt(group, each)
    except OSError as error:
        raise EngineError(f"limits can't be tried out in {group.path}: {error.strerror}") from error
    finally:
        _remove(above)
        top.withdraw(top.handed_on() - before)


def _attempt(group: Cgroup, each: Try) -> None:
    try:
        group.apply(each.limits)
    except CgroupError as error:
        raise _refusal(each, error) from None


def _refusal(each: Try, error: CgroupError) -> MinirundError:
    option = each.option
    if isinstance(error, FileMissing):
        return NotSupported(str(FileMissing(error.file, option)))
    if isinstance(error, ControllerMissing):
        return NotSupported(str(ControllerMissing(error.controller, option, error.fix)))
    if isinstance(error, WriteRefused) and each.limits.io_device_weights and error.errno == errno.EOPNOTSUPP:
        scheduler = f"/sys/dev/block/{error.text.split()[0]}/queue/scheduler"
        return NotSupported(
            f"{option} {each.value}: this disk's scheduler knows no weights, use bfq: "
            f"modprobe bfq, echo bfq >{scheduler}"
        )
    if isinstance(error, WriteRefused):
        words = os.strerror(error.errno).lower()
        return InvalidArgument(f"invalid value for {option}: {each.value!r}: the kernel says {words}")
    return EngineError(f"{option}: {error}")


def _remove(above: Cgroup) -> None:
    for path in (above.file(BELOW), above.path):
        try_rmdir(path)


def sweep(top: Cgroup) -> None:
    """Remove what daemons that are no more have left of an `attempt`."""
    for path in subdirectories(top.path):
        found = re.fullmatch(rf"{NAME}-([0-9]+)-[0-9a-f]+", os.path.basename(path))
        if found and not os.path.exists(f"/proc/{found[1]}"):
            _remove(Cgroup(path))
