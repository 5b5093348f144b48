"""What processes cost: PSS, in which a page that N processes share counts one Nth for each (/proc/PID/smaps_rollup)."""

from __future__ import annotations

import os


def pss(pid: int) -> float:
    """One process's, in MB; 0 if it has gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except OSError:
        return 0.0


def command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def named(start: str) -> list[int]:
    """The processes whose command line begins so."""
    return [pid for pid in processes() if command_line(pid).startswith(start)]


def family(root: int, without: str) -> list[int]:
    """A process and its descendants, but for those whose command line has ``without`` in it."""
    found, parents = {root}, {pid: parent(pid) for pid in processes()}
    for _ in range(4):  # generations
        found |= {pid for pid, above in parents.items() if above in found and without not in command_line(pid)}
    return sorted(found)
