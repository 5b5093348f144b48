"""A cgroup is a directory. Write to its files to limit; remove it to be rid of it.

Ten lines that limit a process:

    from cgroups.cgroup import Cgroup
    from cgroups.limits import from_oci

    group = Cgroup.at("demo/sleeper")
    group.create()
    group.apply(from_oci({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}))
    group.join(subprocess.Popen(["sleep", "1000"]).pid)
    group.freeze()      # returns when no process of the group runs any more
    group.thaw()
    group.remove()      # kills what is in it, waits for that, removes the directories

Processes are born in their parent's cgroup and stay until somebody writes their pid to another's cgroup.procs; clone3
with CLONE_INTO_CGROUP takes `open()`'s descriptor and has the child born inside. A controller (memory, cpu, pids, ...)
works in a directory only after its parent's cgroup.subtree_control names it, from the mount down: `create` sees to
that where it can, `apply` insists on it where a limit needs it. Freezing, killing and counting need no controller.

The object holds a path and nothing else. Who creates a cgroup removes it: the kernel never does.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst. Linux 5.7 or newer; cgroup.kill since 5.14.
"""

import errno
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping

from cgroups import directories
from cgroups.changes import difference, restoring
from cgroups.errors import CgroupTimeout, ControllerMissing, FileMissing, NoCgroup2, WriteRefused
from cgroups.files import GONE, flags, pread_flags, read, read_or, try_write, write
from cgroups.limits import Limits, Setting, needed, needed_by, settings

ACCOUNTED = ("cpu", "cpuset", "io", "memory", "pids")  # wanted in every cgroup: without them there are no statistics
_TRIES = 3


# --- where the hierarchy is ------------------------------------------------------------------------------------------


def mount_in(mountinfo: str) -> str | None:
    """The best cgroup2 mount point in the text of /proc/PID/mountinfo: the one nearest to /sys/fs/cgroup."""
    rows = (line.partition(" - ") for line in mountinfo.splitlines())
    points = [fields.split(" ")[4] for fields, _, kind in rows if kind.startswith("cgroup2 ")]
    return min(points, key=lambda point: (not point.startswith("/sys/fs/cgroup"), len(point)), default=None)


def find_mount() -> str:
    """The cgroup v2 mount: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host. Raises NoCgroup2."""
    point = mount_in(read("/proc/self/mountinfo"))
    if point is None:
        raise NoCgroup2
    return point


# --- the directory ---------------------------------------------------------------------------------------------------


class Cgroup:
    """The cgroup at an absolute path. Methods raise CgroupError, or OSError where the directory can't be reached."""

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r})"

    @classmethod
    def at(cls, name: str) -> "Cgroup":
        """The cgroup of this name below the machine's mount, as OCI's cgroupsPath gives it. Raises NoCgroup2."""
        return cls(os.path.join(find_mount(), name.strip("/")))

    def file(self, name: str) -> str:
        """The path of one of its files."""
        return f"{self.path}/{name}"

    def create(self, wanted: Iterable[str] = ACCOUNTED) -> None:
        """Make the directory and its parents, with those of the wanted controllers that the host offers. Idempotent."""
        directories.make(self.path)
        missing = set(wanted) - self.controllers() if wanted else set()
        if missing:
            self._enable(missing)

    def open(self) -> int:
        """A descriptor of the directory, for clone3's CLONE_INTO_CGROUP and for bpf(2). The caller closes it."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def join(self, pid: int) -> None:
        """Move a process (with all its threads) here; 0 is the caller."""
        write(self.file("cgroup.procs"), str(pid))

    def exists(self) -> bool:
        """Whether the directory is there."""
        return os.path.isdir(self.path)

    def processes(self) -> list[int]:
        """The pids here and below. A pid from outside the reader's pid namespace reads as 0."""
        return [int(pid) for directory in self._tree() for pid in read_or(f"{directory}/cgroup.procs", "").split()]

    def hosts_processes(self) -> bool:
        """Whether processes live in this very cgroup, where that is in the way of controllers for its children.

        It isn't in the real root, which is the one without a cgroup.type. Elsewhere the kernel would take some (cpu,
        pids) all the same, and no child could have processes from then on: see `placing`.
        """
        return os.path.exists(self.file("cgroup.type")) and bool(read_or(self.file("cgroup.procs"), "").strip())

    def events(self, file: str = "cgroup.events") -> dict[str, int]:
        """cgroup.events ({"populated": 1, "frozen": 0}), or another of its kind: memory.events has "oom_kill"."""
        return flags(read(self.file(file)))

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        """{file: text} of those that are there: what `stats.parse` takes."""
        texts = ((name, self._read_quiet(name)) for name in names)
        return {name: text for name, text in texts if text is not None}

    def _read_quiet(self, name: str) -> str | None:
        try:
            return read(self.file(name))
        except OSError as error:
            if error.errno not in (*GONE, errno.EOPNOTSUPP):  # pressure files answer EOPNOTSUPP on a kernel with psi=0
                raise
            return None

    # --- controllers and limits

    def controllers(self) -> frozenset[str]:
        """The controllers that work in this cgroup."""
        return frozenset(read_or(self.file("cgroup.controllers"), "").split())

    def apply(self, limits: Limits) -> None:
        """Write the limits. Raises WriteRefused; before any write LimitInvalid, ControllerMissing, FileMissing."""
        self.require(needed(limits))
        for ways in self._writes(settings(limits)):
            self._write(ways)

    def change(self, old: Limits, new: Limits) -> list[tuple[str, str]]:
        """From one set of limits to another; all or none: what the kernel refuses half-way, is taken back.

        (file, text) of what was there before, the last first: for `put_back`. Raises as `apply` does. A memory limit
        below what is in use makes the kernel reclaim, and where that is not enough, kill: as at any other time.
        """
        lines = difference(old, new)
        self.require(needed_by(lines))
        before: list[tuple[str, str]] = []
        try:
            for ways in self._writes(lines):
                self._write(ways, before)
        except BaseException:
            self.put_back(before)
            raise
        return before

    def put_back(self, before: Iterable[tuple[str, str]]) -> None:
        """Undo a `change`. Raises WriteRefused."""
        for file, text in before:
            write(self.file(file), text)

    def _writes(self, lines: Iterable[Setting]) -> list[list[tuple[str, str]]]:
        """(file, text) of what can be written, a list a line. Raises FileMissing where there is no file for a limit."""
        found: list[list[tuple[str, str]]] = []
        for line in lines:
            candidates = [(line.file, line.text), *([line.other] if line.other else [])]
            there = [each for each in candidates if os.path.exists(self.file(each[0]))]
            if not there and not line.lifts:
                raise FileMissing(line.file, line.option)
            found.append(there)
        return found

    def _write(self, ways: list[tuple[str, str]], before: list[tuple[str, str]] | None = None) -> None:
        """Write one line. Where it has two files, for one scheduler of disks each, one has to take it.

        What takes it back goes to the head of ``before``. Raises WriteRefused.
        """
        taken, refused = not ways, None
        for file, text in ways:
            then = "" if before is None else restoring(file, text, read(self.file(file)))
            try:
                write(self.file(file), text)
            except WriteRefused as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                refused = error
            else:
                taken = True
                if before is not None:
                    before.insert(0, (file, then))
        if refused and not taken:
            raise refused

    def require(self, wanted: Mapping[str, str]) -> None:
        """Have the controllers work here, or raise ControllerMissing. {controller: the option that asks for it}.

        Somebody else may switch one off above us between two steps of ours; once our parent hands it on, nobody can.
        """
        for _ in range(_TRIES):
            if not wanted or not (missing := set(wanted) - self.controllers()):
                return
            self._enable(missing)
        for controller in sorted(set(wanted) - self.controllers()):
            raise ControllerMissing(controller, wanted[controller], self._fix(controller))

    def handed_on(self) -> frozenset[str]:
        """The controllers that it hands on to its children."""
        return frozenset(read_or(self.file("cgroup.subtree_control"), "").split())

    def withdraw(self, controllers: Iterable[str]) -> None:
        """Hand them on no more, but for those that a child hands on in turn: the kernel keeps them."""
        for controller in controllers:
            try_write(self.file("cgroup.subtree_control"), f"-{controller}")

    def _enable(self, wanted: set[str]) -> None:
        """Turn controllers on for the children of every parent, from the top down, as far as the parents have them."""
        for parent in self._parents():
            if Cgroup(parent).hosts_processes():
                continue
            offered = wanted & set(read(f"{parent}/cgroup.controllers").split())
            enabled = set(read(f"{parent}/cgroup.subtree_control").split())
            for controller in sorted(offered - enabled):
                try_write(f"{parent}/cgroup.subtree_control", f"+{controller}")

    def _parents(self) -> list[str]:
        """The cgroups above this one, the topmost first."""
        found: list[str] = []
        parent = os.path.dirname(self.path)
        while os.path.exists(f"{parent}/cgroup.subtree_control"):
            found.insert(0, parent)
            parent = os.path.dirname(parent)
        return found

    def _fix(self, controller: str) -> str:
        """What the user can do about a missing controller."""
        for parent in self._parents():
            if controller not in read(f"{parent}/cgroup.controllers").split():
                return fix_for_host(controller)
            if controller not in read(f"{parent}/cgroup.subtree_control").split():
                return f"{parent} can't hand it down (a cgroup with processes of its own can't: move them to a child)"
        return fix_for_host(controller)

    # --- freezing, killing, waiting

    @property
    def frozen(self) -> bool:
        """Whether the kernel has stopped every process here and below."""
        return self.events().get("frozen") == 1

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process, and return when all are. Raises CgroupTimeout, and has then thawed those that were."""
        write(self.file("cgroup.freeze"), "1")
        try:
            self._wait("frozen", 1, timeout)
        except CgroupTimeout:
            write(self.file("cgroup.freeze"), "0")
            raise

    def thaw(self, timeout: float = 10.0) -> None:
        """Let them run on. Raises CgroupTimeout (where a parent is frozen, say)."""
        write(self.file("cgroup.freeze"), "0")
        self._wait("frozen", 0, timeout)

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Return when no process is left here and below; zombies don't count. Raises CgroupTimeout."""
        self._wait("populated", 0, timeout)

    def _wait(self, key: str, value: int, timeout: float) -> None:
        """Poll cgroup.events, which the kernel marks POLLPRI at every change. A removed cgroup counts as waited for."""
        deadline = time.monotonic() + timeout
        try:
            fd = os.open(self.file("cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI)
            while pread_flags(fd).get(key, value) != value:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CgroupTimeout(self.path, f"{key} {value}", timeout)
                poller.poll(left * 1000)
        finally:
            os.close(fd)

    def kill(self) -> None:
        """SIGKILL to every process here and below, the frozen ones too. They are gone some moments later."""
        try:
            write(self.file("cgroup.kill"), "1")
        except WriteRefused as error:
            if error.errno not in (*GONE, errno.EOPNOTSUPP):
                raise
            self.kill_each()

    def kill_each(self, timeout: float = 10.0) -> None:
        """What cgroup.kill does, for kernels before 5.14: signal until nobody is left, as they may fork meanwhile."""
        deadline = time.monotonic() + timeout
        while pids := self.processes():
            for pid in pids:
                kill_quiet(pid)
            if time.monotonic() > deadline:
                raise CgroupTimeout(self.path, "populated 0", timeout)
            time.sleep(0.001)

    def remove(self, timeout: float = 10.0) -> None:
        """Kill what is in it, remove the directories, the deepest first. None there is fine. Raises CgroupTimeout."""
        if not self.exists():
            return
        self.kill()
        self.wait_empty(timeout)
        deadline = time.monotonic() + timeout
        for directory in reversed(list(self._tree())):
            while not try_rmdir(directory):
                if time.monotonic() > deadline:
                    raise CgroupTimeout(directory, "removed", timeout)
                time.sleep(0.001)  # the last process has been counted out and not yet put away

    def remove_parents(self) -> None:
        """Remove the parents that `create` had to make, as far as they are empty. Others' are never touched."""
        directories.remove_made(os.path.dirname(self.path))

    def _tree(self) -> Iterator[str]:
        """This directory and all below it, parents before children."""
        pending = [self.path]
        while pending:
            directory = pending.pop()
            yield directory
            pending += subdirectories(directory)


# --- one step each ---------------------------------------------------------------------------------------------------


def subdirectories(directory: str) -> list[str]:
    """Paths of the directories in it; none where it has gone."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno not in GONE:
            raise
        return []


def try_rmdir(directory: str) -> bool:
    """Whether it is gone now; False where the kernel still counts somebody in it."""
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in (*GONE, errno.EBUSY):
            raise
        return error.errno != errno.EBUSY
    return True


def kill_quiet(pid: int) -> None:
    """SIGKILL, if it is still there. 0 is a process of a pid namespace that we don't see (never our own group)."""
    try:
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def v1_controllers(proc_cgroups: str) -> set[str]:
    """The controllers that the text of /proc/cgroups shows on a cgroup v1 hierarchy."""
    rows = [line.split() for line in proc_cgroups.splitlines() if not line.startswith("#")]
    return {name for name, hierarchy, *_ in rows if hierarchy != "0"}


def fix_for_host(controller: str) -> str:
    """What to do on a host whose v2 hierarchy lacks a controller: v1 has it, or the kernel hasn't."""
    legacy = {"io": "blkio"}.get(controller, controller)
    if legacy in v1_controllers(read_or("/proc/cgroups", "")):
        return f"the host keeps it on cgroup v1, boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1={legacy}"
    return "the kernel is built without it or booted with cgroup_disable"
