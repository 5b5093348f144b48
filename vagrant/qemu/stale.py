"""A processor that QEMU's emulation has left with an instruction that is gone: found, and set free.

QEMU 7.2 translates the machine's code, each processor in a thread of its own. One can translate an instruction while
another overwrites it, and keep what was there before. Linux rewrites its own instructions by way of a breakpoint: for a
static key, as when the first cgroup gets a quota of the processor, or the last one loses it. A processor that keeps the
breakpoint takes it again and again, mostly with the scheduler's lock held, and the machine stands still:

    memory                      ffffffff810e1a37: e9 b5 00 00 00    jmp, as the kernel has left it
    what the processor does     ffffffff810e1a37: cc                int3 -> nothing to do for it -> back to ...1a37

A write to an instruction makes QEMU forget the translations of it. So: look where the processors are, once a second; if
one is found at the same place of the kernel's again and again, stop the machine, write the byte that is there to where
it is, and let it go on. That changes nothing in a machine that is only busy.

QEMU 10 was not seen to do it. One thread for both processors (thread=single) avoids it too, at the price of the second
one's speed.

Source: the protocol of gdb's remote targets, sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html.
"""

from __future__ import annotations

import re
import socket
import time
from collections import Counter, deque
from pathlib import Path
from threading import Event, Thread

from qemu.monitor import Monitor

EVERY_SECONDS = 1.0
LOOKS, SAME = 6, 3
"""A place is one that a processor does not leave if it is found there in so many of the last looks."""
ANSWER_SECONDS = 60
REWRITTEN = "rewritten"
"""The file that tells when this was done, and where: a line for each time."""
KERNEL = 0xFFFF_8000_0000_0000
"""Where the kernel's half of the addresses begins."""


def running(registers: str) -> list[int | None]:
    """For each processor, where in the kernel it runs; None if it is halted or runs a program. ``registers``: what
    QEMU's monitor answers to `info registers -a`."""
    return [rip if rip >= KERNEL and not halted else None for rip, halted in places(registers)]


def places(registers: str) -> list[tuple[int, bool]]:
    """For each processor, the address of its instruction, and whether it is halted."""
    found = re.findall(r"RIP=(\w+).*?HLT=(\d)", registers, re.DOTALL)
    return [(int(rip, 16), halted == "1") for rip, halted in found]


class Looks:
    """What was seen of each processor lately."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[int | None]] = {}

    def add(self, places: list[int | None]) -> set[int]:
        """Take in one look; the places that a processor does not leave. They are forgotten then."""
        stuck = set()
        for number, place in enumerate(places):
            seen = self._seen.setdefault(number, deque(maxlen=LOOKS))
            seen.append(place)
            if place is not None and Counter(seen)[place] >= SAME:
                stuck.add(place)
                seen.clear()
        return stuck


class Watch(Thread):
    """Looks after a machine until ``end``, or until QEMU is gone. ``work`` has the sockets ``watch`` and ``gdb``."""

    def __init__(self, work: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self._work, self._ended = work, Event()

    def run(self) -> None:
        """Look, once a second."""
        looks = Looks()
        try:
            with Monitor(self._work / "watch", ANSWER_SECONDS) as monitor:
                while not self._ended.wait(EVERY_SECONDS):
                    for place in looks.add(running(monitor.human("info registers -a"))):
                        rewrite(self._work / "gdb", place)
                        with (self._work / REWRITTEN).open("a") as log:
                            log.write(f"{time.asctime()} {place:x}\n")
        except (OSError, EOFError):
            return  # QEMU has ended

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def rewrite(gdb: Path, place: int) -> None:
    """Write the byte at an address of the machine's to where it is. The machine stops for it: nobody else writes then.

    Raises OSError or EOFError if QEMU does not answer.
    """
    with socket.socket(socket.AF_UNIX) as stub:
        stub.settimeout(ANSWER_SECONDS)
        stub.connect(str(gdb))
        byte = _packet(stub, f"m{place:x},1")
        if re.fullmatch("[0-9a-f]{2}", byte):
            _packet(stub, f"M{place:x},1:{byte}")
        _packet(stub, "D")


def _packet(stub: socket.socket, text: str) -> str:
    """QEMU's answer to one packet: ``$text#checksum`` there, ``+$text#checksum`` back. That the machine has stopped, a
    packet that begins with T, comes unasked at any time after the connection."""
    stub.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())
    heard = b""
    while not (found := re.search(rb"\$([^T#][^#]*)#..", heard)):
        more = stub.recv(4096)
        if not more:
            raise EOFError("QEMU's gdb stub has hung up")
        heard += more
    stub.sendall(b"+")
    return found[1].decode()
