"""QEMU's monitor: a line of JSON there, a line of JSON back.

    with Monitor(work / "qmp", 20) as monitor:
        monitor.ask("query-status")["status"]   # "running"
        monitor.human("info registers -a")      # what a person would read

A socket serves one caller at a time; the next waits until that one has hung up.

Source: docs/interop/qmp-spec of QEMU.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


class Refusal(Exception):
    """QEMU knows no such command, or can't do it now."""


class Monitor:
    """A connection to a monitor. Raises OSError if nobody listens or answers in time, EOFError if QEMU has ended."""

    def __init__(self, path: Path, patience: float) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(patience)
        try:
            self._connection.connect(str(path))
            self._lines = self._connection.makefile("rw")
        except OSError:
            self._connection.close()
            raise

    def __enter__(self) -> Monitor:
        self._lines.readline()  # the greeting
        self.ask("qmp_capabilities")
        return self

    def __exit__(self, *exc: object) -> None:
        with self._connection, self._lines:
            pass

    def human(self, line: str) -> str:
        """The answer to a command of the monitor that people type into."""
        return str(self.ask("human-monitor-command", {"command-line": line}))

    def ask(self, name: str, arguments: dict[str, str] | None = None) -> Any:
        """The answer to one command; events in between are passed over. Raises Refusal too."""
        self._lines.write(json.dumps({"execute": name, "arguments": arguments or {}}) + "\n")
        self._lines.flush()
        while (line := self._lines.readline()).endswith("\n"):
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Refusal(f"QEMU refuses {name}: {answer['error']['desc']}")
        raise EOFError(f"QEMU ended while it was asked for {name}")
