"""A person at a terminal: wait for what a program shows, type, and read on.

    code, shown = talk(["ssh", "-t", ...], [("# ", "minirun run -it alpine /bin/sh"), ("/ # ", "exit"), ("# ", "exit")])

The program has one end of a pseudoterminal as its standard streams, and so behaves as in somebody's window.
Source: pty(7).
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterable

PATIENCE = 60.0
"""Seconds that each answer may take."""


def talk(command: list[str], exchange: Iterable[tuple[str, str]], patience: float = PATIENCE) -> tuple[int, str]:
    """Type each line when the text before it is shown; the exit code, and all that was shown.

    A program that does not show what is waited for, or does not end, is killed: its exit code is then negative.
    """
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as program:
            os.close(theirs)
            shown = ""
            for wanted, line in exchange:
                answer = read_until(ours, wanted, patience)
                shown += answer
                if wanted not in answer:
                    program.kill()
                    break
                os.write(ours, f"{line}\n".encode())
            shown += read_until(ours, None, patience)
            if program.poll() is None:
                _end(program)
        return program.returncode, shown
    finally:
        os.close(ours)


def read_until(terminal: int, wanted: str | None, patience: float) -> str:
    """What is shown up to a text; up to the program's end for None, or where the text does not come in time."""
    shown, deadline = "", time.monotonic() + patience
    while wanted is None or wanted not in shown:
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return shown
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # EIO: nobody has the other end open any more
            return shown
    return shown


def _end(program: subprocess.Popen[bytes]) -> None:
    """It has closed its terminal: its end is near, or it is ended."""
    try:
        program.wait(5)
    except subprocess.TimeoutExpired:
        program.kill()
