"""Restart policies: what becomes of a container that has ended. Pure: a record in, a decision out.

    no               it stays as it is
    on-failure[:N]   started again if its exit code is not 0; N times at most, counted from the last start by hand
    always           started again
    unless-stopped   started again

Who was stopped by hand is not started again, whatever the policy: not until a new daemon comes (a reboot, an upgrade),
which starts what is ``always``, too. That is the difference to ``unless-stopped``.

Before each new start there is a pause: 100 ms, then twice as long as the last one, up to a minute; a container that ran
for ten seconds begins anew. The policy is ``HostConfig.RestartPolicy``, the numbers are Docker's. restarts.py acts.
"""

from __future__ import annotations

import signal

from minirund.engine import lifecycle
from minirund.engine.configuration import parse_signal
from minirund.engine.lifecycle import Event
from minirund.engine.records import Container, Json
from minirund.errors import InvalidArgument

FIRST, LONGEST = 100, 60_000
"""Pauses, in milliseconds."""
WELL = 10_000_000_000
"""Nanoseconds that a container has to run so that its last failures don't count."""
NAMES = ("no", "always", "on-failure", "unless-stopped")
_END = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL}


def check(policy: Json | None) -> None:
    """A policy that somebody asks for. Raises InvalidArgument, in Docker's words."""
    name, count = name_of(policy), (policy or {}).get("MaximumRetryCount") or 0
    if name and name not in NAMES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if name == "on-failure" and count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if name not in {"", "on-failure"} and count:
        also = " and cannot be negative" if count < 0 else ""
        raise InvalidArgument(f"invalid restart policy: maximum retry count can only be used with 'on-failure'{also}")


def check_host(host: Json) -> None:
    """The same for a whole HostConfig. Raises InvalidArgument."""
    check(host.get("RestartPolicy"))
    if host.get("AutoRemove") and is_policy(host.get("RestartPolicy")):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def name_of(policy: Json | None) -> str:
    """Its name, "" for none."""
    return str((policy or {}).get("Name") or "")


def is_policy(policy: Json | None) -> bool:
    """Whether it says more than no."""
    return name_of(policy) not in {"", "no"}


def starts_again(ended: Container) -> bool:
    """Whether a container that has ended just now, or while no daemon looked, is started again."""
    policy = ended.host_config.get("RestartPolicy") or {}
    if ended.stopped:
        return False
    if policy.get("Name") == "on-failure":
        most = policy.get("MaximumRetryCount") or 0
        return ended.exit_code != 0 and (not most or ended.restart_count < most)
    return policy.get("Name") in {"always", "unless-stopped"}


def comes_back(ended: Container) -> bool:
    """Whether a new daemon starts a container that had ended for good. One that never ran is not started."""
    always = name_of(ended.host_config.get("RestartPolicy")) == "always"
    return bool(ended.started) and (always or starts_again(ended))


def pause(last: int) -> int:
    """Milliseconds to wait, after a last pause of so many; 0 for none."""
    return min(max(last * 2, FIRST), LONGEST)


def at_end(running: Container, exit_code: int, finished: int) -> Json:
    """What an end changes in a container's record: its state, and when and whether it starts again. Raises Conflict."""
    ended = running.but(exit_code=exit_code, finished=finished)
    if not starts_again(ended):
        return {"status": lifecycle.after(running.status, Event.EXIT, running.name), "pause": 0}
    return {
        "status": lifecycle.after(running.status, Event.RETRY, running.name),
        "restart_count": running.restart_count + 1,
        "pause": pause(0 if finished - running.started >= WELL else running.pause),
    }


def afresh(container: Container) -> Container:
    """The record of a container that somebody starts: nothing of what it did before counts."""
    return container.but(stopped=False, restart_count=0, pause=0)


def is_stop(number: int, container: Container) -> bool:
    """Whether a signal means that the container is to end. Others are between its user and its program (SIGHUP)."""
    return number in _END or number == parse_signal(container.config.get("StopSignal") or "SIGTERM")
