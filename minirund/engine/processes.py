"""``top``: what ps says of a container's processes. ps is the host's, so any image will do."""

from __future__ import annotations

import asyncio
import re
import shlex

from minirund.errors import EngineError, InvalidArgument


async def listing(pids: list[int], ps_args: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of ``ps PS_ARGS`` for these processes. Raises InvalidArgument if ps refuses the arguments."""
    arguments = shlex.split(ps_args or "-ef")
    if any(re.search(r"\bpid=", argument) for argument in arguments):
        raise InvalidArgument('specifying "pid=" is not allowed: the column PID is needed to tell the processes')
    output = await _run(["ps", *arguments])
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    column, wanted = titles.index("PID"), {str(pid) for pid in pids}
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > column and row[column] in wanted]


async def _run(command: list[str]) -> str:
    """A process of a daemon with threads: started by vfork and exec, never by a bare fork."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise EngineError("ps is not installed: install the package procps") from None
    output, errors = await process.communicate()
    if process.returncode:
        words = errors.decode(errors="replace").split("\n")  # what is wrong first, then how ps is used
        raise InvalidArgument(f"ps: {next((line for line in words if line), 'failed').removeprefix('error: ')}")
    return output.decode(errors="replace")
