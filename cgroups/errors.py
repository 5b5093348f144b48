"""What can go wrong with a cgroup.

    CgroupError
     ├── NoCgroup2            the machine has no cgroup v2 mount
     ├── ControllerMissing    a limit needs a controller that this cgroup can't have
     ├── FileMissing          a limit needs a file that this kernel's controller does not have
     ├── LimitInvalid         a limit that no cgroup file can express
     ├── PlaceRefused         no cgroup can be made in a place
     ├── WriteRefused         the kernel refused what was written to a cgroup file
     ├── CgroupTimeout        the kernel did not report the state waited for in time
     └── DeviceProgramRefused the kernel refused the device program

Every message is one line that a user can act on.
"""

import os


class CgroupError(Exception):
    """The root of this library's exceptions."""


class NoCgroup2(CgroupError):
    """No cgroup v2 hierarchy is mounted."""

    def __init__(self) -> None:
        super().__init__(
            "no cgroup v2 hierarchy is mounted: boot with systemd.unified_cgroup_hierarchy=1, "
            "or run: mount -t cgroup2 none /sys/fs/cgroup"
        )


class ControllerMissing(CgroupError):
    """A limit was asked for whose controller this cgroup can't have."""

    def __init__(self, controller: str, option: str, fix: str) -> None:
        super().__init__(f"{option} needs the cgroup v2 controller {controller!r}, which is not available here: {fix}")
        self.controller, self.option, self.fix = controller, option, fix


class FileMissing(CgroupError):
    """The controller works without this file: no swap accounting, no I/O cost model, no huge pages of that size."""

    def __init__(self, file: str, option: str) -> None:
        super().__init__(f"{option} needs the cgroup file {file}, which this kernel does not have")
        self.file, self.option = file, option


class LimitInvalid(CgroupError):
    """A limit that cgroup v2 has no file for, or a value that contradicts another."""


class PlaceRefused(CgroupError):
    """No cgroup can be made below `path`; `why` says what is in the way, and what to do."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class WriteRefused(CgroupError):
    """The kernel refused a write to a cgroup file; `errno` says why."""

    def __init__(self, path: str, text: str, errno: int) -> None:
        super().__init__(f"write {text!r} to {path}: {os.strerror(errno)}")
        self.path, self.text, self.errno = path, text, errno


class CgroupTimeout(CgroupError):
    """The kernel did not report a state in time."""

    def __init__(self, path: str, state: str, timeout: float) -> None:
        super().__init__(f"{path}: not {state!r} within {timeout:g} seconds")
        self.path, self.state, self.timeout = path, state, timeout


class DeviceProgramRefused(CgroupError):
    """bpf(2) refused to load or to attach the device program; `errno` says why."""

    def __init__(self, call: str, errno: int, detail: str = "") -> None:
        super().__init__(f"{call}: {os.strerror(errno)}" + (f" ({detail})" if detail else ""))
        self.call, self.errno, self.detail = call, errno, detail
