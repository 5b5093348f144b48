"""A file system whose server takes questions and never answers, as one over a network that has gone.

    with hanging(host) as server:             # seen in a DaemonHost's place, and nowhere else
        ... somebody looks at f"{server.path}/x" ...
        server.asked()                        # returns when somebody waits there
        server.gone()                         # who waits is told that there is nothing

It is a FUSE: a process that reads the kernel's requests from /dev/fuse. Source: fuse(4), linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from daemon import DaemonHost

INIT, MOST = 26, 1 << 18
IN, OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")


class Hanging:
    """The server, seen from the test."""

    def __init__(self, path: str, server: subprocess.Popen[str]) -> None:
        self.path, self._server = path, server

    def _says(self, word: str) -> None:
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == f"{word}\n"

    def mounted(self) -> None:
        """Return when it is there."""
        self._says("mounted")

    def asked(self) -> None:
        """Return when somebody waits for an answer."""
        self._says("asked")

    def gone(self) -> None:
        """End its connection; it stays mounted."""
        assert self._server.stdin is not None
        self._server.stdin.write("\n")
        self._server.stdin.flush()
        self._says("gone")


@contextmanager
def hanging(host: DaemonHost) -> Iterator[Hanging]:
    """One, mounted in the place of a daemon."""
    path = f"{host.state}/hanging"
    words = host.inside(sys.executable, __file__, path)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        server = Hanging(path, process)
        server.mounted()
        try:
            yield server
        finally:
            process.communicate()
    assert process.returncode == 0


def serve(path: str) -> None:
    """Until there is a line on standard input, or its end: answer how we speak, and nothing else."""
    os.mkdir(path)
    channel = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={channel},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"hanging", path.encode(), b"fuse", 6, options.encode()):  # nosuid, nodev
        raise OSError(ctypes.get_errno(), "mount")
    _, _, unique, *_ = IN.unpack_from(os.read(channel, MOST))
    reply = INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, 0, 0)
    os.write(channel, OUT.pack(OUT.size + len(reply), 0, unique) + reply)
    print("mounted", flush=True)
    os.read(channel, MOST)
    print("asked", flush=True)
    sys.stdin.readline()
    os.close(channel)
    print("gone", flush=True)
    sys.stdin.read()
    libc.umount2(path.encode(), 2)  # MNT_DETACH
    os.rmdir(path)


if __name__ == "__main__":
    serve(sys.argv[1])
