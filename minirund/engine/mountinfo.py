"""Which file system a path is on. Source: proc_pid_mountinfo(5)."""

from __future__ import annotations

import os


def filesystem(path: str) -> str:
    """The type of the file system that a path is on, from /proc/self/mountinfo; "" if that can't be told."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    for line in lines:
        words = line.split()
        if words[2] == wanted:
            return words[words.index("-") + 1]
    return ""
