"""A container on disk: the bundle, where the engine's decisions end as data and the runtime's work begins.

    <data-root>/containers/<id>/     durable
        config.json     the OCI runtime-spec configuration, complete (see oci.py)
        container.log   what the container printed: one line a record, in the Kubernetes CRI form
        rw/upper, rw/work   the read-write layer
        exit.json       how it ended last (wire.Exited as JSON); absent while it runs; on a full disk it goes below
    <exec-root>/containers/<id>/     gone at reboot
        shim.sock       where a new daemon finds the shim
        shim.pid        the shim's process ID and start time: "PID STARTTIME\\n", as in /proc/PID/stat
        hostname, hosts, resolv.conf   bound over the container's own files in /etc

The engine writes config.json before each start and removes the directories; the shim writes the log, exit.json,
shim.sock and shim.pid. A log record is ``TIME STREAM TAG CONTENT\\n``: RFC 3339 in UTC with nanoseconds, stdout or
stderr, F for a full line or P for a part of one (longer than 16 KiB, or the end of output without a newline), the
bytes as they came.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from typing import Any

from minirund.wire import Exited

CONFIG, LOG, EXIT = "config.json", "container.log", "exit.json"
SHIM_SOCKET, SHIM_PID = "shim.sock", "shim.pid"
EXIT_FIELDS = ("code", "time", "oom", "ooms", "execs")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The two directories of one container. Holds paths only; makes nothing until it is asked to."""

    directory: str
    run: str

    @property
    def config_path(self) -> str:
        """config.json."""
        return f"{self.directory}/{CONFIG}"

    @property
    def log_path(self) -> str:
        """container.log."""
        return f"{self.directory}/{LOG}"

    @property
    def rw_path(self) -> str:
        """The directory of the read-write layer: holds ``upper`` and ``work``."""
        return f"{self.directory}/rw"

    @property
    def exit_path(self) -> str:
        """exit.json."""
        return f"{self.directory}/{EXIT}"

    @property
    def second_exit_path(self) -> str:
        """Where exit.json goes when the disk is full."""
        return f"{self.run}/{EXIT}"

    @property
    def shim_socket(self) -> str:
        """shim.sock."""
        return f"{self.run}/{SHIM_SOCKET}"

    @property
    def shim_pid(self) -> str:
        """shim.pid."""
        return f"{self.run}/{SHIM_PID}"

    def read_config(self) -> dict[str, Any]:
        """config.json, parsed. Raises OSError, ValueError."""
        with open(self.config_path, "rb") as file:
            return json.load(file)  # type: ignore[no-any-return]

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json (not atomically: nobody reads it before ``Launch``)."""
        with open(self.config_path, "wb") as file:
            file.write(json.dumps(config).encode())  # json.dump would take five times as long

    def replace_config(self, config: dict[str, Any]) -> None:
        """Put another config.json in the place of one that may be read meanwhile: it is the old one or the new one."""
        beside = self.config_path + ".new"
        with open(beside, "wb") as file:
            file.write(json.dumps(config).encode())
        os.rename(beside, self.config_path)

    def read_exit(self) -> Exited | None:
        """How the container ended last, or None if it has not (or the record is torn)."""
        return _exited(self.exit_path) or _exited(self.second_exit_path)

    def write_exit(self, exited: Exited) -> None:
        """Record the end, whole or not at all. Raises OSError.

        When the disk is full the run directory takes it, which is another file system and lasts as long as the boot.
        """
        try:
            _write_exit(self.exit_path, exited)
        except OSError:
            _write_exit(self.second_exit_path, exited)

    def clear_exit(self) -> None:
        """Forget how it ended: it is about to run again."""
        for path in (self.exit_path, self.second_exit_path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def write_shim_pid(self, pid: int) -> None:
        """Record which process is the shim."""
        record_shim(self.run, pid)

    def read_shim_pid(self) -> int | None:
        """The shim's process ID if that very process is alive, else None. A reused process ID is not taken for it."""
        try:
            with open(self.shim_pid, encoding="ascii") as file:
                pid, started = (int(word) for word in file.read().split())
            return pid if start_time(pid) == started else None
        except (OSError, ValueError):
            return None

    def remove_run(self) -> None:
        """Remove the run directory; a shim that ends at this moment removes its own files there, and that's fine."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.run):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.run}/{name}")
            os.rmdir(self.run)


def _exited(path: str) -> Exited | None:
    try:
        with open(path, "rb") as file:
            fields = json.load(file)
        execs = {str(name): int(code) for name, code in fields.get("execs", {}).items()}
        return Exited(int(fields["code"]), int(fields["time"]), bool(fields["oom"]), int(fields.get("ooms", 0)), execs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_exit(path: str, exited: Exited) -> None:
    """Written beside, then renamed. Not through a file object, which is 20 pages more for a shim to copy."""
    beside, text = path + ".new", json.dumps({name: getattr(exited, name) for name in EXIT_FIELDS}).encode()
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            while text:  # a disk that is almost full takes a part
                text = text[os.write(descriptor, text) :]
        finally:
            os.close(descriptor)
        os.rename(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def record_shim(run: str, pid: int) -> None:
    """Write shim.pid in a run directory. In few words: init calls this at every start, and has copied few pages yet."""
    descriptor = os.open(f"{run}/{SHIM_PID}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, b"%d %d\n" % (pid, start_time(pid)))
    finally:
        os.close(descriptor)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat). Raises OSError if it has gone.

    One that has ended and only waits for its parent to take note (a zombie) has gone.
    """
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)
    if fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(fields[19])
