"""What a test does to the place of a daemon (daemon.py) from outside: a server in its network, a small disk for it.

with network_of(host), scripted_registry() as registry: ...     # reachable for the daemon at registry.address
disk = SmallDisk(host, megabytes=24); disk.fill(); disk.free()   # before host.start()
load(host, image(...), "evil:1")
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from daemon import TAR, DaemonHost
from images import Image, docker_archive

CLONE_NEWNET = 0x40000000


@contextmanager
def network_of(host: DaemonHost) -> Iterator[None]:
    """This thread, and what it starts, in the network namespace of the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    own, theirs = (os.open(f"/proc/{who}/ns/net", os.O_RDONLY) for who in ("thread-self", host.holder))
    assert libc.setns(theirs, CLONE_NEWNET) == 0
    try:
        yield
    finally:
        assert libc.setns(own, CLONE_NEWNET) == 0
        os.close(own)
        os.close(theirs)


class SmallDisk:
    """A tmpfs as the data root. Made before the daemon starts."""

    def __init__(self, host: DaemonHost, megabytes: int) -> None:
        self._host, directory = host, f"{host.state}/data"
        host.run("mkdir", "-p", directory, check=True)
        host.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", directory, check=True)
        self.root = Path(f"/proc/{host.holder}/root{directory}")
        self._filler = self.root / "FILLER"

    def close(self) -> None:
        """Unmount it; the daemon has stopped."""
        self._host.run("umount", f"{self._host.state}/data", check=True)

    @property
    def room(self) -> int:
        """Bytes that are free."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_bsize

    def fill(self) -> None:
        """To the last byte."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65536 if self.room > 1 << 20 else 4096))

    def free(self) -> None:
        """Take the filling away."""
        self._filler.unlink(missing_ok=True)

    def files(self) -> list[str]:
        """All files in it but the filling, relative."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file() and path != self._filler
        )


def load(host: DaemonHost, one: Image, name: str = "evil:1") -> tuple[int, Any]:
    """Load an image under a name: status and answer."""
    return host.api("POST", "/images/load?quiet=1", docker_archive({name: one}), TAR)
