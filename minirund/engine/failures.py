"""What the user reads when a container or an exec does not start: Docker's words, where its command looks for them."""

from __future__ import annotations

from minirund import wire
from minirund.errors import EngineError, StartFailed, StepFailed


def start_error(word: wire.Failed) -> StartFailed | EngineError:
    """What the user reads of a start that failed, in the words that Docker's command looks for."""
    if word.exit_code in {126, 127} or word.message:
        why = word.message or str(StepFailed(word.step, word.errno, word.path))
        return StartFailed(f"failed to create task for container: {why}", word.exit_code)
    return StepFailed(word.step, word.errno, word.path)


def exec_error(word: wire.ExecFailed) -> StartFailed:
    """What the user reads."""
    why = word.message or str(StepFailed(word.step, word.errno, word.path))
    return StartFailed(
        f"OCI runtime exec failed: exec failed: unable to start container process: {why}", word.exit_code
    )


def unanswered(name: str, shim: int | None) -> str:
    """Of a container whose shim, a process ID, does not read what it is told."""
    return (
        f"container {name}: its shim (process {shim}) does not answer: "
        f"let it go on with kill -CONT {shim}, or end the container with minirun kill {name}"
    )


def never_started(name: str, tries: int) -> str:
    """Of a container that nobody was left to start."""
    return (
        f"container {name} was not started, {tries} times the spawner or the shim was killed before it could: "
        "look into the daemon's log and, for want of memory, into dmesg, and start it again"
    )
